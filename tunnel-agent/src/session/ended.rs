//! Why a session ended: for the log, the metrics, and the next dial.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::message::GoAway;
use edge_tunnel_proto::stream::StreamError;
use edge_tunnel_proto::transport::{Closed, Lane, OpenError};

/// Why a session did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The server said no, or asked this agent to leave.
    #[error("the server ended the session: {reason}")]
    Told {
        /// Why.
        code: Code,
        /// In words.
        reason: String,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// The lane went away.
    #[error("{0}")]
    Lane(Closed),
    /// The server stopped answering.
    #[error("the server did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The control stream broke.
    #[error("control stream: {0}")]
    Control(StreamError),
    /// A lane without room for the control stream.
    #[error(transparent)]
    Open(OpenError),
    /// This agent is retiring the session: shutting down, or moved to another lane.
    #[error("ended by this agent")]
    Retired,
}

impl From<StreamError> for Ended {
    fn from(error: StreamError) -> Self {
        Self::Control(error)
    }
}

impl From<OpenError> for Ended {
    /// A server that takes nobody in closes right after the handshake, perhaps before this side has opened its first
    /// stream: what it said then counts as much as what it says later.
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Closed(closed) => ended(closed),
            error => Self::Open(error),
        }
    }
}

/// The lane's own last words say more than that a stream of it broke.
pub(super) async fn lost(lane: &Lane, error: StreamError) -> Ended {
    match tokio::time::timeout(Duration::from_millis(200), lane.closed()).await {
        Ok(closed) => ended(closed),
        Err(_elapsed) => Ended::Control(error),
    }
}

pub(super) fn ended(closed: Closed) -> Ended {
    match closed {
        Closed::There { code, reason } => Ended::Told {
            code,
            reason,
            retry_after: None,
        },
        closed => Ended::Lane(closed),
    }
}

pub(super) fn told(go_away: &GoAway) -> Ended {
    let retry_after = (go_away.retry_after_millis > 0)
        .then(|| Duration::from_millis(go_away.retry_after_millis.into()));
    Ended::Told {
        code: Code::from_number(go_away.code),
        reason: go_away.reason.replace(char::is_control, " "),
        retry_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_comes_before_the_first_stream_is_one() {
        let closed = Closed::There {
            code: Code::Revoked,
            reason: "node edge-1 was revoked".to_owned(),
        };
        let told = Ended::from(OpenError::Closed(closed));
        assert!(
            matches!(
                told,
                Ended::Told {
                    code: Code::Revoked,
                    ..
                }
            ),
            "{told:?}"
        );
        let full = Ended::from(OpenError::TooMany(16));
        assert!(matches!(full, Ended::Open(_)), "{full:?}");
    }
}
