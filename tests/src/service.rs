//! What a node offers over plain TCP: one port that does what the first line asks.
//!
//! | line | what it does |
//! | --- | --- |
//! | `echo` | sends back what comes; ends when the caller has |
//! | `source COUNT SEED` | sends that many bytes of the seed, ends, and tallies what comes |
//! | `leave COUNT SEED` | sends that many bytes of the seed and closes, whatever else comes |
//! | `sink` | reads to the caller's end, then answers with the tally, a space and `done` |
//! | `reset COUNT` | sends that many bytes of seed 0, then resets the connection |
//! | `deaf` | reads nothing more and says nothing |
//! | `wait` | says `ready` and a line end, then nothing, and tallies what comes |
//!
//! Each connection's fate is kept in the order of their ends: [`Service::ended`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use edge_tunnel_proto::splice::Socket as _;
use edge_tunnel_proto::sync::Mutex;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::payload::{self, Tally};
use crate::wait::{SOON, until};

/// How a connection ended, as the node's service saw it.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// In order, after these bytes from the caller, the first line not counted.
    Clean(Tally),
    /// By a failure, after these bytes.
    Broken(Tally),
}

/// A service. Dropping it ends its connections.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    ended: Arc<Mutex<Vec<Ended>>>,
    certificate: Option<CertificateDer<'static>>,
    _tasks: JoinSet<()>,
}

impl Service {
    /// On a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::at((IpAddr::from([127, 0, 0, 1]), 0).into()).await
    }

    /// On this address.
    pub async fn at(address: SocketAddr) -> Self {
        Self::build(address, None).await
    }

    /// Over TLS, on this address, with a certificate of its own for `name`.
    ///
    /// # Panics
    /// When the certificate cannot be made.
    pub async fn tls(address: SocketAddr, name: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).expect("a certificate can be made");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config =
            rustls::ServerConfig::builder_with_provider(edge_tunnel_proto::identity::provider())
                .with_safe_default_protocol_versions()
                .expect("the provider knows the default versions")
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], key)
                .expect("the key is the certificate's");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::build(address, Some((acceptor, cert.der().clone()))).await
    }

    async fn build(
        address: SocketAddr,
        tls: Option<(TlsAcceptor, CertificateDer<'static>)>,
    ) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .expect("the service's port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let ended = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, certificate) = tls.unzip();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor, Arc::clone(&ended)));
        Self {
            address,
            ended,
            certificate,
            _tasks: tasks,
        }
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate that it shows, if it speaks TLS.
    #[must_use]
    pub const fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    /// Waits for the first connections to end, this many, and gives their fates.
    pub async fn ended(&self, count: usize) -> Vec<Ended> {
        let look = async || {
            let ended = self.ended.lock();
            if ended.len() < count {
                Err(format!("{ended:?}"))
            } else {
                Ok(ended.clone())
            }
        };
        until(
            &format!("{count} connections of the service have ended"),
            SOON,
            look,
        )
        .await
        .0
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, ended: Arc<Mutex<Vec<Ended>>>) {
    let mut connections = JoinSet::new();
    while let Ok((io, _)) = listener.accept().await {
        let (tls, ended) = (tls.clone(), Arc::clone(&ended));
        connections.spawn(async move {
            let mut tally = Tally::default();
            let result = match tls {
                None => serve_tcp(io, &mut tally).await,
                Some(tls) => match tls.accept(io).await {
                    Ok(io) => serve(&mut BufReader::new(io), &mut tally).await.map(drop),
                    Err(error) => Err(error),
                },
            };
            ended.lock().push(match result {
                Ok(()) => Ended::Clean(tally),
                Err(_) => Ended::Broken(tally),
            });
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_tcp(io: TcpStream, tally: &mut Tally) -> io::Result<()> {
    io.set_nodelay(true)?;
    let mut io = BufReader::new(io);
    if serve(&mut io, tally).await? == Then::Reset {
        io.get_mut().reset();
    }
    Ok(())
}

/// What is left to do with the connection.
#[derive(PartialEq)]
enum Then {
    Close,
    Reset,
}

async fn serve<I>(io: &mut BufReader<I>, tally: &mut Tally) -> io::Result<Then>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let mut line = String::new();
    io.read_line(&mut line).await?;
    let mut words = line.split_ascii_whitespace();
    let word = words.next().unwrap_or_default();
    let mut number = || {
        words
            .next()
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or_default()
    };
    match word {
        "echo" => echo(io, tally).await?,
        "source" => {
            let (count, seed) = (number(), number());
            io.write_all(&payload::bytes(seed, length(count))).await?;
            io.shutdown().await?;
            drain(io, tally).await?;
        }
        "leave" => {
            let (count, seed) = (number(), number());
            io.write_all(&payload::bytes(seed, length(count))).await?;
            io.flush().await?;
        }
        "sink" => {
            drain(io, tally).await?;
            io.write_all(format!("{tally} done").as_bytes()).await?;
            io.shutdown().await?;
        }
        "reset" => {
            io.write_all(&payload::bytes(0, length(number()))).await?;
            io.flush().await?;
            return Ok(Then::Reset);
        }
        "deaf" => std::future::pending().await,
        "wait" => {
            io.write_all(b"ready\n").await?;
            io.flush().await?;
            drain(io, tally).await?;
        }
        _ => return Err(io::Error::other(format!("no such service: {line:?}"))),
    }
    Ok(Then::Close)
}

fn length(count: u64) -> usize {
    usize::try_from(count).expect("tests ask for what fits into memory")
}

async fn echo<I>(io: &mut BufReader<I>, tally: &mut Tally) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let piece = io.fill_buf().await?.to_vec();
        if piece.is_empty() {
            return io.shutdown().await;
        }
        tally.add(&piece);
        io.consume(piece.len());
        io.write_all(&piece).await?;
        io.flush().await?;
    }
}

async fn drain<I: AsyncRead + Unpin>(io: &mut BufReader<I>, tally: &mut Tally) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        match io.read(&mut piece).await? {
            0 => return Ok(()),
            count => tally.add(&piece[..count]),
        }
    }
}

/// A port of 127.0.0.1 on which the kernel answers no connect: a listener that accepts nothing and whose queue is
/// full.
#[derive(Debug)]
pub struct Silent {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Silent {
    /// Fills the queue.
    ///
    /// # Panics
    /// When the kernel does not say that it is full.
    pub async fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be had");
        socket
            .bind(([127, 0, 0, 1], 0).into())
            .expect("loopback has a free port");
        let listener = socket.listen(1).expect("a bound socket can listen");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let mut queued = Vec::new();
        // Linux takes one more than asked for; what does not fit gets no answer.
        while let Ok(Ok(one)) = tokio::time::timeout(
            std::time::Duration::from_millis(300),
            TcpStream::connect(address),
        )
        .await
        {
            queued.push(one);
            assert!(queued.len() < 100, "the queue never fills");
        }
        Self {
            listener,
            _queued: queued,
        }
    }

    /// Its port.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listener
            .local_addr()
            .expect("a bound socket has an address")
            .port()
    }
}
