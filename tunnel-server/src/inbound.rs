//! What every way in yields: who wants to reach what.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use edge_tunnel_proto::id::{Destination, RequestId};

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// HTTP CONNECT, over the unix socket or TLS with a client certificate.
    Connect,
    /// Plain HTTP.
    Http,
    /// TLS passed through by its server name.
    Tls,
}

impl Way {
    /// The name in flags, metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Http => "http",
            Self::Tls => "tls",
        }
    }
}

/// Who asks. Only `connect` names its callers; on `http` and `tls` the listener's port says what is allowed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Whoever reached an unauthenticated listener.
    Anyone,
    /// A process that may open the unix socket.
    UnixSocket,
    /// The subject of a verified client certificate.
    Certificate(Arc<str>),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "anyone",
            Self::UnixSocket => "unix-socket",
            Self::Certificate(name) => name,
        })
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One caller's wish for one connection.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// What it wants to reach.
    pub destination: Destination,
    /// How it came.
    pub way: Way,
    /// Who it is.
    pub caller: Caller,
    /// What its certificate grants, where it came with one (`issue-client --nodes --ports`).
    pub grant: Option<Arc<crate::identity::Grant>>,
    /// Where it came from; `None` over the unix socket.
    pub client: Option<SocketAddr>,
    /// Names this request in the logs of both ends.
    pub request_id: RequestId,
}
