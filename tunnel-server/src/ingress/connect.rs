//! HTTP CONNECT: over the unix socket, and over TLS with a client certificate.
//!
//! The request-target alone says where to; `Host` never does (kube-apiserver writes `127.0.0.1` there for
//! every target). Success is one write of the status line and the blank line after it and nothing more of
//! ours, failures carry their reason in the status line, and every connection serves one request: so wants
//! it kube-apiserver's HTTPConnect client (kubernetes/apiserver
//! `pkg/server/egressselector/egress_selector.go`). Whatever the caller sent after its head is the target's.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use edge_tunnel_proto::id::{Destination, RequestId};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::accept::accept_loop;
use super::bind::Tcp;
use super::head::{self, Framing, Scanner};
use super::open::Open;
use super::socket::{Socket, part};
use super::unix::Unix;
use super::{Context, answer};
use crate::identity::Grant;
use crate::inbound::{Caller, Inbound, Way};
use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// The largest head, in bytes.
const HEAD_MAX: usize = 8 * 1024;
/// How long a caller has for its TLS handshake, and then again for its head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The whole of a success.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection Established\r\n\r\n";

/// Who a caller is, and what its certificate was issued for.
#[derive(Debug, Clone)]
pub struct Who {
    /// Its name.
    pub caller: Caller,
    /// Its grant.
    pub grant: Option<Arc<Grant>>,
}

/// Gives the TLS configuration in force.
pub type Config = dyn Fn() -> Arc<ServerConfig> + Send + Sync;
/// Says who a finished handshake is with, or why that one may not come in.
pub type Identify = dyn Fn(&ServerConnection) -> Result<Who, Refusal> + Send + Sync;

/// How callers over TCP are told apart: the TLS configuration in force, asked for anew with each connection
/// so that certificates change without a restart, and the one function that reads certificates.
#[derive(Clone)]
pub struct Certificates {
    /// The configuration in force. It must demand a client certificate.
    pub config: Arc<Config>,
    /// Who a finished handshake is with, or why it may not come in.
    pub identify: Arc<Identify>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

/// Serves the unix socket until the context's shutdown.
pub async fn serve_unix<O: Open>(context: Context<O>, listener: Unix) {
    let never = CancellationToken::new();
    let serving = context.clone();
    let serve = move |io, _client| {
        let context = serving.clone();
        let who = Who {
            caller: Caller::UnixSocket,
            grant: None,
        };
        async move { context.connect(io, None, who).await }
    };
    accept_loop(&context, listener, &never, serve).await;
}

/// Serves callers with client certificates until the context's shutdown.
pub async fn serve_tls<O: Open>(context: Context<O>, listener: Tcp, certificates: Certificates) {
    let never = CancellationToken::new();
    let serving = context.clone();
    let serve = move |io, client| {
        let (context, certificates) = (serving.clone(), certificates.clone());
        async move { context.connect_tls(io, client, &certificates).await }
    };
    accept_loop(&context, listener, &never, serve).await;
}

/// What a head asks for, or the answer to one that is none.
enum Asked {
    Destination(Destination, Bytes),
    /// A reason for the metrics, and the answer.
    Refused(&'static str, Vec<u8>),
    /// The caller left.
    Gone,
}

impl<O: Open> Context<O> {
    async fn connect_tls(
        &self,
        io: TcpStream,
        client: Option<SocketAddr>,
        certificates: &Certificates,
    ) {
        let acceptor = tokio_rustls::TlsAcceptor::from((certificates.config)());
        let io = match tokio::time::timeout(HEAD_TIME, acceptor.accept(io)).await {
            Ok(Ok(io)) => io,
            Ok(Err(error)) => {
                self.metrics.request(self.way, "tls_handshake");
                tracing::info!(client = client.map(tracing::field::display), %error, "no TLS handshake with a caller of connect");
                return;
            }
            Err(_elapsed) => {
                self.metrics.request(self.way, "tls_handshake");
                tracing::debug!("a caller did not finish its TLS handshake in time");
                return;
            }
        };
        match (certificates.identify)(io.get_ref().1) {
            Ok(who) => self.connect(io, client, who).await,
            Err(refusal) => {
                self.metrics.request(self.way, refusal.reason);
                tracing::info!(
                    client = client.map(tracing::field::display),
                    reason = refusal.reason,
                    "refused: {refusal}"
                );
                part(io, &answer::refusal(&refusal)).await;
            }
        }
    }

    async fn connect<C: Socket>(&self, mut io: C, client: Option<SocketAddr>, who: Who) {
        let asked = match tokio::time::timeout(HEAD_TIME, read_head(&mut io)).await {
            Ok(asked) => asked,
            Err(_elapsed) => Asked::Refused(
                "head_timeout",
                answer::failure(
                    408,
                    &format!("no whole request within {} s", HEAD_TIME.as_secs()),
                    "",
                ),
            ),
        };
        match asked {
            Asked::Gone => tracing::debug!("a caller left before it asked"),
            Asked::Refused(reason, answer) => {
                self.metrics.request(self.way, reason);
                tracing::info!(caller = %who.caller, client = client.map(tracing::field::display), reason, "refused a request that is no CONNECT");
                part(io, &answer).await;
            }
            Asked::Destination(destination, ahead) => {
                let Who { caller, grant } = who;
                let request_id = RequestId::random();
                let inbound = Inbound {
                    destination,
                    way: Way::Connect,
                    caller,
                    grant,
                    client,
                    request_id,
                };
                self.carry(&inbound, io, ahead, ESTABLISHED, answer::refusal)
                    .await;
            }
        }
    }
}

async fn read_head<C: AsyncRead + Unpin>(io: &mut C) -> Asked {
    let mut buffer = BytesMut::with_capacity(1024);
    let mut scanner = Scanner::default();
    let mut scanned = 0;
    let end = loop {
        match scanner.scan(&buffer[scanned..]) {
            Ok(Some(count)) if scanned + count <= HEAD_MAX => break scanned + count,
            Ok(None) if buffer.len() < HEAD_MAX => scanned = buffer.len(),
            Ok(_) => {
                let text = format!("the request's head is larger than {HEAD_MAX} bytes");
                return Asked::Refused("head_too_large", answer::failure(431, &text, ""));
            }
            Err(violation) => return bad_request(violation),
        }
        match io.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Asked::Gone,
            Ok(_) => {}
        }
    };
    let head = buffer.split_to(end);
    match judge(&head) {
        Ok(destination) => Asked::Destination(destination, buffer.freeze()),
        Err(refused) => refused,
    }
}

fn judge(head: &[u8]) -> Result<Destination, Asked> {
    let head = head::judge(head).map_err(bad_request)?;
    if head.method != "CONNECT" {
        let text = "only CONNECT is served here; plain HTTP requests go to the http way in (--http-listen)";
        return Err(Asked::Refused(
            "method",
            answer::failure(405, text, "Allow: CONNECT\r\n"),
        ));
    }
    // RFC 9110, 9.3.6 gives a CONNECT no content: bytes that one side takes for content are the target's.
    if head.framing != Framing::Length(0) {
        return Err(bad_request("a CONNECT has no body"));
    }
    head.target
        .parse()
        .map_err(|error: edge_tunnel_proto::id::ParseError| bad_request(&error.to_string()))
}

fn bad_request(why: &str) -> Asked {
    Asked::Refused(
        "bad_request",
        answer::failure(400, &format!("not a request that can be served: {why}"), ""),
    )
}
