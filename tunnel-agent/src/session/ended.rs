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
    /// A server that refuses may have closed the lane before this side has opened its first stream; what it said counts
    /// the same then.
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Closed(closed) => ended(closed),
            full => Self::Open(full),
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
    fn what_the_server_said_counts_however_early_it_said_it() {
        let said = || Closed::There {
            code: Code::Revoked,
            reason: "node edge-1 was revoked".to_owned(),
        };
        let (late, early) = (ended(said()), Ended::from(OpenError::Closed(said())));
        assert_eq!(early.to_string(), late.to_string());
        assert!(
            matches!(
                early,
                Ended::Told {
                    code: Code::Revoked,
                    ..
                }
            ),
            "the join token would not be tried: {early:?}"
        );
    }
}
