//! The UDP half of a link: a router with an entry for each agent's port.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Faults, Way};

/// The largest datagram.
const DATAGRAM: usize = 64 * 1024;

/// The way of one agent's port to the server.
struct Flow {
    socket: Arc<UdpSocket>,
    _ends: DropGuard,
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
        if now.cuts + now.freezes != ended {
            ended = now.cuts + now.freezes;
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
        let flow = match flows.entry(agent) {
            Entry::Occupied(flow) => flow.into_mut(),
            Entry::Vacant(vacant) => {
                let Some(flow) = open(&socket, agent, server, &faults, &mut tasks).await else {
                    continue;
                };
                vacant.insert(flow)
            }
        };
        send(
            &flow.socket,
            &datagram[..count],
            None,
            now.delay,
            &mut tasks,
        )
        .await;
        while tasks.try_join_next().is_some() {}
    }
}

async fn open(
    agents: &Arc<UdpSocket>,
    agent: SocketAddr,
    server: SocketAddr,
    faults: &watch::Receiver<Faults>,
    tasks: &mut JoinSet<()>,
) -> Option<Flow> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.ok()?;
    socket.connect(server).await.ok()?;
    let socket = Arc::new(socket);
    let ends = CancellationToken::new();
    let (back, stop, agents, faults) = (
        Arc::clone(&socket),
        ends.clone(),
        Arc::clone(agents),
        faults.clone(),
    );
    tasks.spawn(async move {
        let _ = stop
            .run_until_cancelled(back_to(agent, &back, &agents, &faults))
            .await;
    });
    Some(Flow {
        socket,
        _ends: ends.drop_guard(),
    })
}

async fn back_to(
    agent: SocketAddr,
    server: &UdpSocket,
    agents: &Arc<UdpSocket>,
    faults: &watch::Receiver<Faults>,
) {
    let mut late = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        // A server that is away at the moment is no reason to forget the flow.
        let Ok(count) = server.recv(&mut datagram).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let now = *faults.borrow();
        if !now.stalled(Way::Down) {
            send(
                agents,
                &datagram[..count],
                Some(agent),
                now.delay,
                &mut late,
            )
            .await;
        }
        while late.try_join_next().is_some() {}
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
