//! The mutual-TLS way in, and what each certificate is worth at another's door.

use edge_tunnel_proto::identity::{Live, LiveKey, Trust, provider, session_client};
use rustls::HandshakeKind;
use rustls::client::Resumption;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;

use super::super::*;
use super::house::{DAY, House, handshake};

fn caller(house: &House, files: &Files) -> rustls::ClientConfig {
    let chain = CertificateDer::pem_slice_iter(files.certificate.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(files.key.as_bytes()).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    let shown: LiveKey = Live::new(Some(Arc::new(CertifiedKey::new(chain, key))));
    let Trust {
        bundle,
        trust_domain,
        clock,
    } = house.identity.ca().trust().clone();
    let trust = Trust {
        bundle: Live::new((*bundle.get()).clone()),
        trust_domain,
        clock,
    };
    let mut config = session_client(&trust, &shown);
    config.alpn_protocols.clear();
    config.resumption = Resumption::in_memory_sessions(8);
    config
}

fn alice(house: &House) -> Files {
    let grant = "nodes=shop-*;ports=22".parse().unwrap();
    house
        .identity
        .ca()
        .issue_client(&"alice".parse().unwrap(), &grant)
        .unwrap()
}

#[tokio::test]
async fn a_caller_is_named_and_its_grant_read_also_when_it_resumes() {
    let house = House::new();
    let config = Arc::new(caller(&house, &alice(&house)));
    let connect = Arc::new(
        house
            .identity
            .connect_config(&["10.0.0.1".to_owned()])
            .unwrap(),
    );
    let call = || {
        let (_, server) = handshake(&config, &connect).unwrap();
        let chain = server.peer_certificates().unwrap_or_default();
        (
            server.handshake_kind().unwrap(),
            house.identity.classify(None, chain),
        )
    };
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (found, peer) = call();
        let Ok(Peer::Client { name, grant }) = peer else {
            panic!("{peer:?}")
        };
        assert_eq!((found, name.as_str()), (kind, "alice"));
        assert!(
            grant.allows_node(&"shop-1".parse().unwrap())
                && !grant.allows_node(&"edge-1".parse().unwrap())
        );
    }
    // Its CA goes, which a resumed handshake does not notice, and classification does.
    for step in [Step::Introduce, Step::Sign, Step::Finish] {
        house.identity.ca().rotate(step).unwrap();
    }
    let (kind, peer) = call();
    let words = peer.unwrap_err().to_string();
    assert!(
        kind == HandshakeKind::Resumed && words.contains("leads to no CA"),
        "{kind:?} {words}"
    );
}

#[tokio::test]
async fn an_expired_caller_is_told_what_to_do() {
    let house = House::new();
    let config = caller(&house, &alice(&house));
    house.pass(CLIENT_LIFETIME + DAY);
    let connect = house.identity.connect_config(&[]).unwrap();
    let (_, server) = handshake(&Arc::new(config), &Arc::new(connect)).unwrap();
    let words = house
        .identity
        .classify(None, server.peer_certificates().unwrap())
        .unwrap_err()
        .to_string();
    assert!(words.contains("issue-client"), "{words}");
}

#[tokio::test]
async fn each_certificate_opens_its_own_door_alone() {
    let house = House::new();
    let node = house.joined("edge-1").await;
    let (_, server) = handshake(
        &Arc::new(node.identity.session_config().unwrap()),
        &Arc::new(house.identity.agents_config()),
    )
    .unwrap();
    let of_node = server.peer_certificates().unwrap();
    let client = alice(&house);
    let of_client = [CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap()];
    let of_server = house.identity.0.agents_key.current().cert.clone();

    let doors = [
        Some(Alpn::Session),
        Some(Alpn::Enroll),
        Some(Alpn::Peer),
        None,
    ];
    let open = |chain: &[CertificateDer<'_>]| {
        doors.map(|door| house.identity.classify(door, chain).is_ok())
    };
    assert_eq!(open(of_node), [true, true, false, false]);
    assert_eq!(open(&of_client), [false, false, false, true]);
    assert_eq!(open(&of_server), [false, false, true, false]);
    assert_eq!(open(&[]), [false, true, false, false]);
    let words = house
        .identity
        .classify(None, of_node)
        .unwrap_err()
        .to_string();
    assert!(
        words.contains("node edge-1") && words.contains("here a client is expected"),
        "{words}"
    );
}
