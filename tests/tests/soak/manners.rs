//! How callers and targets behave: most ask, read and leave; some are slow, stay, or vanish, and some targets reset.

use std::net::SocketAddr;
use std::time::Duration;

use edge_tunnel_proto::splice::Socket as _;
use edge_tunnel_tests::caller::{self, Io, get};
use edge_tunnel_tests::payload;
use edge_tunnel_tests::traffic::{Door, Fate, HANG, Order, expect};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// All of it, as fast as it goes.
    Plain,
    /// What comes is read in pieces, with pauses. Streams only.
    Slow,
    /// A word now and then, each heard again, for a while. Streams only.
    Stays,
    /// The caller is gone in the middle.
    Vanishes,
    /// The target resets in the middle.
    Reset,
}

/// A slow reader's piece and pause: some seconds for what windows and sockets do not hold.
const PIECE: usize = 8 * 1024;
const PAUSE: Duration = Duration::from_millis(10);

/// What a slow reader asks for, in bytes.
const SLOW: usize = 2_000_000;

impl Manner {
    pub(super) fn draw(rng: &mut SmallRng) -> Self {
        match rng.random_range(0..100) {
            0..4 => Self::Slow,
            4..12 => Self::Stays,
            12..20 => Self::Vanishes,
            20..28 => Self::Reset,
            _ => Self::Plain,
        }
    }

    /// Makes the request, and says what became of it and how many bytes came as they were to come. What is broken off on
    /// purpose is compared as well, but not counted.
    pub(super) async fn make(self, order: &Order) -> (Fate, usize) {
        if self == Self::Plain {
            return match order.run().await {
                Fate::Whole => (Fate::Whole, order.size),
                fate => (fate, 0),
            };
        }
        match timeout(HANG, self.odd(order)).await {
            Ok(Ok(count)) => (Fate::Whole, count),
            Ok(Err(fate)) => (order.door.told(fate), 0),
            Err(_elapsed) => (Fate::Hung, 0),
        }
    }

    async fn odd(self, order: &Order) -> Result<usize, Fate> {
        let Order {
            door,
            at,
            size,
            seed,
        } = order;
        if let Door::Http(server) = door {
            return match self {
                Self::Vanishes => vanish_over_http(*server, at, *size).await,
                Self::Reset => reset_over_http(*server, at, *size).await,
                _streams_only => plain(order).await,
            };
        }
        let mut io = door.open(at).await?;
        match self {
            Self::Slow => slow(&mut io, SLOW.min(*size), *seed).await,
            Self::Stays => stay(&mut io, *seed).await,
            Self::Vanishes => {
                let line = format!("source {size} {seed}");
                caller::say(&mut io, &line).await.map_err(failed)?;
                let mut came = vec![0; size / 2];
                io.read_exact(&mut came).await.map_err(failed)?;
                same(&came, &payload::bytes(*seed, *size)).map(|()| came.len())
            }
            _reset => {
                let line = format!("reset {size}");
                caller::say(&mut io, &line).await.map_err(failed)?;
                match expect(&mut io, &payload::bytes(0, *size)).await {
                    // All the bytes may arrive before the reset does, but no end in order, which only a unix socket
                    // cannot tell from it.
                    Ok(()) if !matches!(door, Door::Uds(_)) => Err(Fate::Wrong(format!(
                        "a clean end after {size} where the target had reset"
                    ))),
                    Ok(()) | Err(Fate::Failed(_)) => Ok(0),
                    Err(fate) => match door.told(fate) {
                        Fate::Failed(_) => Ok(0),
                        fate => Err(fate),
                    },
                }
            }
        }
    }
}

async fn plain(order: &Order) -> Result<usize, Fate> {
    match order.run().await {
        Fate::Whole => Ok(order.size),
        fate => Err(fate),
    }
}

async fn slow(io: &mut impl Io, size: usize, seed: u64) -> Result<usize, Fate> {
    let line = format!("source {size} {seed}");
    caller::say(io, &line).await.map_err(failed)?;
    let bytes = payload::bytes(seed, size);
    for piece in bytes.chunks(PIECE) {
        let mut came = vec![0; piece.len()];
        io.read_exact(&mut came).await.map_err(failed)?;
        same(&came, piece)?;
        sleep(PAUSE).await;
    }
    expect(io, &[]).await?;
    Ok(size)
}

async fn stay(io: &mut impl Io, seed: u64) -> Result<usize, Fate> {
    const WORDS: usize = 10;
    let bytes = payload::bytes(seed, 1000 * WORDS);
    caller::say(io, "echo").await.map_err(failed)?;
    for word in bytes.chunks(1000) {
        io.write_all(word).await.map_err(failed)?;
        io.flush().await.map_err(failed)?;
        let mut came = vec![0; word.len()];
        io.read_exact(&mut came).await.map_err(failed)?;
        same(&came, word)?;
        sleep(Duration::from_millis(300)).await;
    }
    io.shutdown().await.map_err(failed)?;
    expect(io, &[]).await?;
    Ok(bytes.len())
}

async fn vanish_over_http(server: SocketAddr, at: &str, size: usize) -> Result<usize, Fate> {
    let mut io = TcpStream::connect(server).await.map_err(failed)?;
    let head = format!("GET /bytes/{size} HTTP/1.1\r\nHost: {at}\r\n\r\n");
    io.write_all(head.as_bytes()).await.map_err(failed)?;
    let mut start = vec![0; "HTTP/1.1 200 OK\r\n".len()];
    io.read_exact(&mut start).await.map_err(failed)?;
    io.reset();
    if start == b"HTTP/1.1 200 OK\r\n" {
        Ok(start.len())
    } else {
        Err(Fate::Failed(String::from_utf8_lossy(&start).into_owned()))
    }
}

async fn reset_over_http(server: SocketAddr, at: &str, size: usize) -> Result<usize, Fate> {
    match caller::http(server, get(&format!("/broken/{size}"), at)).await {
        Err(_broken_off) => Ok(0),
        Ok(answer) if answer.status == 502 => Ok(0),
        Ok(answer) if answer.status == 200 => Err(Fate::Wrong(format!(
            "a whole answer of {} where the target had reset",
            answer.body.len()
        ))),
        Ok(answer) => Err(Fate::Failed(format!("{} {}", answer.status, answer.text()))),
    }
}

fn same(came: &[u8], wanted: &[u8]) -> Result<(), Fate> {
    if wanted.starts_with(came) {
        Ok(())
    } else {
        Err(Fate::Wrong(format!("other bytes in {}", came.len())))
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what `map_err` wants of a function"
)]
fn failed(error: std::io::Error) -> Fate {
    Fate::Failed(error.to_string())
}
