//! Requests whose every byte is checked, by any way in: what became of each, while whatever may go wrong goes wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::caller::{self, Io, Refused};
use crate::payload::{self, Tally};

/// How long a request may take however much is broken: the dial's limit, the heartbeat's patience with a link that is
/// slow (30 s), and what a busy machine adds. Longer is a hang.
pub const HANG: Duration = Duration::from_secs(60);

/// A way in.
#[derive(Debug, Clone)]
pub enum Door {
    /// `connect` over the unix socket.
    Uds(PathBuf),
    /// `connect` over TLS, with the client certificate in the folder.
    Mtls(SocketAddr, PathBuf),
    /// `http`.
    Http(SocketAddr),
    /// `tls`, and the node's own certificate.
    Tls(SocketAddr, Box<CertificateDer<'static>>),
}

impl Door {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Uds(_) => "connect_uds",
            Self::Mtls(..) => "connect",
            Self::Http(_) => "http",
            Self::Tls(..) => "tls",
        }
    }

    /// Opens a stream to where an [`Order`] goes.
    ///
    /// # Errors
    /// That it was refused, or broken off; over `http`, where there are no streams, always.
    pub async fn open(&self, at: &str) -> Result<Box<dyn Io>, Fate> {
        let refused = |refused: Refused| Fate::Failed(format!("{refused:?}"));
        Ok(match self {
            Self::Uds(socket) => Box::new(caller::uds(socket, at).await.map_err(refused)?),
            Self::Mtls(server, files) => {
                Box::new(caller::mtls(*server, files, at).await.map_err(refused)?)
            }
            Self::Tls(listener, root) => {
                let opened = caller::sni(*listener, at, root).await;
                Box::new(opened.map_err(|error| failed(&error))?)
            }
            Self::Http(_) => return Err(Fate::Failed("http has no streams".to_owned())),
        })
    }

    /// What a stream's fate is by this way in: a unix socket knows no reset, and what was broken off reads as ended.
    #[must_use]
    pub fn told(&self, fate: Fate) -> Fate {
        match (self, fate) {
            (Self::Uds(_), Fate::Wrong(words)) if words.starts_with(SHORT) => Fate::Failed(words),
            (_, fate) => fate,
        }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Order {
    /// By which way.
    pub door: Door,
    /// Where to: `node:port` of a [`Service`](crate::service::Service), over `http` of a [`Web`](crate::web::Web), over
    /// `tls` the node's name alone.
    pub at: String,
    /// How many bytes.
    pub size: usize,
    /// Which bytes; and whether they go down, up, or both.
    pub seed: u64,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Every byte came, and the end.
    Whole,
    /// It was refused or broken off, and its caller was told.
    Failed(String),
    /// Other bytes came than were sent, or an end before they all had.
    Wrong(String),
    /// Nobody was told anything.
    Hung,
}

impl Order {
    /// Carries it out.
    pub async fn run(&self) -> Fate {
        match timeout(HANG, self.carry()).await {
            Ok(Ok(())) => Fate::Whole,
            Ok(Err(fate)) => fate,
            Err(_elapsed) => Fate::Hung,
        }
    }

    async fn carry(&self) -> Result<(), Fate> {
        if let Door::Http(server) = self.door {
            return self.http(server).await;
        }
        let mut io = self.door.open(&self.at).await?;
        let talked = self.talk(&mut io).await;
        talked.map_err(|fate| self.door.told(fate))
    }

    async fn talk(&self, io: &mut impl Io) -> Result<(), Fate> {
        let bytes = payload::bytes(self.seed, self.size);
        match self.seed % 3 {
            0 => {
                let line = format!("source {} {}", self.size, self.seed);
                caller::say(io, &line).await.map_err(|e| failed(&e))?;
                expect(io, &bytes).await
            }
            1 => {
                caller::say(io, "sink").await.map_err(|e| failed(&e))?;
                let sent = async {
                    io.write_all(&bytes).await?;
                    io.shutdown().await
                };
                sent.await.map_err(|e| failed(&e))?;
                let answer = format!("{} done", Tally::of(&bytes));
                expect(io, answer.as_bytes()).await
            }
            _ => {
                caller::say(io, "echo").await.map_err(|e| failed(&e))?;
                let (mut read, mut write) = tokio::io::split(io);
                let send = async {
                    write.write_all(&bytes).await?;
                    write.shutdown().await
                };
                // Whoever cannot send any more may still be told something that is wrong.
                let (sent, came) = tokio::join!(send, expect(&mut read, &bytes));
                came?;
                sent.map_err(|e| failed(&e))
            }
        }
    }

    async fn http(&self, server: SocketAddr) -> Result<(), Fate> {
        let bytes = payload::bytes(self.seed, self.size);
        let request = Request::post("/echo")
            .header("host", &self.at)
            .body(Full::from(bytes.clone()))
            .map_err(|error| Fate::Wrong(error.to_string()))?;
        let answer = caller::http(server, request).await;
        let answer = answer.map_err(|error| failed(&error))?;
        match answer.status {
            200 if answer.body == bytes => Ok(()),
            200 => Err(Fate::Wrong(format!(
                "{} bytes of {}",
                answer.body.len(),
                self.size
            ))),
            status => Err(Fate::Failed(format!("{status} {}", answer.text()))),
        }
    }
}

const SHORT: &str = "a clean end after";

fn failed(error: &std::io::Error) -> Fate {
    Fate::Failed(error.to_string())
}

/// Reads to the end: these bytes, and no others.
///
/// # Errors
/// What came instead.
pub async fn expect(
    io: &mut (impl tokio::io::AsyncRead + Unpin),
    bytes: &[u8],
) -> Result<(), Fate> {
    let mut piece = vec![0; 64 * 1024];
    let mut came = 0;
    loop {
        let count = match io.read(&mut piece).await {
            Ok(0) if came == bytes.len() => return Ok(()),
            Ok(0) => return Err(Fate::Wrong(format!("{SHORT} {came} of {}", bytes.len()))),
            Ok(count) => count,
            Err(error) => return Err(Fate::Failed(format!("{error} after {came}"))),
        };
        if bytes.get(came..came + count) != Some(&piece[..count]) {
            return Err(Fate::Wrong(format!("other bytes after {came}")));
        }
        came += count;
    }
}
