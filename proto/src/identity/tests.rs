//! What certificates are read as, and whole handshakes over buffers.

mod mint;
mod ports;
mod wire;

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, ServerConfig, ServerConnection,
};

use self::mint::{DAY, Mint, Order, noon};
use self::wire::{Failed, handshake};
use super::*;
use crate::id::RegistrationId;

fn agents(mint: &Mint) -> Arc<ServerConfig> {
    Arc::new(agents_server(
        &mint.trust(),
        mint.resolver(&Order::server()),
    ))
}

fn session(mint: &Mint, order: &Order) -> Arc<ClientConfig> {
    Arc::new(session_client(&mint.trust(), &mint.live(order)))
}

/// The handshake takes any certificate; the judgement after it, by what `mint` says is believed, refuses it.
fn judged(
    mint: &Mint,
    expected: Role,
    result: Result<(ClientConnection, ServerConnection), Failed>,
) -> String {
    let (_, server) = match result {
        Ok(met) => met,
        Err(failed) => panic!("no handshake: {failed:?}"),
    };
    let Trust {
        bundle,
        trust_domain,
        clock,
    } = mint.trust();
    let chain = server.peer_certificates().unwrap_or_default();
    let judged = check_client(chain, &bundle.get(), &trust_domain, &clock)
        .and_then(|certificate| expected.expect(&certificate));
    judged.unwrap_err().to_string()
}

fn refused_by_client(result: Result<impl Sized, Failed>) -> String {
    match result {
        Err(Failed::Client(words)) => words,
        Err(Failed::Server(words)) => panic!("the server refused: {words}"),
        Ok(_) => panic!("nobody refused"),
    }
}

#[test]
fn a_session_is_tls_1_3_with_the_hybrid_group_and_its_protocol() {
    let mint = Mint::new("ca");
    let (client, server) = handshake(&session(&mint, &Order::node()), &agents(&mint))
        .map_err(|e| format!("{e:?}"))
        .unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(
        server.alpn_protocol().and_then(Alpn::from_bytes),
        Some(Alpn::Session)
    );
    let leaf = &server.peer_certificates().unwrap()[0];
    let read = Certificate::read(leaf, &TrustDomain::default()).unwrap();
    let name = "edge-1".parse().unwrap();
    assert_eq!(
        read.identity,
        Identity::Node {
            name,
            registration: RegistrationId(7)
        }
    );
    assert_eq!(
        (read.not_before, read.not_after),
        (noon() - DAY, noon() + DAY)
    );
}

#[test]
fn tls_1_2_is_refused() {
    let mint = Mint::new("ca");
    // The workspace builds rustls without TLS 1.2, so the old client is played by its first bytes: a ClientHello
    // whose supported versions hold nothing newer (RFC 5246, section 7.4.1.2).
    let mut server = ServerConnection::new(agents(&mint)).unwrap();
    let hello = tls12_hello();
    server.read_tls(&mut hello.as_slice()).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("SupportedVersionsExtensionRequired"),
        "{error}"
    );
}

fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    // Extensions: the signature algorithm ecdsa_secp256r1_sha256, the group secp256r1.
    let extensions = [0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23];
    body.extend([0, 16]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[test]
fn a_foreign_ca_is_refused_by_either_side() {
    let (ours, theirs) = (Mint::new("ca"), Mint::new("ca"));
    let stranger = Arc::new(session_client(&ours.trust(), &theirs.live(&Order::node())));
    let words = judged(&ours, Role::Node, handshake(&stranger, &agents(&ours)));
    assert!(
        words.contains("leads to no CA") && words.contains(&ours.pin().to_string()),
        "{words}"
    );

    let words = refused_by_client(handshake(&session(&ours, &Order::node()), &agents(&theirs)));
    assert!(words.contains("leads to no CA"), "{words}");
}

/// An operator's CA may sign by another that it vouches for: that one stands in the chain, and not in the bundle.
#[test]
fn what_an_intermediate_ca_signed_counts_where_the_chain_has_it() {
    let root = Mint::new("root");
    let between = root.intermediate("between");
    let bare = |order: &Order| {
        let whole = between.issue(order);
        CertifiedKey::new(vec![whole.cert[0].clone()], whole.key)
    };
    let server = |key: CertifiedKey| {
        let key = Arc::new(SingleCertAndKey::from(key));
        Arc::new(agents_server(&root.trust(), key))
    };
    let agent = |key: CertifiedKey| {
        let key = Live::new(Some(Arc::new(key)));
        Arc::new(session_client(&root.trust(), &key))
    };
    let whole = between.issue(&Order::server());
    let (_, met) = handshake(&agent(between.issue(&Order::node())), &server(whole)).unwrap();
    let Trust {
        bundle,
        trust_domain,
        clock,
    } = root.trust();
    let chain = met.peer_certificates().unwrap();
    let certificate = check_client(chain, &bundle.get(), &trust_domain, &clock).unwrap();
    assert!(Role::Node.expect(&certificate).is_ok());

    let whole = between.issue(&Order::server());
    let words = judged(
        &root,
        Role::Node,
        handshake(&agent(bare(&Order::node())), &server(whole)),
    );
    assert!(words.contains("leads to no CA"), "{words}");
    let cut = server(bare(&Order::server()));
    let words = refused_by_client(handshake(&agent(between.issue(&Order::node())), &cut));
    assert!(words.contains("leads to no CA"), "{words}");
}

#[test]
fn a_server_is_no_agent_and_an_agent_no_server() {
    let mint = Mint::new("ca");
    let words = judged(
        &mint,
        Role::Node,
        handshake(&session(&mint, &Order::server()), &agents(&mint)),
    );
    assert!(
        words.contains("that of a server; here a node's agent is expected"),
        "{words}"
    );

    let impostor = |order: &Order| Arc::new(agents_server(&mint.trust(), mint.resolver(order)));
    let words = refused_by_client(handshake(
        &session(&mint, &Order::node()),
        &impostor(&Order::node()),
    ));
    assert!(words.contains("that of node edge-1"), "{words}");

    // A server's name in a certificate that was not issued for serving.
    let order = Order {
        usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
        ..Order::server()
    };
    let words = refused_by_client(handshake(
        &session(&mint, &Order::node()),
        &impostor(&order),
    ));
    assert!(words.contains("was not issued for this use"), "{words}");
    // And a node's that was not issued for calling.
    let order = Order {
        usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
        ..Order::node()
    };
    let words = judged(
        &mint,
        Role::Node,
        handshake(&session(&mint, &order), &agents(&mint)),
    );
    assert!(words.contains("was not issued for this use"), "{words}");
}

#[test]
fn two_identities_in_one_certificate_are_none() {
    let mint = Mint::new("ca");
    let mut order = Order::node();
    order
        .uris
        .push("spiffe://edge-tunnel/node/edge-2".to_owned());
    let words = judged(
        &mint,
        Role::Node,
        handshake(&session(&mint, &order), &agents(&mint)),
    );
    assert!(words.contains("names 2 identities"), "{words}");
    order.uris.clear();
    let words = judged(
        &mint,
        Role::Node,
        handshake(&session(&mint, &order), &agents(&mint)),
    );
    assert!(words.contains("names 0 identities"), "{words}");
    let order = Order {
        serial: None,
        ..Order::node()
    };
    let words = judged(
        &mint,
        Role::Node,
        handshake(&session(&mint, &order), &agents(&mint)),
    );
    assert!(
        words.contains("is none of the trust domain"),
        "no registration: {words}"
    );
}

#[test]
fn an_expired_agent_passes_the_handshake_and_an_expired_server_does_not() {
    let mint = Mint::new("ca");
    let past = Order {
        not_after: noon() - DAY / 2,
        ..Order::node()
    };
    assert!(handshake(&session(&mint, &past), &agents(&mint)).is_ok());

    let past = Order {
        not_after: noon() - DAY / 2,
        ..Order::server()
    };
    let server = Arc::new(agents_server(&mint.trust(), mint.resolver(&past)));
    let words = refused_by_client(handshake(&session(&mint, &Order::node()), &server));
    assert!(
        words.contains("was valid until 2027-01-14T20:00:00Z"),
        "{words}"
    );
    assert!(words.contains("clock says 2027-01-15T08:00:00Z"), "{words}");
}

#[test]
fn not_yet_valid_names_both_times() {
    let mint = Mint::new("ca");
    let early = |order: Order| Order {
        not_before: noon() + DAY / 2,
        ..order
    };
    let words = judged(
        &mint,
        Role::Node,
        handshake(&session(&mint, &early(Order::node())), &agents(&mint)),
    );
    assert!(
        words.contains("valid from 2027-01-15T20:00:00Z only"),
        "{words}"
    );
    assert!(words.contains("clock says 2027-01-15T08:00:00Z"), "{words}");
    let server = Arc::new(agents_server(
        &mint.trust(),
        mint.resolver(&early(Order::server())),
    ));
    let words = refused_by_client(handshake(&session(&mint, &Order::node()), &server));
    assert!(
        words.contains("2027-01-15T20:00:00Z") && words.contains("NTP"),
        "{words}"
    );
}

#[test]
fn a_box_that_boots_in_1970_believes_its_floor() {
    let mint = Mint::new("ca");
    let trust = mint.trust();
    trust.clock.set(UNIX_EPOCH);
    let client = Arc::new(session_client(&trust, &mint.live(&Order::node())));
    assert!(handshake(&client, &agents(&mint)).is_err());
    trust.clock.not_before(noon() - DAY);
    assert!(handshake(&client, &agents(&mint)).is_ok());
}

#[test]
fn a_cas_name_breaks_no_line() {
    let bundle = Mint::new(&format!("a\r\nb\u{7f}\u{1b}[2J{}", "c".repeat(500))).bundle();
    let subject = &bundle.authorities()[0].subject;
    assert!(
        subject.starts_with("CN=a") && subject.chars().count() <= 81,
        "{subject:?}"
    );
    assert!(!subject.contains(|c: char| c.is_control()), "{subject:?}");
}

#[test]
fn a_replaced_bundle_applies_to_the_next_handshake() {
    let (old, new) = (Mint::new("old"), Mint::new("new"));
    let trust = old.trust();
    let client = Arc::new(session_client(&trust, &old.live(&Order::node())));
    let server_trust = old.trust();
    let server = Arc::new(agents_server(&server_trust, new.resolver(&Order::server())));
    assert!(handshake(&client, &server).is_err());
    trust
        .bundle
        .set(Bundle::new([old.certificate.clone(), new.certificate.clone()]).unwrap());
    assert!(handshake(&client, &server).is_ok());
    let (_, met) = handshake(&client, &server).unwrap();
    let chain = met.peer_certificates().unwrap();
    let judge = || {
        let bundle = server_trust.bundle.get();
        check_client(
            chain,
            &bundle,
            &server_trust.trust_domain,
            &server_trust.clock,
        )
    };
    assert!(judge().is_ok());
    server_trust.bundle.set(new.bundle());
    assert!(matches!(judge(), Err(VerifyError::Untrusted { .. })));
}

#[test]
fn a_replaced_key_is_shown_at_the_next_dial() {
    let mint = Mint::new("ca");
    let key: LiveKey = Live::new(None);
    let client = Arc::new(session_client(&mint.trust(), &key));
    let server = agents(&mint);
    let (_, seen) = handshake(&client, &server).unwrap();
    assert!(seen.peer_certificates().is_none());
    let issued = Arc::new(mint.issue(&Order::node()));
    key.set(Some(Arc::clone(&issued)));
    let (_, seen) = handshake(&client, &server).unwrap();
    assert_eq!(seen.peer_certificates().unwrap(), issued.cert);
}

#[test]
fn enrolment_believes_the_pin_and_nothing_else() {
    let (mint, other) = (Mint::new("ca"), Mint::new("ca"));
    let trust = mint.trust();
    let pinned = |pin| Arc::new(enroll_client(pin, &trust.trust_domain, &trust.clock));
    let (_, server) = handshake(&pinned(mint.pin()), &agents(&mint)).unwrap();
    assert_eq!(
        server.alpn_protocol().and_then(Alpn::from_bytes),
        Some(Alpn::Enroll)
    );
    assert!(server.peer_certificates().is_none());

    let words = refused_by_client(handshake(&pinned(other.pin()), &agents(&mint)));
    assert!(words.contains(&other.pin().to_string()), "{words}");

    // Another CA's server that shows the pinned CA beside its own certificate.
    let mut forged = other.issue(&Order::server());
    forged.cert.push(mint.certificate.clone());
    let server = Arc::new(agents_server(
        &trust,
        Arc::new(SingleCertAndKey::from(forged)),
    ));
    let words = refused_by_client(handshake(&pinned(mint.pin()), &server));
    assert!(words.contains("leads to no CA"), "{words}");

    // An agent of the pinned CA that plays the server.
    let server = Arc::new(agents_server(&trust, mint.resolver(&Order::node())));
    refused_by_client(handshake(&pinned(mint.pin()), &server));
}
