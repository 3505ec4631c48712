//! The TCP half of a link.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use edge_tunnel_proto::splice::Reset as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Faults, Way};

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

async fn carry(
    mut agent: TcpStream,
    server: SocketAddr,
    greeting: Option<Vec<u8>>,
    faults: watch::Receiver<Faults>,
) {
    let born = *faults.borrow();
    let mut onward = None;
    let work = async {
        // A blocked path answers nobody: the server does not even hear of the connection.
        passing(&mut faults.clone(), Way::Up, &born).await;
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
            pump(
                &mut agent_read,
                &mut server_write,
                Way::Up,
                born,
                faults.clone()
            ),
            pump(
                &mut server_read,
                &mut agent_write,
                Way::Down,
                born,
                faults.clone()
            ),
        )?;
        io::Result::Ok(())
    };
    let cut = async {
        // The sender goes with the link, and this task with it.
        let _ = faults
            .clone()
            .wait_for(|faults| faults.cuts != born.cuts)
            .await;
    };
    let broken = tokio::select! {
        done = work => done.is_err(),
        () = cut => true,
    };
    // One side's failure is the other's, as with a router that drops a connection from its table.
    if broken {
        agent.reset();
        if let Some(server) = &mut onward {
            server.reset();
        }
    }
}

async fn passing(faults: &mut watch::Receiver<Faults>, way: Way, born: &Faults) {
    let passes = |now: &Faults| !now.stalled(way) && now.freezes == born.freezes;
    let _ = faults.wait_for(passes).await;
}

async fn pump(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    way: Way,
    born: Faults,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut piece).await?;
        let delay = faults.borrow().delay;
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
        passing(&mut faults, way, &born).await;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..count]).await?;
    }
}
