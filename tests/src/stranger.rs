//! Whoever is rude at a listener: says nothing, half of something, far too much, or something else than is spoken there.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::caller::Io;

/// A listener.
#[derive(Debug, Clone)]
pub enum Door {
    /// On this address.
    Tcp(SocketAddr),
    /// In this file.
    Unix(PathBuf),
}

impl Door {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(&self) -> io::Result<Box<dyn Io>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// What a stranger does.
#[derive(Debug, Clone)]
pub struct Rude {
    /// What it says.
    pub says: Vec<u8>,
    /// How long it waits after each byte; none says all at once.
    pub pace: Option<Duration>,
    /// What it does when it has said it.
    pub then: Then,
}

/// How a stranger goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It waits for the end of what comes.
    Reads,
    /// It says that it has said all, and waits for the end of what comes.
    Ends,
    /// It goes.
    Leaves,
}

impl Rude {
    /// Says this and waits.
    #[must_use]
    pub fn says(what: impl Into<Vec<u8>>) -> Self {
        Self {
            says: what.into(),
            pace: None,
            then: Then::Reads,
        }
    }

    /// Says it so slowly.
    #[must_use]
    pub const fn slowly(mut self, pace: Duration) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Goes on so.
    #[must_use]
    pub const fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Does it at a listener, and gives what came back to the end, of which a reset is one.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn at(&self, door: &Door) -> io::Result<Vec<u8>> {
        let io = door.open().await?;
        let (mut from, mut to) = tokio::io::split(io);
        let saying = async {
            match self.pace {
                None => to.write_all(&self.says).await?,
                Some(pace) => {
                    for byte in &self.says {
                        to.write_all(&[*byte]).await?;
                        tokio::time::sleep(pace).await;
                    }
                }
            }
            if self.then == Then::Ends {
                to.shutdown().await?;
            }
            io::Result::Ok(())
        };
        if self.then == Then::Leaves {
            // Whoever is spoken to may have hung up.
            let _ = saying.await;
            return Ok(Vec::new());
        }
        let mut heard = Vec::new();
        {
            let hearing = async {
                let mut piece = [0; 4096];
                loop {
                    match from.read(&mut piece).await {
                        Ok(0) | Err(_) => return,
                        Ok(count) => heard.extend_from_slice(&piece[..count]),
                    }
                }
            };
            let mut hearing = std::pin::pin!(hearing);
            tokio::select! {
                () = &mut hearing => {}
                _said = saying => hearing.await,
            }
        }
        Ok(heard)
    }
}

/// A ClientHello that asks for `name`.
///
/// # Panics
/// When that is no name.
#[must_use]
pub fn hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(edge_tunnel_proto::identity::provider())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name of tests is one");
    let mut connection =
        ClientConnection::new(Arc::new(config), name).expect("the settings make a client");
    let mut bytes = Vec::new();
    connection
        .write_tls(&mut bytes)
        .expect("writing to memory does not fail");
    bytes
}
