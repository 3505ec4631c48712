//! What each port lets in, resumption, and bundles.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;

use super::super::*;
use super::mint::{Mint, Order};
use super::wire::{Failed, handshake};
use super::{agents, judged};

#[test]
fn the_agents_port_never_resumes() {
    let mint = Mint::new("ca");
    let server = agents(&mint);
    let mut hopeful = session_client(&mint.trust(), &mint.live(&Order::node()));
    hopeful.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let hopeful = Arc::new(hopeful);
    for _ in 0..2 {
        let (client, _) = handshake(&hopeful, &server).unwrap();
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn a_ticket_of_one_port_opens_no_other() {
    let mint = Mint::new("ca");
    let identity = Identity::Client {
        name: "alice".parse().unwrap(),
    };
    let mut caller = session_client(&mint.trust(), &mint.live(&Order::of(&identity)));
    caller.alpn_protocols.clear();
    caller.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let connect = Arc::new(connect_server(
        &mint.trust(),
        mint.resolver(&Order::server()),
    ));
    let callers = Arc::new(caller.clone());
    let kinds: Vec<_> = (0..2)
        .map(|_| handshake(&callers, &connect).unwrap().1.handshake_kind())
        .collect();
    assert_eq!(
        kinds,
        [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]
    );
    // The same tickets, taken to the agents' port under each of its protocols.
    for alpn in [Alpn::Session, Alpn::Enroll] {
        let mut elsewhere = caller.clone();
        elsewhere.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let words = judged(
            &mint,
            Role::Node,
            handshake(&Arc::new(elsewhere), &agents(&mint)),
        );
        assert!(words.contains("client alice"), "{words}");
    }
}

#[test]
fn the_connect_port_wants_a_client_and_no_protocol() {
    let mint = Mint::new("ca");
    let connect = Arc::new(connect_server(
        &mint.trust(),
        mint.resolver(&Order::server()),
    ));
    let with = |order: &Order, alpn: &[&[u8]]| {
        let mut config = session_client(&mint.trust(), &mint.live(order));
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        handshake(&Arc::new(config), &connect)
    };
    let client = Order::of(&Identity::Client {
        name: "alice".parse().unwrap(),
    });
    assert!(with(&client, &[]).is_ok());
    assert_eq!(
        with(&client, &[b"h2", b"http/1.1"])
            .unwrap()
            .1
            .alpn_protocol(),
        Some(&b"http/1.1"[..])
    );
    let words = judged(&mint, Role::Client, with(&Order::node(), &[]));
    assert!(words.contains("here a client is expected"), "{words}");
    let mut nobody = session_client(&mint.trust(), &Live::new(None));
    nobody.alpn_protocols.clear();
    let refused = handshake(&Arc::new(nobody), &connect);
    assert!(matches!(refused, Err(Failed::Server(_))), "{refused:?}");
}

#[test]
fn a_bundle_is_neither_empty_nor_huge_nor_of_leaves() {
    let (one, two) = (Mint::new("one"), Mint::new("two"));
    let bundle = Bundle::new([
        one.certificate.clone(),
        two.certificate.clone(),
        one.certificate.clone(),
    ])
    .unwrap();
    assert_eq!(bundle.certificates().len(), 2);
    assert_eq!(
        Bundle::from_pem(bundle.to_pem().as_bytes()).unwrap(),
        bundle
    );
    assert_eq!(bundle.pins().collect::<Vec<_>>(), [one.pin(), two.pin()]);
    assert_eq!(bundle.authorities()[0].subject, "CN=one");
    assert_eq!(one.pin().to_string().parse::<Pin>(), Ok(one.pin()));

    assert_eq!(Bundle::from_pem(b"nothing\n"), Err(BundleError::Empty));
    assert_eq!(
        Bundle::from_pem(&vec![b'x'; BUNDLE_MAX + 1]),
        Err(BundleError::TooLarge)
    );
    assert_eq!(
        Bundle::new(vec![one.certificate.clone(); 17]),
        Err(BundleError::TooLarge)
    );
    let leaf = one.issue(&Order::node()).cert[0].clone();
    assert!(matches!(
        Bundle::new([leaf]),
        Err(BundleError::Authority { index: 1, .. })
    ));
    let junk = CertificateDer::from(vec![0x30, 0x00]);
    assert!(matches!(
        Bundle::new([junk]),
        Err(BundleError::Authority { .. })
    ));
    assert!(
        Bundle::from_pem(b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").is_err()
    );
    for bad in ["", "abc", &"A".repeat(42), &"A".repeat(44)] {
        assert_eq!(bad.parse::<Pin>(), Err(PinError), "{bad:?}");
    }
}
