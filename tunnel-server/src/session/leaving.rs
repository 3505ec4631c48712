//! How agents and this server part, so that nothing of a stream is lost that was said.

use std::time::Duration;

use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::message::Control;
use edge_tunnel_proto::message::control::Kind as Say;
use edge_tunnel_proto::stream::Framed;

use crate::sessions::Session;

/// How long the last words to an agent may take.
pub(super) const GOODBYE: Duration = Duration::from_millis(300);

/// And how long where the agent is told when to come back: there are many of them then, this machine and theirs may be
/// slow, and one that did not hear it comes too early.
pub(super) const COME_BACK: Duration = Duration::from_secs(5);

/// How long an agent may take to say that its last stream has ended, once they all have at this end.
const LAST_STREAM: Duration = Duration::from_secs(2);

/// How far an agent has gone away: it says `GoAway` twice, when it takes no more streams and when its last one has
/// ended. Only then has it read everything, and only where this side's last one has ended too may the lane be closed:
/// what is still under way is lost with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agent {
    Here,
    Leaving,
    Gone,
}

impl Agent {
    /// After one more `GoAway`.
    pub(super) const fn went(self) -> Self {
        match self {
            Self::Here => Self::Leaving,
            Self::Leaving | Self::Gone => Self::Gone,
        }
    }
}

/// Waits until every stream has ended at this end, and then for as long as an agent may need that does not say so.
pub(super) async fn over(session: &Session) {
    loop {
        session.streams.wait().await;
        tokio::time::sleep(LAST_STREAM).await;
        // Whoever had taken hold of the session just before it was retired may open a stream just after.
        if session.streams.is_empty() {
            return;
        }
    }
}

/// Last words. An agent that has read them closes the lane; closed here at once, it would go before they do. The close
/// that follows says the same to one that has not.
pub(super) async fn goodbye(
    control: &mut Framed,
    session: &Session,
    message: Say,
    patience: Duration,
) {
    let message = Control::from(message);
    let said = async {
        if control.send(Kind::Control, &message).await.is_ok() {
            session.lane.closed().await;
        }
    };
    let _ = tokio::time::timeout(patience, said).await;
}
