//! The path between agents and a server: a relay for TCP and UDP on one port, which fails on demand.
//!
//! | told to | TCP | UDP |
//! | --- | --- | --- |
//! | cut | connections are reset, on both sides | flows that there are pass nothing any more |
//! | freeze | connections that there are pass nothing any more, and nobody is told | likewise |
//! | stall | bytes are held back, one way or both; new connections likewise | datagrams are lost |
//! | block | as stalled, both ways; a new connection gets no answer | datagrams are lost |
//! | delay | every piece arrives later, by this | likewise |
//! | half-open | one side sees its connections reset, the other side's pass nothing and it is not told | as cut |
//! | half-close | the receiver of one direction sees an end, the sender is not told | – |
//! | forget | connections idle for longer pass nothing, or are reset once somebody speaks | flows idle for longer are made anew, from another port |
//! | lose, reorder | – | so many in a thousand are lost, or held back for a moment |
//! | narrow | – | datagrams that make a larger packet than this are lost |
//!
//! What is left to chance is drawn from a fixed seed, flow by flow.

mod tcp;
mod udp;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait::give_up;

/// The two directions of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From agents to the server.
    Up,
    /// From the server to agents.
    Down,
}

/// The two ends of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Agents.
    Agent,
    /// The server.
    Server,
}

/// What a balancer does with a TCP connection that it has forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing, and says nothing.
    Silent,
    /// Resets it towards whoever speaks next; the other side is told nothing.
    Reset,
}

/// What is wrong with a path at present.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    up: bool,
    down: bool,
    delay: Duration,
    /// Grows with each cut.
    cuts: u64,
    /// Grows with each freeze.
    freezes: u64,
    /// Grows with each rebinding.
    rebinds: u64,
    /// Grows with each half-opening, and which side was told last.
    half_opens: u64,
    told: Option<End>,
    /// Grow with each half-close.
    half_closes: [u64; 2],
    idle: Option<(Duration, Forgotten)>,
    /// Of a thousand datagrams.
    lost: u32,
    reordered: u32,
    /// The largest packet, IP header included, in bytes.
    mtu: Option<usize>,
}

impl Faults {
    const fn stalled(&self, way: Way) -> bool {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }

    const fn half_closes(&self, way: Way) -> u64 {
        self.half_closes[way as usize]
    }
}

/// One protocol's path, told what to do.
#[derive(Debug)]
pub struct Path(watch::Sender<Faults>);

impl Path {
    fn new() -> Self {
        Self(watch::Sender::new(Faults::default()))
    }

    /// Ends what there is, now.
    pub fn cut(&self) {
        self.0.send_modify(|faults| faults.cuts += 1);
    }

    /// Has what there is pass nothing any more, for good, while what comes anew passes: the other side was lost without
    /// a word, and something answers in its place.
    pub fn freeze(&self) {
        self.0.send_modify(|faults| faults.freezes += 1);
    }

    /// Lets nothing pass in this direction.
    pub fn stall(&self, way: Way) {
        self.0.send_modify(|faults| match way {
            Way::Up => faults.up = true,
            Way::Down => faults.down = true,
        });
    }

    /// Lets nothing pass in either direction.
    pub fn block(&self) {
        self.stall(Way::Up);
        self.stall(Way::Down);
    }

    /// Lets everything pass again.
    pub fn unblock(&self) {
        self.0.send_modify(|faults| {
            faults.up = false;
            faults.down = false;
        });
    }

    /// Has everything arrive later by `delay`, in each direction. Over TCP this bounds the throughput too: 64 KiB
    /// are under way at a time.
    pub fn delay(&self, delay: Duration) {
        self.0.send_modify(|faults| faults.delay = delay);
    }

    /// Has `told` see what there is reset, while the other side is told nothing and hears nothing any more: a corpse.
    pub fn half_open(&self, told: End) {
        self.0.send_modify(|faults| {
            faults.half_opens += 1;
            faults.told = Some(told);
        });
    }

    /// Ends this direction of what there is, as its receiver sees it; the sender is not told, and what it sends is
    /// swallowed. TCP only.
    pub fn half_close(&self, way: Way) {
        self.0
            .send_modify(|faults| faults.half_closes[way as usize] += 1);
    }

    /// Forgets whatever is idle for `idle`, as a balancer does.
    pub fn forget(&self, idle: Duration, then: Forgotten) {
        self.0
            .send_modify(|faults| faults.idle = Some((idle, then)));
    }

    /// Loses so many of a thousand datagrams, and lets so many others be overtaken. UDP only.
    pub fn lose(&self, lost: u32, reordered: u32) {
        self.0.send_modify(|faults| {
            faults.lost = lost;
            faults.reordered = reordered;
        });
    }

    /// Passes no packet that is larger, IP header included. UDP only.
    pub fn narrow(&self, mtu: usize) {
        self.0.send_modify(|faults| faults.mtu = Some(mtu));
    }

    /// Takes back whatever is wrong; what was broken stays so.
    pub fn mend(&self) {
        self.0.send_modify(|faults| {
            *faults = Faults {
                cuts: faults.cuts,
                freezes: faults.freezes,
                rebinds: faults.rebinds,
                half_opens: faults.half_opens,
                told: faults.told,
                half_closes: faults.half_closes,
                ..Faults::default()
            };
        });
    }

    /// Has the server see flows that there are come from other ports, as a router does that has forgotten them. UDP
    /// only.
    pub fn rebind(&self) {
        self.0.send_modify(|faults| faults.rebinds += 1);
    }
}

/// A relay on a port of its own. Dropping it ends everything that goes through it.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    tcp: Path,
    udp: Path,
    _tasks: JoinSet<()>,
}

impl Link {
    /// A sound path to `server`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(server: SocketAddr) -> Self {
        Self::build(server, None).await
    }

    /// A path whose TCP connections begin with `greeting`, such as a balancer's PROXY protocol header.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn greeting(server: SocketAddr, greeting: &[u8]) -> Self {
        Self::build(server, Some(greeting.to_vec())).await
    }

    async fn build(server: SocketAddr, greeting: Option<Vec<u8>>) -> Self {
        let (listener, socket) = bind().await;
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (tcp, udp) = (Path::new(), Path::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(tcp::relay(listener, server, greeting, tcp.0.subscribe()));
        tasks.spawn(udp::relay(socket, server, udp.0.subscribe()));
        Self {
            address,
            tcp,
            udp,
            _tasks: tasks,
        }
    }

    /// Where agents dial.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What carries TLS.
    #[must_use]
    pub const fn tcp(&self) -> &Path {
        &self.tcp
    }

    /// What carries QUIC.
    #[must_use]
    pub const fn udp(&self) -> &Path {
        &self.udp
    }

    /// What carries this transport, by its name in flags and metrics.
    ///
    /// # Panics
    /// For a name that is none.
    #[must_use]
    pub fn path(&self, transport: &str) -> &Path {
        match transport {
            "quic" => &self.udp,
            "tls" => &self.tcp,
            other => give_up(format!("{other} is no transport")),
        }
    }

    /// Lets nothing pass, as when the machine on the other side has lost its power.
    pub fn block(&self) {
        self.tcp.block();
        self.udp.block();
    }

    /// Takes back whatever is wrong with either.
    pub fn mend(&self) {
        self.tcp.mend();
        self.udp.mend();
    }

    /// Lets everything pass again.
    pub fn unblock(&self) {
        self.tcp.unblock();
        self.udp.unblock();
    }
}

/// Both protocols on one port.
async fn bind() -> (TcpListener, UdpSocket) {
    for _ in 0..20 {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        if let Ok(socket) = UdpSocket::bind(address).await {
            return (listener, socket);
        }
    }
    give_up("no port on loopback is free for both TCP and UDP")
}
