//! The UDP half of a link: a router with an entry for each agent's port.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::sync::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Faults, Way};

/// The largest datagram.
const DATAGRAM: usize = 64 * 1024;

/// The headers of IPv4 and UDP, in bytes.
const HEADERS: usize = 28;

/// How long a datagram is held back at most that others overtake, in ms.
const HELD: u64 = 20;

/// The way of one agent's port to the server.
struct Flow {
    socket: Arc<UdpSocket>,
    spoke: Arc<Mutex<Instant>>,
    _ends: DropGuard,
}

/// Decides of each datagram of one direction what becomes of it.
struct Chance(SmallRng);

impl Chance {
    fn new(flow: u64) -> Self {
        Self(SmallRng::seed_from_u64(flow))
    }

    /// How much later it arrives; `None`: it is lost.
    fn delay(&mut self, now: &Faults, datagram: &[u8]) -> Option<Duration> {
        if now.mtu.is_some_and(|mtu| datagram.len() + HEADERS > mtu) {
            return None;
        }
        let mut drawn = |of_a_thousand| self.0.random_range(0..1000) < of_a_thousand;
        if drawn(now.lost) {
            return None;
        }
        let held = if drawn(now.reordered) {
            Duration::from_millis(self.0.random_range(1..=HELD))
        } else {
            Duration::ZERO
        };
        Some(now.delay + held)
    }
}

/// Whether a flow is still known; it is from now on, if so.
fn known(now: &Faults, spoke: &Mutex<Instant>) -> bool {
    let mut spoke = spoke.lock();
    if now.idle.is_some_and(|(idle, _)| spoke.elapsed() >= idle) {
        return false;
    }
    *spoke = Instant::now();
    true
}

pub(super) async fn relay(
    socket: UdpSocket,
    server: SocketAddr,
    mut faults: watch::Receiver<Faults>,
) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut dead = HashSet::new();
    let (mut ended, mut rebinds) = (0, 0);
    // The flows of one link come one after the other: number 0 is the agents' direction.
    let (mut chance, mut opened) = (Chance::new(0), 0);
    let mut tasks = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut datagram) => Some(received),
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
                None
            }
        };
        let now = *faults.borrow_and_update();
        // Nobody is told in either case: UDP has no words for it.
        if now.cuts + now.freezes + now.half_opens != ended {
            ended = now.cuts + now.freezes + now.half_opens;
            dead.extend(flows.drain().map(|(agent, _)| agent));
        }
        if now.rebinds != rebinds {
            rebinds = now.rebinds;
            flows.clear();
        }
        // An error tells of an agent's port that has closed.
        let Some(Ok((count, agent))) = received else {
            continue;
        };
        if now.stalled(Way::Up) || dead.contains(&agent) {
            continue;
        }
        let datagram = &datagram[..count];
        let Some(delay) = chance.delay(&now, datagram) else {
            continue;
        };
        if flows
            .get(&agent)
            .is_some_and(|flow| !known(&now, &flow.spoke))
        {
            flows.remove(&agent);
        }
        let flow = match flows.entry(agent) {
            Entry::Occupied(flow) => flow.into_mut(),
            Entry::Vacant(vacant) => {
                opened += 1;
                let chance = Chance::new(opened);
                let ends = (Arc::clone(&socket), agent, server);
                let Some(flow) = open(ends, chance, &faults, &mut tasks).await else {
                    continue;
                };
                vacant.insert(flow)
            }
        };
        send(&flow.socket, datagram, None, delay, &mut tasks).await;
        while tasks.try_join_next().is_some() {}
    }
}

async fn open(
    (agents, agent, server): (Arc<UdpSocket>, SocketAddr, SocketAddr),
    chance: Chance,
    faults: &watch::Receiver<Faults>,
    tasks: &mut JoinSet<()>,
) -> Option<Flow> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.ok()?;
    socket.connect(server).await.ok()?;
    let socket = Arc::new(socket);
    let ends = CancellationToken::new();
    let spoke = Arc::new(Mutex::new(Instant::now()));
    let back = Back {
        agent,
        agents,
        server: Arc::clone(&socket),
        spoke: Arc::clone(&spoke),
        faults: faults.clone(),
        chance,
    };
    let stop = ends.clone();
    tasks.spawn(async move {
        let _ = stop.run_until_cancelled(back.run()).await;
    });
    Some(Flow {
        socket,
        spoke,
        _ends: ends.drop_guard(),
    })
}

/// A flow's other direction.
struct Back {
    agent: SocketAddr,
    agents: Arc<UdpSocket>,
    server: Arc<UdpSocket>,
    spoke: Arc<Mutex<Instant>>,
    faults: watch::Receiver<Faults>,
    chance: Chance,
}

impl Back {
    async fn run(mut self) {
        let mut late = JoinSet::new();
        let mut datagram = vec![0; DATAGRAM];
        loop {
            // A server that is away at the moment is no reason to forget the flow.
            let Ok(count) = self.server.recv(&mut datagram).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let now = *self.faults.borrow();
            let datagram = &datagram[..count];
            if !now.stalled(Way::Down)
                && known(&now, &self.spoke)
                && let Some(delay) = self.chance.delay(&now, datagram)
            {
                let to = Some(self.agent);
                send(&self.agents, datagram, to, delay, &mut late).await;
            }
            while late.try_join_next().is_some() {}
        }
    }
}

/// Sends now or later. A datagram that cannot be sent is lost, as datagrams are.
async fn send(
    socket: &Arc<UdpSocket>,
    datagram: &[u8],
    to: Option<SocketAddr>,
    delay: Duration,
    late: &mut JoinSet<()>,
) {
    if delay == Duration::ZERO {
        let _ = match to {
            Some(to) => socket.send_to(datagram, to).await,
            None => socket.send(datagram).await,
        };
        return;
    }
    let (socket, datagram) = (Arc::clone(socket), datagram.to_vec());
    late.spawn(async move {
        tokio::time::sleep(delay).await;
        let _ = match to {
            Some(to) => socket.send_to(&datagram, to).await,
            None => socket.send(&datagram).await,
        };
    });
}
