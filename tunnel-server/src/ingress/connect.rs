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
use edge_tunnel_proto::splice::Socket;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::accept::accept_loop;
use super::answer::{self, Unservable};
use super::bind::Tcp;
use super::head::{self, Framing, Head, Scanner};
use super::open::Open;
use super::socket::part;
use super::unix::Unix;
use crate::identity::Grant;
use crate::inbound::{Caller, Inbound, Way};
use crate::refusal::Refusal;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

/// The largest head, in bytes.
const HEAD_MAX: usize = 8 * 1024;
/// How long a caller has for its TLS handshake, and then again for its head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How much of a target that was refused the log shows, in characters.
const TARGET_SHOWN: usize = 80;
/// The reason where no TLS handshake came of a connection. There is no status: TLS answers with an alert.
const HANDSHAKE: &str = "tls_handshake";
/// The status for another method than CONNECT, whose answer names the right one (RFC 9110, 15.5.6).
const METHOD: u16 = 405;
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
    /// Why nothing came of it, and what it named as its target, as far as that was read.
    Refused(Unservable, Option<String>),
    /// The caller said nothing for all of [`HEAD_TIME`].
    Silent,
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
                let why = format!("no TLS handshake with a caller of connect: {error}");
                return self.turned_away(None, client, HANDSHAKE, why);
            }
            Err(_elapsed) => {
                let why = format!(
                    "no TLS handshake with a caller of connect: it was not whole within {} s",
                    HEAD_TIME.as_secs()
                );
                return self.turned_away(None, client, HANDSHAKE, why);
            }
        };
        match (certificates.identify)(io.get_ref().1) {
            Ok(who) => self.connect(io, client, who).await,
            Err(refusal) => {
                self.turned_away(None, client, refusal.reason, &refusal);
                part(io, &answer::refusal(&refusal)).await;
            }
        }
    }

    async fn connect<C: Socket>(&self, mut io: C, client: Option<SocketAddr>, who: Who) {
        let mut buffer = BytesMut::with_capacity(1024);
        let asked = match tokio::time::timeout(HEAD_TIME, read_head(&mut io, &mut buffer)).await {
            Ok(asked) => asked,
            Err(_elapsed) if buffer.is_empty() => Asked::Silent,
            Err(_elapsed) => Asked::Refused(Unservable::head_timeout(HEAD_TIME), None),
        };
        match asked {
            Asked::Gone => tracing::debug!("a caller left before it asked"),
            Asked::Silent => {
                let why = Unservable::head_timeout(HEAD_TIME);
                self.metrics.request(self.way, why.reason);
                tracing::debug!("a caller connected and said nothing");
                part(io, &unservable(&why)).await;
            }
            Asked::Refused(why, target) => {
                self.metrics.request(self.way, why.reason);
                if let Some(line) = self.refusals.take() {
                    tracing::info!(
                        way = self.way.name(),
                        caller = %who.caller,
                        client = client.map(tracing::field::display),
                        destination = target,
                        reason = why.reason,
                        unwritten = line.unwritten,
                        "refused: {}",
                        why.text
                    );
                }
                part(io, &unservable(&why)).await;
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

async fn read_head<C: AsyncRead + Unpin>(io: &mut C, buffer: &mut BytesMut) -> Asked {
    let mut scanner = Scanner::default();
    let mut scanned = 0;
    let end = loop {
        // No further: what is wrong with a head must not depend on how much of it comes at once.
        let seen = buffer.len().min(HEAD_MAX);
        match scanner.scan(&buffer[scanned..seen]) {
            Ok(Some(count)) => break scanned + count,
            Ok(None) if seen < HEAD_MAX => scanned = seen,
            Ok(None) => return Asked::Refused(Unservable::head_too_large(HEAD_MAX), None),
            Err(violation) => return Asked::Refused(Unservable::bad(violation), None),
        }
        match io.read_buf(buffer).await {
            Ok(0) | Err(_) => return Asked::Gone,
            Ok(_) => {}
        }
    };
    let head = buffer.split_to(end);
    match head::judge(&head) {
        Ok(head) => match judge(&head) {
            Ok(destination) => Asked::Destination(destination, buffer.split().freeze()),
            Err(why) => {
                let target = head.target.chars().take(TARGET_SHOWN).collect();
                Asked::Refused(why, Some(target))
            }
        },
        Err(violation) => Asked::Refused(Unservable::bad(violation), None),
    }
}

fn judge(head: &Head<'_>) -> Result<Destination, Unservable> {
    if head.method != "CONNECT" {
        let text = "only CONNECT is served here; plain HTTP requests go to the http way in (--http-listen)";
        return Err(Unservable::new(METHOD, "method", text.to_owned()));
    }
    // RFC 9110, 9.3.6 gives a CONNECT no content: bytes that one side takes for content are the target's.
    if head.framing != Framing::Length(0) {
        return Err(Unservable::bad("a CONNECT has no body"));
    }
    let parsed = head.target.parse();
    parsed.map_err(|error: edge_tunnel_proto::id::ParseError| Unservable::bad(&error.to_string()))
}

fn unservable(why: &Unservable) -> Vec<u8> {
    let allow = if why.status == METHOD {
        "Allow: CONNECT\r\n"
    } else {
        ""
    };
    answer::failure(why.status, &why.text, allow)
}
