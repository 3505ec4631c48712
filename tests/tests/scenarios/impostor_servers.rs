//! Somebody answers in the server's place: the agent says what is wrong with what it was shown, and shows nothing itself
//! that would be of use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::{Alpn, provider};
use edge_tunnel_proto::transport::{SERVER_LIMITS, quic};
use edge_tunnel_tests::forge::{DAY, Forge, Forged, Order};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Answers handshakes, over UDP and TCP.
struct Impostor {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Impostor {
    async fn start(forged: &Forged) -> Self {
        let shown = Arc::into_inner(forged.shown()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = [Alpn::Session, Alpn::Enroll]
            .map(|alpn| alpn.as_bytes().to_vec())
            .to_vec();
        let config = Arc::new(config);
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = tcp.local_addr().unwrap();
            // The port may be taken for UDP.
            if let Ok(udp) = quic::Listener::bind(address, Arc::clone(&config), SERVER_LIMITS, 0) {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let budget = Budget::new(1 << 24);
            while let Some(incoming) = udp.accept().await {
                let _ = incoming.handshake(&budget).await;
            }
        });
        tasks.spawn(async move {
            while let Ok((io, _)) = tcp.accept().await {
                let _ = TlsAcceptor::from(Arc::clone(&config)).accept(io).await;
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

fn now() -> SystemTime {
    Clock::system().now()
}

#[tokio::test]
async fn an_agent_says_what_is_wrong_with_who_answers_in_the_servers_place() {
    let server = Server::start(&[]).await;
    let mut real = Node::join("misled", &server).await;
    real.stop().await;
    let forge = Forge::of(&server);
    let order = || Order::server(now());
    let makes = |order: Order| forge.makes(&order);
    let elsewhere = vec!["spiffe://elsewhere/server".to_owned()];
    let table = [
        (Forge::foreign().makes(&order()), "leads to no CA"),
        (
            makes(Order::node("edge-2", &"7".repeat(32), now())),
            "that of node edge-2 (registration",
        ),
        (
            makes(Order::client("mallory", now())),
            "that of client mallory; here a server is expected",
        ),
        (
            makes(Order {
                not_before: now() - 9 * DAY,
                not_after: now() - 3 * DAY,
                ..order()
            }),
            "this node's clock is ahead",
        ),
        (
            makes(Order {
                not_before: now() + 3 * DAY,
                not_after: now() + 9 * DAY,
                ..order()
            }),
            "this node's clock is behind",
        ),
        (
            makes(Order {
                uris: Vec::new(),
                ..order()
            }),
            "names 0 identities",
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
                uses: vec![ExtendedKeyUsagePurpose::ClientAuth],
                ..order()
            }),
            "not issued for this use",
        ),
        (
            makes(Order {
                ca: true,
                ..order()
            }),
            "not issued for this use",
        ),
        // An agent that signs itself a server.
        (
            makes(Order::node("edge-2", &"7".repeat(32), now())).signs(&order()),
            "leads to no CA",
        ),
    ];
    let mut misled = Vec::new();
    for (forged, words) in table {
        let impostor = Impostor::start(&forged).await;
        let mut node = Node::new("misled", &impostor.address).identity_of(&real);
        node.start().await;
        misled.push((impostor, node, words));
    }
    for (_, node, words) in &misled {
        // Over both transports, and told once, unless a clock in it has moved on from the one to the other.
        let said = node.says(&["quic to", "tls to", words]).await;
        let told = said.matches(words).count();
        let once = told == 1 && said.contains(": the same");
        assert!(once || told == 2, "{words}: {said}");
    }
    // They try again, and take their time.
    let failed = async |node: &Node| node.metrics().await.sum("connects_failed_total", &[]);
    let mut before = Vec::new();
    for (_, node, _) in &misled {
        before.push(failed(node).await);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for ((_, node, words), before) in misled.iter().zip(before) {
        let more = failed(node).await - before;
        assert!(more < 10.5, "{words}: {more} attempts in 3 s");
    }
}
