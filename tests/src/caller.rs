//! Whoever wants to reach a node: CONNECT over the unix socket and over TLS with a client certificate, plain HTTP, TLS
//! by server name.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::payload::Tally;

/// What carries a caller's bytes.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Io for I {}

/// A CONNECT that was not answered with 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status code; 0 where the connection ended without an answer.
    pub status: u16,
    /// The reason phrase.
    pub phrase: String,
}

/// CONNECT over the unix socket.
///
/// # Errors
/// What the server answers instead of 200.
pub async fn uds(socket: &Path, target: &str) -> Result<UnixStream, Refused> {
    let io = UnixStream::connect(socket)
        .await
        .map_err(|error| gone(&error))?;
    connect(io, target).await
}

/// CONNECT over TLS with the client certificate in `files`.
///
/// # Errors
/// What the server answers instead of 200.
pub async fn mtls(
    server: SocketAddr,
    files: &Path,
    target: &str,
) -> Result<TlsStream<TcpStream>, Refused> {
    let io = mtls_handshake(server, files)
        .await
        .map_err(|error| gone(&error))?;
    connect(io, target).await
}

/// A TLS connection with the client certificate in `files`, before any CONNECT.
///
/// # Errors
/// When there is none; that the server takes the certificate is known only after its first answer (RFC 8446, 4.4.2).
pub async fn mtls_handshake(server: SocketAddr, files: &Path) -> io::Result<TlsStream<TcpStream>> {
    let pem = |name: &str| std::fs::read(files.join(name));
    let certificates = |pem: &[u8]| {
        let read: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(pem).collect();
        read.map_err(io::Error::other)
    };
    let key = PrivateKeyDer::from_pem_slice(&pem("client.key")?).map_err(io::Error::other)?;
    let config = client_config(certificates(&pem("ca.crt")?)?)
        .with_client_auth_cert(certificates(&pem("client.crt")?)?, key)
        .map_err(io::Error::other)?;
    let io = TcpStream::connect(server).await?;
    let name = ServerName::from(server.ip());
    TlsConnector::from(Arc::new(config)).connect(name, io).await
}

fn client_config(
    roots: Vec<CertificateDer<'static>>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    ClientConfig::builder_with_provider(edge_tunnel_proto::identity::provider())
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(store)
}

/// TLS to a node's service by its name, through the TLS way in or a listener of `https-proxy-ports`.
///
/// # Errors
/// When the handshake fails: the alert is in the text.
pub async fn sni(
    listener: SocketAddr,
    node: &str,
    root: &CertificateDer<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let config = client_config(vec![root.clone()]).with_no_client_auth();
    let name = ServerName::try_from(node.to_owned()).map_err(io::Error::other)?;
    let io = TcpStream::connect(listener).await?;
    TlsConnector::from(Arc::new(config)).connect(name, io).await
}

/// CONNECT over a connection that is there.
///
/// # Errors
/// What the server answers instead of 200.
pub async fn connect<I: Io>(mut io: I, target: &str) -> Result<I, Refused> {
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    io.write_all(request.as_bytes())
        .await
        .map_err(|error| gone(&error))?;
    // Byte by byte: what follows the blank line is the target's.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) => return Err(gone(&error)),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head
        .lines()
        .next()
        .unwrap_or_default()
        .splitn(3, ' ')
        .skip(1);
    let status = words
        .next()
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    if status == 200 {
        return Ok(io);
    }
    let phrase = words.next().unwrap_or_default().to_owned();
    Err(Refused { status, phrase })
}

fn gone(error: &io::Error) -> Refused {
    Refused {
        status: 0,
        phrase: error.to_string(),
    }
}

/// An HTTP response, whole.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A GET for `uri`, a path or in absolute form, with this `Host`.
///
/// # Panics
/// When these make no request.
#[must_use]
pub fn get(uri: &str, host: &str) -> Request<Full<Bytes>> {
    Request::get(uri)
        .header("host", host)
        .body(Full::default())
        .expect("a request of tests is one")
}

/// Sends one request on a connection of its own.
///
/// # Errors
/// When the connection fails or the response breaks off.
pub async fn http(server: SocketAddr, request: Request<Full<Bytes>>) -> io::Result<Answer> {
    Session::new(server).await?.ask(request).await
}

/// An HTTP connection for several requests.
#[derive(Debug)]
pub struct Session {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn new(server: SocketAddr) -> io::Result<Self> {
        let io = TcpStream::connect(server).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the connection fails or the response breaks off.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> io::Result<Answer> {
        self.sender.ready().await.map_err(io::Error::other)?;
        let response = self
            .sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }
}

/// Reads to the end, and says what came and whether that end was one: an error is a reset, or TLS that was cut short.
pub async fn read_all(io: &mut (impl AsyncRead + Unpin)) -> (Tally, io::Result<()>) {
    let mut tally = Tally::default();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match io.read(&mut piece).await {
            Ok(0) => return (tally, Ok(())),
            Ok(count) => tally.add(&piece[..count]),
            Err(error) => return (tally, Err(error)),
        }
    }
}

/// Says a line to a [`service`](crate::service).
///
/// # Errors
/// When the connection is broken.
pub async fn say(io: &mut impl Io, line: &str) -> io::Result<()> {
    io.write_all(format!("{line}\n").as_bytes()).await?;
    io.flush().await
}

/// Says something to an `echo` and takes it back: the stream lives.
///
/// # Errors
/// When the connection is broken, or something else comes back.
pub async fn echo(io: &mut impl Io, text: &str) -> io::Result<()> {
    io.write_all(text.as_bytes()).await?;
    io.flush().await?;
    let mut back = vec![0; text.len()];
    io.read_exact(&mut back).await?;
    if back == text.as_bytes() {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "not what was said: {:?}",
            String::from_utf8_lossy(&back)
        )))
    }
}
