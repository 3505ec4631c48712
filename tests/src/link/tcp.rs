//! The TCP half of a link.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use edge_tunnel_proto::splice::Socket as _;
use edge_tunnel_proto::sync::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{End, Faults, Forgotten, Way};

pub(super) async fn relay(
    listener: TcpListener,
    server: SocketAddr,
    greeting: Option<Vec<u8>>,
    faults: watch::Receiver<Faults>,
) {
    let mut connections = JoinSet::new();
    while let Ok((agent, _)) = listener.accept().await {
        connections.spawn(carry(agent, server, greeting.clone(), faults.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Who hears of the end of a connection that broke.
enum Broken {
    Both,
    Only(End),
}

impl From<io::Error> for Broken {
    /// One side's failure is the other's, as with a router that drops a connection from its table.
    fn from(_: io::Error) -> Self {
        Self::Both
    }
}

/// What both directions of a connection share.
struct Shared {
    born: Faults,
    faults: watch::Receiver<Faults>,
    spoke: Mutex<Instant>,
}

async fn carry(
    mut agent: TcpStream,
    server: SocketAddr,
    greeting: Option<Vec<u8>>,
    faults: watch::Receiver<Faults>,
) {
    let born = *faults.borrow();
    let shared = Shared {
        born,
        faults: faults.clone(),
        spoke: Mutex::new(Instant::now()),
    };
    let mut onward = None;
    let work = async {
        // A blocked path answers nobody: the server does not even hear of the connection.
        shared.passing(Way::Up).await;
        let mut server = TcpStream::connect(server).await?;
        server.set_nodelay(true)?;
        agent.set_nodelay(true)?;
        if let Some(greeting) = greeting {
            server.write_all(&greeting).await?;
        }
        let server = onward.insert(server);
        let (mut agent_read, mut agent_write) = agent.split();
        let (mut server_read, mut server_write) = server.split();
        tokio::try_join!(
            shared.pump(&mut agent_read, &mut server_write, Way::Up),
            shared.pump(&mut server_read, &mut agent_write, Way::Down),
        )?;
        Ok::<_, Broken>(())
    };
    let outcome = tokio::select! {
        done = work => done,
        broken = shared.broken() => Err(broken),
    };
    let Err(broken) = outcome else { return };
    if !matches!(broken, Broken::Only(End::Server)) {
        agent.reset();
    }
    if let Some(server) = &mut onward
        && !matches!(broken, Broken::Only(End::Agent))
    {
        server.reset();
    }
    if let Broken::Only(_) = broken {
        // The corpse stays where it is, until a cut tells its side.
        shared.changed(|now| now.cuts != born.cuts).await;
        agent.reset();
        if let Some(server) = &mut onward {
            server.reset();
        }
    }
}

impl Shared {
    async fn changed(&self, until: impl FnMut(&Faults) -> bool) {
        // The sender goes with the link, and this task with it.
        let _ = self.faults.clone().wait_for(until).await;
    }

    async fn passing(&self, way: Way) {
        let freezes = self.born.freezes;
        self.changed(|now| !now.stalled(way) && now.freezes == freezes)
            .await;
    }

    /// Waits for the connection to be broken on purpose.
    async fn broken(&self) -> Broken {
        let (cuts, half_opens) = (self.born.cuts, self.born.half_opens);
        self.changed(|now| now.cuts != cuts || now.half_opens != half_opens)
            .await;
        let now = *self.faults.borrow();
        match now.told {
            Some(told) if now.cuts == cuts => Broken::Only(told),
            _ => Broken::Both,
        }
    }

    async fn pump(
        &self,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        way: Way,
    ) -> Result<(), Broken> {
        let mut piece = vec![0; 64 * 1024];
        let closes = self.born.half_closes(way);
        loop {
            let count = tokio::select! {
                count = from.read(&mut piece) => count?,
                () = self.changed(|now| now.half_closes(way) != closes) => {
                    to.shutdown().await?;
                    return swallow(from).await;
                }
            };
            match self.spoken() {
                None => {}
                Some(Forgotten::Silent) => return swallow(from).await,
                Some(Forgotten::Reset) => {
                    return Err(Broken::Only(match way {
                        Way::Up => End::Agent,
                        Way::Down => End::Server,
                    }));
                }
            }
            let delay = self.faults.borrow().delay;
            if delay > Duration::ZERO {
                tokio::time::sleep(delay).await;
            }
            self.passing(way).await;
            if count == 0 {
                return Ok(to.shutdown().await?);
            }
            to.write_all(&piece[..count]).await?;
        }
    }

    /// Somebody speaks; says whether the connection is forgotten, which it stays then.
    fn spoken(&self) -> Option<Forgotten> {
        let idle = self.faults.borrow().idle;
        let mut spoke = self.spoke.lock();
        if let Some((idle, then)) = idle
            && spoke.elapsed() >= idle
        {
            return Some(then);
        }
        *spoke = Instant::now();
        None
    }
}

/// Takes what comes, to nowhere.
async fn swallow(from: &mut ReadHalf<'_>) -> Result<(), Broken> {
    let mut piece = vec![0; 64 * 1024];
    while from.read(&mut piece).await? > 0 {}
    Ok(())
}
