//! Why a session ended: for the agent, the log and the metrics.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::message::Malformed;
use edge_tunnel_proto::stream::StreamError;
use edge_tunnel_proto::transport::Closed;

use crate::sessions::SecondHost;

/// Why a session ended, or did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("no introduction within {} s", .0.as_secs())]
    NoHello(Duration),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    SecondHost(#[from] SecondHost),
    #[error(
        "more agents come at once than this server takes in a second; there is room for this one in {:.1} s",
        .0.as_secs_f32()
    )]
    NotYet(Duration),
    #[error("{reason}")]
    Told { code: Code, reason: String },
    #[error("{0}")]
    Lane(Closed),
    #[error("control stream: {0}")]
    Control(#[from] StreamError),
    #[error("the agent did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("{0}")]
    Replaced(String),
    #[error("the agent left")]
    Left,
    #[error("the server shuts down")]
    Drained,
}

impl Ended {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::NoHello(_) | Self::Silent(_) => Code::TimedOut,
            Self::Malformed(_) => Code::Protocol,
            Self::SecondHost(_) | Self::Replaced(_) => Code::NotAllowed,
            Self::NotYet(_) => Code::Overloaded,
            Self::Told { code, .. } => *code,
            // The agent broke the rules of the transport, say.
            Self::Lane(Closed::Here { code, .. }) => *code,
            Self::Lane(_) => Code::TransportLost,
            Self::Control(error) => error.code(),
            Self::Left | Self::Drained => Code::Draining,
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Silent(_) | Self::Replaced(_) => "silent",
            Self::Left | Self::Lane(Closed::There { .. }) => "agent_left",
            Self::SecondHost(_) => "second_host",
            Self::NotYet(_) => "deferred",
            other => other.code().name(),
        }
    }
}
