//! TLS passed through: the ClientHello's server name says which node, the listener says which port, and not
//! a byte is changed. The caller and the node's service speak TLS end to end; this server can read nothing.
//!
//! A server name carries no port, so each port has a listener: the `tls` way in stands for 10250, and each
//! other `https-proxy-ports` port has one of its own ([`ports`]).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use edge_tunnel_proto::id::{Destination, Host, Port, RequestId};
use edge_tunnel_proto::splice::Socket;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::hello::{Hello, Name, Progress, RAW_MAX};
use super::accept::accept_loop;
use super::bind::Tcp;
use super::open::Open;
use super::socket::part;
use super::{Context, answer};
use crate::inbound::{Caller, Inbound, Way};
use crate::refusal::{Kind, Refusal};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hello;
pub mod ports;
#[cfg(test)]
mod tests;

/// How long a caller has for its ClientHello.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// The advice for callers without a name is given at most this often: kube-apiserver may dial every second.
const ADVICE_EVERY: Duration = Duration::from_secs(60);

/// TLS alerts (RFC 8446, 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alert {
    DecodeError = 50,
    AccessDenied = 49,
    InternalError = 80,
    UnrecognizedName = 112,
}

impl Alert {
    /// A fatal alert in a record of its own, unencrypted as all is before the ServerHello.
    const fn record(self) -> [u8; 7] {
        [21, 3, 3, 0, 2, 2, self as u8]
    }

    /// The alert that comes nearest to a refusal: TLS has no words.
    fn of(refusal: &Refusal) -> Self {
        match (refusal.kind, refusal.reason) {
            (_, "unknown_node" | "ambiguous_address") => Self::UnrecognizedName,
            (Kind::Forbidden, _) => Self::AccessDenied,
            _ => Self::InternalError,
        }
    }
}

/// Serves one listener, which stands for node port `port`, until `stop` or the context's shutdown. Streams
/// go on after that.
pub async fn serve<O: Open>(
    context: Context<O>,
    listener: Tcp,
    port: Port,
    stop: CancellationToken,
) {
    let serving = context.clone();
    let serve = move |io, client| {
        let context = serving.clone();
        async move { context.pass(io, client, port).await }
    };
    accept_loop(&context, listener, &stop, serve).await;
}

impl<O: Open> Context<O> {
    async fn pass<C: Socket>(&self, mut io: C, client: Option<SocketAddr>, port: Port) {
        let Ok(peeked) = tokio::time::timeout(HELLO_TIME, peek(&mut io)).await else {
            self.metrics.request(self.way, "hello_timeout");
            tracing::debug!("no whole ClientHello in time");
            return;
        };
        let (progress, raw) = peeked;
        let host = match progress {
            Progress::Hello(Name::Host(host)) => host,
            Progress::Hello(Name::Missing) => {
                self.metrics.request(self.way, "no_server_name");
                self.advise(client, port);
                return part(io, &Alert::UnrecognizedName.record()).await;
            }
            Progress::Hello(Name::Unusable) => {
                let why = "the TLS server name is no name of a node";
                self.turned_away(Some(&Caller::Anyone), client, "bad_server_name", why);
                return part(io, &Alert::UnrecognizedName.record()).await;
            }
            Progress::PlainText => {
                let text = format!(
                    "this port takes TLS and passes it to port {port} of a node; for plain HTTP use the http way in (--http-listen)"
                );
                self.turned_away(Some(&Caller::Anyone), client, "plain_text", &text);
                return part(io, &answer::failure(400, &text, "")).await;
            }
            Progress::Bad(why) => {
                let why = format!("what came is no TLS: {why}");
                self.turned_away(Some(&Caller::Anyone), client, "bad_hello", why);
                return part(io, &Alert::DecodeError.record()).await;
            }
            Progress::Incomplete => {
                tracing::debug!("a caller left before its ClientHello was whole");
                return;
            }
        };
        let inbound = inbound(host, port, client);
        self.carry(&inbound, io, raw, b"", |refusal| {
            Alert::of(refusal).record().to_vec()
        })
        .await;
    }

    /// Says what to do about callers that do not name their node.
    fn advise(&self, client: Option<SocketAddr>, port: Port) {
        let due = {
            let mut advised = self.advised.lock();
            let due = advised.is_none_or(|last| last.elapsed() >= ADVICE_EVERY);
            if due {
                *advised = Some(Instant::now());
            }
            due
        };
        if due {
            tracing::warn!(
                client = client.map(tracing::field::display),
                %port,
                "a TLS connection without a server name cannot be routed. If it is kube-apiserver's, either start it \
                 with --kubelet-certificate-authority, which makes it send the node's name, or let it come by the \
                 connect way in (--egress-selector-config-file with HTTPConnect to --connect-uds or --connect-listen)"
            );
        }
    }
}

fn inbound(host: Host, port: Port, client: Option<SocketAddr>) -> Inbound {
    Inbound {
        destination: Destination { host, port },
        way: Way::Tls,
        caller: Caller::Anyone,
        grant: None,
        client,
        request_id: RequestId::random(),
    }
}

/// Reads until the ClientHello is whole, and gives all bytes that were read.
async fn peek<C: AsyncRead + Unpin>(io: &mut C) -> (Progress, Bytes) {
    let mut raw = BytesMut::with_capacity(2048);
    let mut hello = Hello::default();
    loop {
        match hello.look(&raw) {
            Progress::Incomplete if raw.len() >= RAW_MAX => {
                return (
                    Progress::Bad("its ClientHello is larger than 64 KiB"),
                    raw.freeze(),
                );
            }
            Progress::Incomplete => {}
            progress => return (progress, raw.freeze()),
        }
        // No further: whether a ClientHello is too large must not depend on how much of it comes at once.
        let room = (RAW_MAX - raw.len()) as u64;
        match (&mut *io).take(room).read_buf(&mut raw).await {
            Ok(0) | Err(_) => return (Progress::Incomplete, raw.freeze()),
            Ok(_) => {}
        }
    }
}
