//! A link that can be slow and can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// TCP: both sides see the other's end, as from a middlebox that closes. UDP: silence.
    End,
    /// TCP: both sides see a reset. UDP: silence.
    Reset,
    /// Nothing passes any more.
    Silence,
}

/// Forwards between whoever connects to `address` and the other end, until it is cut or dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    cut: watch::Sender<Option<Cut>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) fn cut(&self, how: Cut) {
        self.cut.send_replace(Some(how));
    }

    pub(super) async fn tcp(to: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, watch) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(to).await.unwrap();
            between(near, far, delay, watch).await;
        });
        Self {
            address,
            cut,
            _tasks: tasks,
        }
    }

    pub(super) async fn udp(to: SocketAddr, delay: Duration) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        for socket in [&near, &far] {
            let _ = SockRef::from(&**socket).set_recv_buffer_size(4 * 1024 * 1024);
        }
        far.connect(to).await.unwrap();
        let address = near.local_addr().unwrap();
        let (cut, watch) = watch::channel(None);
        let mut tasks = JoinSet::new();
        // The first packet is the agent's and says where the answers go.
        let mut first = [0; 1];
        let (watching, near_too, far_too) = (watch.clone(), Arc::clone(&near), Arc::clone(&far));
        tasks.spawn(async move {
            let (_, agent) = near.peek_from(&mut first).await.unwrap();
            near.connect(agent).await.unwrap();
            tokio::join!(
                datagrams(&near, &far, delay, watch),
                datagrams(&far_too, &near_too, delay, watching)
            );
        });
        Self {
            address,
            cut,
            _tasks: tasks,
        }
    }
}

async fn between(
    near: TcpStream,
    far: TcpStream,
    delay: Duration,
    mut cut: watch::Receiver<Option<Cut>>,
) {
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let up = bytes(near_read, far_write, delay, cut.clone());
    let down = bytes(far_read, near_write, delay, cut.clone());
    let (sockets, _) = tokio::join!(async { tokio::join!(up, down) }, async {
        cut.wait_for(Option::is_some).await.ok();
    });
    let how = *cut.borrow();
    let ((near_read, far_write), (far_read, near_write)) = sockets;
    let near = near_read.reunite(near_write).unwrap();
    let far = far_read.reunite(far_write).unwrap();
    match how {
        Some(Cut::Reset) => {
            for socket in [&near, &far] {
                SockRef::from(socket)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        }
        Some(Cut::Silence) => std::future::pending().await,
        Some(Cut::End) | None => {}
    }
}

/// One direction, until it is cut or ends.
async fn bytes(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    mut cut: watch::Receiver<Option<Cut>>,
) -> (OwnedReadHalf, OwnedWriteHalf) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let take = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + delay;
            if sender.send((due, buffer[..count].to_vec())).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    let give = async {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::select! {
        _ = async { tokio::join!(take, give) } => {}
        _ = cut.wait_for(Option::is_some) => {}
    }
    (from, to)
}

async fn datagrams(
    from: &UdpSocket,
    to: &UdpSocket,
    delay: Duration,
    mut cut: watch::Receiver<Option<Cut>>,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(16 * 1024);
    let take = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            // An error is the other end's closed port; the packet is lost, as packets may be.
            if let Ok(count) = from.recv(&mut buffer).await {
                let _ = sender.try_send((Instant::now() + delay, buffer[..count].to_vec()));
            }
        }
    };
    let give = async {
        while let Some((due, packet)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            let _ = to.send(&packet).await;
        }
    };
    tokio::select! {
        () = take => {}
        () = give => {}
        _ = cut.wait_for(Option::is_some) => {}
    }
}
