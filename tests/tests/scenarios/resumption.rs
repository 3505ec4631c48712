//! Sessions of TLS that somebody would take up again: on the agents' port there are none, and on that of `connect` a
//! caller is judged anew each time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use edge_tunnel_agent::identity::{Identity, Settings};
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::{Alpn, TrustDomain};
use edge_tunnel_proto::transport::Transport;
use edge_tunnel_tests::caller::{self, Refused};
use edge_tunnel_tests::forge::{DAY, Forge};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::raw;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, HandshakeKind, NamedGroup};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Keeps every ticket, and counts them.
#[derive(Debug)]
struct Tickets {
    kept: ClientSessionMemoryCache,
    came: AtomicUsize,
}

impl Tickets {
    /// Has `config` keep tickets, and send early data where it may.
    fn of(config: &mut ClientConfig) -> Arc<Self> {
        let tickets = Arc::new(Self {
            kept: ClientSessionMemoryCache::new(64),
            came: AtomicUsize::new(0),
        });
        config.resumption = Resumption::store(Arc::clone(&tickets) as _);
        config.enable_early_data = true;
        tickets
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.kept.set_tls12_session(server, value);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.kept.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.came.fetch_add(1, Ordering::Relaxed);
        self.kept.insert_tls13_ticket(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept.take_tls13_ticket(server)
    }
}

async fn tickets_come(tickets: &Tickets, count: usize) {
    let look = async || {
        let came = tickets.came();
        (came >= count).then_some(()).ok_or(format!("{came}"))
    };
    until(&format!("{count} tickets have come"), SOON, look).await;
}

/// What `issue-client` made, as a handshake shows it.
fn client(server: &Server, files: &std::path::Path) -> ClientConfig {
    let pem = |name: &str| std::fs::read(files.join(name)).unwrap();
    let chain = CertificateDer::pem_slice_iter(&pem("client.crt"))
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pem("client.key")).unwrap();
    let provider = edge_tunnel_proto::identity::provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    Forge::of(server).dials(Some(Arc::new(CertifiedKey::new(chain, key))), None)
}

/// One CONNECT on a connection of its own, and whether its handshake was resumed.
async fn calls(
    connect: SocketAddr,
    config: &ClientConfig,
    target: &str,
) -> (Option<HandshakeKind>, Result<(), Refused>) {
    let io = TcpStream::connect(connect).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config.clone()));
    let io = connector.connect(ServerName::from(connect.ip()), io).await;
    let io = io.unwrap();
    let kind = io.get_ref().1.handshake_kind();
    let mut io = match caller::connect(io, target).await {
        Ok(io) => io,
        Err(refused) => return (kind, Err(refused)),
    };
    caller::say(&mut io, "echo").await.unwrap();
    // Its answer comes behind the tickets.
    caller::echo(&mut io, "hello").await.unwrap();
    (kind, Ok(()))
}

#[tokio::test]
async fn the_agents_port_gives_out_no_ticket_and_takes_none() {
    let server = Server::start(&[]).await;
    let node = Node::join("resume", &server).await;
    let held = Identity::open(&Settings {
        state_dir: node.state_dir(),
        trust_domain: TrustDomain::default(),
        clock: Clock::system(),
    })
    .unwrap();
    let agents = server.agents();
    for transport in [Transport::Quic, Transport::Tls] {
        for (mut config, session) in [
            (held.session_config().unwrap(), true),
            (held.renew_config().unwrap(), false),
            (Forge::of(&server).dials(None, Some(Alpn::Enroll)), false),
        ] {
            let tickets = Tickets::of(&mut config);
            for _ in 0..2 {
                let connected = raw::dial(transport, agents, config.clone()).await.unwrap();
                let words = raw::greet(&connected).await.map(drop);
                // The node itself is connected; the others may only enrol. Each has heard something after the handshake.
                let expected = if session { "Two hosts" } else { "an enrolment" };
                let words = words.unwrap_err();
                assert!(words.contains(expected), "{transport}: {words}");
            }
            assert_eq!(tickets.came(), 0, "{transport}: a ticket");
        }
    }
}

#[tokio::test]
async fn tickets_of_the_callers_port_make_nobody_an_agent() {
    let server = Server::start(&[]).await;
    let node = Node::join("resume-other", &server).await;
    let service = Service::start().await;
    let files = server
        .issue_client("resumer", &["--ports", &service.port().to_string()])
        .await;
    let forge = Forge::of(&server);
    for transport in [Transport::Quic, Transport::Tls] {
        for (alpn, expected) in [
            (Alpn::Session, "no certificate was shown"),
            (Alpn::Enroll, "an enrolment begins"),
        ] {
            let mut config = client(&server, &files);
            let tickets = Tickets::of(&mut config);
            calls(server.connect(), &config, &node.at(service.port()))
                .await
                .1
                .unwrap();
            tickets_come(&tickets, 1).await;
            // Without a certificate.
            let bare = forge.dials(None, Some(alpn));
            let words = raw::session(transport, server.agents(), bare).await;
            let words = words.map(drop).unwrap_err();
            assert!(words.contains(expected), "{transport}, {alpn:?}: {words}");
            // With the caller's, and all its tickets: only the protocol is another.
            let mut dressed = config.clone();
            dressed.alpn_protocols = vec![alpn.as_bytes().to_vec()];
            let words = raw::session(transport, server.agents(), dressed).await;
            let words = words.map(drop).unwrap_err();
            assert!(words.contains("client resumer"), "{transport}: {words}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_resumes_is_judged_anew() {
    let start = Clock::system().now();
    let clock = Clock::fixed(start);
    let server = Server::start_with(&[], &[], clock.clone()).await;
    let mut node = Node::new("resume-call", &server.agents()).clock(&clock);
    node.enrol(&server).await;
    let service = Service::start().await;
    let (port, at) = (service.port().to_string(), node.at(service.port()));
    let files = server.issue_client("again", &["--ports", &port]).await;
    let mut config = client(&server, &files);
    let tickets = Tickets::of(&mut config);
    let call = async || calls(server.connect(), &config, &at).await;

    let (kind, answer) = call().await;
    assert_eq!((kind, answer), (Some(HandshakeKind::Full), Ok(())));
    tickets_come(&tickets, 2).await;
    let (kind, answer) = call().await;
    assert_eq!((kind, answer), (Some(HandshakeKind::Resumed), Ok(())));

    // Shut out by its line in `callers`.
    server.key("callers", "again nodes=nobody\n");
    let refused = async || match call().await {
        (Some(HandshakeKind::Resumed), Err(refused)) if refused.status == 403 => Ok(refused),
        other => Err(format!("{other:?}")),
    };
    until("a resumed caller is refused", SOON, refused).await;
    server.key("callers", "");
    let taken = async || match call().await {
        (Some(HandshakeKind::Resumed), Ok(())) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("it is let in again", SOON, taken).await;

    // Expired, by the clock of the server; a ticket is good for a day or so, and the certificate for a year.
    clock.set(start + 365 * DAY + Duration::from_secs(7_200));
    let (kind, answer) = call().await;
    let refused = answer.unwrap_err();
    assert_eq!((kind, refused.status), (Some(HandshakeKind::Resumed), 403));
    assert!(refused.phrase.contains("issue-client"), "{refused:?}");
}
