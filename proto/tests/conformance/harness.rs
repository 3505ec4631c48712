//! Two lanes that meet over real sockets and real TLS, with a relay between them where a test wants to harm the link.

pub(crate) mod mint;
pub(crate) mod pattern;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::{Port, RequestId, StreamId, Target, TargetHost};
use edge_tunnel_proto::identity::{Alpn, agents_server, session_client};
use edge_tunnel_proto::message::OpenRequest;
use edge_tunnel_proto::mux::{Mux, Side};
use edge_tunnel_proto::stream::{Answer, Incoming, Opening, Stream};
use edge_tunnel_proto::transport::{
    AGENT_LIMITS, Connected, Lane, Limits, SERVER_LIMITS, Transport, quic, tls,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

pub(crate) use relay::{Cut, Relay};

/// What a test wants of the link.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    /// A relay, with this delay in each direction.
    pub(crate) relay: Option<Duration>,
    /// What the agent's side believes it may do.
    pub(crate) agent: Limits,
    /// The memory, in bytes, that may be promised to streams by the server, and by the agent.
    pub(crate) memory: [usize; 2],
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            relay: None,
            agent: AGENT_LIMITS,
            memory: [1 << 30, 1 << 30],
        }
    }
}

/// A connection, seen from both ends.
pub(crate) struct Pair {
    pub(crate) server: Lane,
    pub(crate) agent: Lane,
    pub(crate) relay: Option<Relay>,
    /// What the streams of each end draw on.
    pub(crate) budgets: [Budget; 2],
    /// The drivers.
    pub(crate) tasks: TaskTracker,
    /// What has to live as long as the connection.
    quic: Option<(quic::Listener, quic::Dialer)>,
}

impl Pair {
    pub(crate) async fn new(transport: Transport) -> Self {
        Self::with(transport, Wish::default()).await
    }

    pub(crate) async fn with(transport: Transport, wish: Wish) -> Self {
        match transport {
            Transport::Quic => Self::quic(wish).await,
            Transport::Tls => Self::tls(wish).await,
        }
    }

    async fn quic(wish: Wish) -> Self {
        let mint = mint::Mint::new();
        let server = Arc::new(agents_server(&mint.trust(), mint.server()));
        let client = Arc::new(session_client(&mint.trust(), &mint.agent()));
        let listener = quic::Listener::bind(loopback(), server, SERVER_LIMITS, 7).unwrap();
        let mut address = listener.local_addr().unwrap();
        let relay = match wish.relay {
            Some(delay) => Some(Relay::udp(address, delay).await),
            None => None,
        };
        if let Some(relay) = &relay {
            address = relay.address;
        }
        let dialer = quic::Dialer::new(address, wish.agent).unwrap();
        let budgets = wish.memory.map(Budget::new);
        let accept = async {
            let incoming = listener.accept().await.unwrap();
            incoming.handshake(&budgets[0]).await.unwrap()
        };
        let connect = async {
            let connected = dialer.connect(address, "lb.example", client, &budgets[1]);
            connected.await.unwrap()
        };
        let (server, agent) = tokio::join!(accept, connect);
        let quic = Some((listener, dialer));
        Self::of(server, agent, relay, budgets, TaskTracker::new(), quic)
    }

    async fn tls(wish: Wish) -> Self {
        let mint = mint::Mint::new();
        let server = Arc::new(agents_server(&mint.trust(), mint.server()));
        let client = Arc::new(session_client(&mint.trust(), &mint.agent()));
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let mut address = listener.local_addr().unwrap();
        let relay = match wish.relay {
            Some(delay) => Some(Relay::tcp(address, delay).await),
            None => None,
        };
        if let Some(relay) = &relay {
            address = relay.address;
        }
        let budgets = wish.memory.map(Budget::new);
        let tasks = TaskTracker::new();
        let accept = async {
            let (tcp, remote) = listener.accept().await.unwrap();
            tls::tune(&tcp).unwrap();
            tls::accept(tcp, remote, server, &budgets[0], &tasks)
                .await
                .unwrap()
        };
        let connect = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let name = "lb.example".try_into().unwrap();
            let mut connected = if wish.agent.outbound == AGENT_LIMITS.outbound {
                tls::connect(tcp, client, name, &budgets[1], &tasks)
                    .await
                    .unwrap()
            } else {
                rogue(tcp, client, wish.agent, &budgets[1], &tasks).await
            };
            connected.remote = address;
            connected
        };
        let (server, agent) = tokio::join!(accept, connect);
        Self::of(server, agent, relay, budgets, tasks, None)
    }

    fn of(
        server: Connected,
        agent: Connected,
        relay: Option<Relay>,
        budgets: [Budget; 2],
        tasks: TaskTracker,
        quic: Option<(quic::Listener, quic::Dialer)>,
    ) -> Self {
        for connected in [&server, &agent] {
            assert_eq!(connected.alpn.as_deref(), Some(Alpn::Session.as_bytes()));
            assert!(!connected.certificates.is_empty());
        }
        Self {
            server: server.lane,
            agent: agent.lane,
            relay,
            budgets,
            tasks,
            quic,
        }
    }

    /// Both ways to open a stream: who opens, who accepts.
    pub(crate) fn ways(&self) -> [(&Lane, &Lane); 2] {
        [(&self.server, &self.agent), (&self.agent, &self.server)]
    }

    /// An open stream: the end of the server, which opened it, and the end of the agent.
    pub(crate) async fn stream(&self) -> (Stream, Stream) {
        open(&self.server, &self.agent).await
    }

    /// Both ends have to be gone, memory and tasks included.
    pub(crate) async fn end(self) {
        drop((self.server, self.agent));
        self.tasks.close();
        self.tasks.wait().await;
        if let Some((listener, _dialer)) = &self.quic {
            listener.close(Code::Draining, "test").await;
        }
        assert_eq!(self.budgets.map(|budget| budget.used()), [0, 0]);
    }
}

/// An agent that grants itself more streams than the server does.
async fn rogue(
    tcp: TcpStream,
    client: Arc<rustls::ClientConfig>,
    limits: Limits,
    budget: &Budget,
    tasks: &TaskTracker,
) -> Connected {
    let remote = tcp.peer_addr().unwrap();
    let tls = tokio_rustls::TlsConnector::from(client)
        .connect("lb.example".try_into().unwrap(), tcp)
        .await
        .unwrap();
    let (_, session) = tls.get_ref();
    let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
    let certificates = session.peer_certificates().unwrap().to_vec();
    let (mux, driver) = Mux::new(tls, Side::Client, limits, budget);
    tasks.spawn(driver);
    Connected {
        lane: Lane::Tls(mux),
        alpn,
        certificates,
        remote,
    }
}

pub(crate) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub(crate) fn request() -> OpenRequest {
    OpenRequest {
        id: StreamId::random(),
        request_id: RequestId::random(),
        caller: "conformance".to_owned(),
        hops: 0,
        deadline: None,
        target: Target {
            host: TargetHost::Loopback,
            port: Port::known(10250),
        },
    }
}

/// The next stream that is to be opened towards a target, its header read.
pub(crate) async fn asked(lane: &Lane) -> Answer {
    match Incoming::read(lane.accept().await.unwrap()).await.unwrap() {
        Incoming::Open(answer) => answer,
        other => panic!("{other:?} instead of an open"),
    }
}

/// The next stream, opened.
pub(crate) async fn answered(lane: &Lane) -> Stream {
    let mut answer = asked(lane).await;
    answer.accepted().await.unwrap();
    answer.opened().await.unwrap()
}

/// A stream from `from` to `to`, open at both ends.
pub(crate) async fn open(from: &Lane, to: &Lane) -> (Stream, Stream) {
    let opening = async {
        Opening::start(from, &request())
            .await
            .unwrap()
            .opened()
            .await
            .unwrap()
    };
    tokio::join!(opening, answered(to))
}
