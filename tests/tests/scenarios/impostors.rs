//! Certificates that are not what is expected, each shown over both transports: whoever shows one reads what is wrong with
//! it, the server's log says it with the address, it is counted, and an honest agent beside does not notice.

use std::sync::Arc;
use std::time::SystemTime;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::Alpn;
use edge_tunnel_proto::transport::Transport;
use edge_tunnel_tests::caller::{self, Refused};
use edge_tunnel_tests::chatter::Chatter;
use edge_tunnel_tests::forge::{DAY, Forge, Forged, Order};
use edge_tunnel_tests::logs;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::raw;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn now() -> SystemTime {
    Clock::system().now()
}

/// What is shown, and words of the refusal. All is well with it but for the one thing, and `honest` is registered.
fn shown(forge: &Forge, honest: &str, registration: &str) -> Vec<(Forged, &'static str)> {
    let order = || Order::node(honest, &registration, now());
    let makes = |order: Order| forge.makes(&order);
    let with_uris = |uris: &[&str]| {
        let uris = uris.iter().map(ToString::to_string).collect();
        makes(Order { uris, ..order() })
    };
    let own = format!("spiffe://edge-tunnel/node/{honest}");
    vec![
        (Forge::foreign().makes(&order()), "leads to no CA"),
        (
            makes(Order {
                not_before: now() - 40 * DAY,
                not_after: now() - 3 * DAY,
                ..order()
            }),
            "which is 3 days later; until",
        ),
        (
            makes(Order {
                not_before: now() - 200 * DAY,
                not_after: now() - 100 * DAY,
                ..order()
            }),
            "too long ago to renew",
        ),
        (
            makes(Order {
                not_before: now() + 3 * DAY,
                not_after: now() + 9 * DAY,
                ..order()
            }),
            "days earlier: the server's clock is behind",
        ),
        (
            makes(Order::node(honest, &"7".repeat(32), now())),
            "was registered anew since",
        ),
        (
            makes(Order::node("nobody-here", &registration, now())),
            "is not registered at this server",
        ),
        (
            makes(Order::server(now())),
            "that of a server; here a node's agent is expected",
        ),
        (
            makes(Order::client("mallory", now())),
            "that of client mallory; here a node's agent is expected",
        ),
        (
            with_uris(&[&own, "spiffe://edge-tunnel/node/edge-2"]),
            "names 2 identities",
        ),
        (with_uris(&[]), "names 0 identities"),
        (
            with_uris(&["spiffe://elsewhere/node/edge-2"]),
            "of another installation, or --trust-domain differs",
        ),
        (
            makes(Order {
                ca: true,
                ..order()
            }),
            "was not issued for this use",
        ),
        (
            makes(Order {
                uses: vec![ExtendedKeyUsagePurpose::ServerAuth],
                ..order()
            }),
            "was not issued for this use",
        ),
        // An agent that would be a CA.
        (makes(order()).signs(&order()), "leads to no CA"),
    ]
}

struct Place {
    server: Server,
    forge: Forge,
    honest: Node,
    registration: String,
}

async fn place(name: &str) -> Place {
    let server = Server::start(&[]).await;
    let honest = Node::join(name, &server).await;
    let status = server.node(honest.name()).await.unwrap();
    Place {
        forge: Forge::of(&server),
        registration: status.registration.to_string(),
        honest,
        server,
    }
}

impl Place {
    async fn refused(&self, transport: Transport) -> f64 {
        let label = format!("transport=\"{transport}\"");
        let metrics = self.server.metrics().await;
        metrics.sum("handshakes_total", &["outcome=\"refused\"", &label])
    }
}

#[tokio::test]
async fn whoever_is_no_agent_reads_why_and_nobody_else_notices() {
    let place = place("honest").await;
    let service = Service::start().await;
    let mut chatter = Chatter::default();
    let at = place.honest.at(service.port());
    let io = caller::uds(&place.server.uds(), &at).await.unwrap();
    chatter.add("honest", io);
    let agents = place.server.agents();
    for transport in [Transport::Quic, Transport::Tls] {
        for (forged, words) in shown(&place.forge, place.honest.name(), &place.registration) {
            let before = place.refused(transport).await;
            let config = place.forge.dials(Some(forged.shown()), Some(Alpn::Session));
            let said = raw::session(transport, agents, config).await;
            let said = said.map(drop).unwrap_err();
            assert!(said.contains(words), "{transport}: {words:?} not in {said}");
            let counted = place.refused(transport).await - before;
            assert!((counted - 1.0).abs() < 0.5, "{words}: counted {counted}");
            let lines = logs::with(&["refused", words, &format!("transport={transport}")]);
            let told = lines
                .iter()
                .any(|line| line.contains("INFO") && line.contains("remote=127.0.0.1:"));
            assert!(told, "{transport}: {words:?} is not in the log: {lines:?}");
        }
        // Nothing at all where a certificate is needed.
        let config = place.forge.dials(None, Some(Alpn::Session));
        let said = raw::session(transport, agents, config).await;
        let said = said.map(drop).unwrap_err();
        assert!(said.contains("no certificate was shown"), "{said}");
    }
    // The registration is what counts, not the kind of key: it is taken for the second host that it is.
    for key in [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let order = Order {
            key,
            ..Order::node(place.honest.name(), &place.registration, now())
        };
        let shown = place.forge.makes(&order).shown();
        let config = place.forge.dials(Some(shown), Some(Alpn::Session));
        let said = raw::session(Transport::Tls, agents, config).await;
        let said = said.map(drop).unwrap_err();
        assert!(said.contains("Two hosts hold one identity"), "{said}");
    }
    assert_eq!(chatter.talking(), 1);
    chatter.finish().await;
    let ended = place
        .honest
        .metrics()
        .await
        .sum("sessions_ended_total", &[]);
    assert!(ended < 0.5, "the honest one lost its session");
}

#[tokio::test]
async fn who_speaks_another_protocol_or_none_is_told() {
    let place = place("protocols").await;
    let agents = place.server.agents();
    let (other, none) = (vec![b"h2".to_vec()], Vec::new());
    for (transport, alpn) in [
        (Transport::Tls, &other),
        (Transport::Quic, &other),
        // QUIC needs one (RFC 9001, 8.1).
        (Transport::Quic, &none),
    ] {
        let mut config = place.forge.dials(None, None);
        config.alpn_protocols.clone_from(alpn);
        let said = raw::session(transport, agents, config).await;
        let said = said.map(drop).unwrap_err();
        let alert = said.contains("none of the protocols of an agents' port");
        assert!(alert, "{transport}: {said}");
    }
    let config = place.forge.dials(None, None);
    let said = raw::session(Transport::Tls, agents, config).await;
    let said = said.map(drop).unwrap_err();
    assert!(said.contains("no protocol of edge-tunnel"), "{said}");

    // TLS 1.2, by its first bytes (RFC 5246, 7.4.1.2): the answer is the alert protocol_version (70).
    let mut io = TcpStream::connect(agents).await.unwrap();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 16]);
    body.extend([0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23]);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    io.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
    assert_eq!(place.honest.missing().await, "");
}

async fn calls(place: &Place, forged: &Forged, target: &str) -> Result<(), Refused> {
    let config = place.forge.dials(Some(forged.shown()), None);
    let connect = place.server.connect();
    let io = TcpStream::connect(connect).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let io = connector.connect(ServerName::from(connect.ip()), io).await;
    caller::connect(io.unwrap(), target).await.map(drop)
}

#[tokio::test]
async fn whoever_is_no_client_reads_why() {
    let place = place("called").await;
    let service = Service::start().await;
    let at = place.honest.at(service.port());
    let order = || Order::client("alice", now());
    let makes = |order: Order| place.forge.makes(&order);
    calls(&place, &makes(order()), &at).await.unwrap();
    let two = vec![
        "spiffe://edge-tunnel/client/alice".to_owned(),
        "spiffe://edge-tunnel/client/bob".to_owned(),
    ];
    let elsewhere = vec!["spiffe://elsewhere/client/alice".to_owned()];
    let table = [
        (Forge::foreign().makes(&order()), "leads to no CA"),
        (
            makes(Order {
                not_after: now() - DAY / 2,
                ..order()
            }),
            "issue-client",
        ),
        (
            makes(Order {
                not_before: now() + DAY / 2,
                ..order()
            }),
            "the server's clock is behind",
        ),
        (
            makes(Order::node(place.honest.name(), &place.registration, now())),
            "here a client is expected",
        ),
        (makes(Order::server(now())), "here a client is expected"),
        (
            makes(Order {
                uris: two,
                ..order()
            }),
            "names 2 identities",
        ),
        (
            makes(Order {
                uris: elsewhere,
                ..order()
            }),
            "another installation",
        ),
        (
            makes(Order {
                ca: true,
                ..order()
            }),
            "not issued for this use",
        ),
        (
            makes(Order {
                uses: vec![ExtendedKeyUsagePurpose::ServerAuth],
                ..order()
            }),
            "not issued for this use",
        ),
        (
            makes(Order {
                grant: None,
                ..order()
            }),
            "does not say what it may reach",
        ),
        (makes(order()).signs(&order()), "leads to no CA"),
    ];
    for (forged, words) in table {
        let refused = calls(&place, &forged, &at).await.unwrap_err();
        assert_eq!(refused.status, 403, "{words}: {refused:?}");
        assert!(refused.phrase.contains(words), "{words}: {refused:?}");
        let lines = logs::with(&["refused", words, "way=\"connect\"", "client=127.0.0.1:"]);
        assert!(!lines.is_empty(), "{words:?} is not in the log");
    }
    let metrics = place.server.metrics().await;
    let counted = metrics.sum("ingress_requests_total", &["outcome=\"certificate\""]);
    assert!(counted > 9.5, "{counted}");
    calls(&place, &makes(order()), &at).await.unwrap();
}
