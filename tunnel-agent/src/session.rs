//! One session: the agent introduces itself on a lane, keeps the heart beating, renews its certificate, and hands
//! every stream that the server opens to [`serve`](crate::serve).

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::heartbeat::{Beat, Heartbeat};
use edge_tunnel_proto::id::{InstanceId, ReplicaId, SessionId};
use edge_tunnel_proto::identity::rfc3339;
use edge_tunnel_proto::message::control::Kind as Say;
use edge_tunnel_proto::message::{
    Control, GoAway, Hello, PROTOCOL_VERSION, Pong, Refused, Welcome,
};
use edge_tunnel_proto::shutdown::Shutdown;
use edge_tunnel_proto::stream::{Framed, StreamError};
use edge_tunnel_proto::telemetry::version;
use edge_tunnel_proto::transport::Lane;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug, info, warn};

use crate::identity::Identity;
use crate::serve::Server;
use renewal::Renewal;

mod ended;
mod metrics;
mod renewal;

pub use ended::Ended;
use ended::{ended, lost, told};
pub use metrics::Metrics;

/// How long the server may take to answer `Hello`. A server that first probes another holder of the identity needs
/// three seconds of it.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a control message may take to leave; longer, and the link is as good as dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// What a session works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// This start of the process.
    pub instance: InstanceId,
    /// Who this node is.
    pub identity: Identity,
    /// What serves the streams.
    pub server: Server,
    /// How often an idle link is asked.
    pub heartbeat: Duration,
    /// What is counted.
    pub metrics: Metrics,
    /// The process's end.
    pub shutdown: Shutdown,
}

/// A session that the server has welcomed.
#[derive(Debug)]
pub struct Session {
    lane: Lane,
    control: Framed,
    context: Context,
    streams: TaskTracker,
    /// Which replica.
    pub replica: ReplicaId,
}

impl Session {
    /// Introduces this agent on `lane` and waits for the server's welcome.
    ///
    /// # Errors
    /// When the server refuses, does not answer, or the lane breaks.
    pub async fn start(lane: Lane, context: &Context) -> Result<Self, Ended> {
        let mut control = Framed::new(lane.open()?);
        let hello = Hello {
            build: version().to_owned(),
            version: PROTOCOL_VERSION,
            capabilities: Vec::new(),
            instance: context.instance.0.to_be_bytes().to_vec(),
            session: SessionId::random().0.to_be_bytes().to_vec(),
            lane: 0,
        };
        let greet = async {
            say(&mut control, Say::Hello(hello)).await?;
            hear(&mut control).await
        };
        let answer = tokio::time::timeout(WELCOME_TIMEOUT, greet)
            .await
            .map_err(|_elapsed| Ended::Silent(WELCOME_TIMEOUT))?;
        match answer {
            Ok(Some(Say::Welcome(Welcome { replica, build, .. }))) => {
                let replica = ReplicaId(replica);
                debug!(%replica, build, "welcome");
                Ok(Self {
                    lane,
                    control,
                    context: context.clone(),
                    streams: TaskTracker::new(),
                    replica,
                })
            }
            Ok(Some(Say::GoAway(go_away))) => Err(told(&go_away)),
            Ok(_) => Err(StreamError::Unexpected(Kind::Control).into()),
            // The lane's own last words say more than that its streams broke.
            Err(error) => Err(lost(&lane, error).await),
        }
    }

    /// Serves until the session ends, and says why. When `retire` is cancelled, or the process or the server drains, the
    /// session ends with its last stream. Cancels `leaving` as soon as the server opens no more streams on it.
    ///
    /// An agent that leaves says `GoAway` twice: when it takes no more streams, and when the last one has ended. It is
    /// the server that closes then: what this side said last may be under way for long after its stream has ended.
    pub async fn run(mut self, retire: &CancellationToken, leaving: &CancellationToken) -> Ended {
        let mut heart = Heartbeat::new(self.context.heartbeat);
        let mut retiring = false;
        let mut gone = false;
        let mut renewal = Renewal::new(&self.context.identity);
        let why = loop {
            tokio::select! {
                heard = hear(&mut self.control) => match heard {
                    Ok(Some(message)) => {
                        heart.heard();
                        let end = self.answer(message, &mut heart, &mut renewal, leaving).await;
                        if let Some(end) = end {
                            break end;
                        }
                    }
                    Ok(None) => {
                        let refused = Refused::new(Code::Unsupported, "this build does not know that message");
                        if let Err(error) = self.send(Say::Refused(refused)).await {
                            break error;
                        }
                    }
                    Err(error) => break lost(&self.lane, error).await,
                },
                stream = self.lane.accept() => match stream {
                    Ok(stream) => {
                        let server = self.context.server.clone();
                        let task = async move { server.serve(stream).await };
                        let killed = self.context.shutdown.killed().clone();
                        let task = async move {
                            tokio::select! { () = task => {} () = killed.cancelled() => {} }
                        };
                        self.streams.spawn(task.in_current_span());
                        heart.watch(self.lane.traffic());
                        // One that was under way when this side left: it is served as well.
                        gone = false;
                    }
                    Err(closed) => break ended(closed),
                },
                () = sleep_until(heart.next()) => match heart.beat(self.lane.traffic(), !self.streams.is_empty()) {
                    Some(Beat::Send(ping)) => {
                        if let Err(error) = self.send(Say::Ping(ping)).await {
                            break error;
                        }
                    }
                    Some(Beat::Dead(silence)) => break Ended::Silent(silence),
                    None => {}
                },
                () = renewal.due() => match self.context.identity.renew_request() {
                    Ok(request) => {
                        renewal.asked();
                        if let Err(error) = self.send(Say::Renew(request)).await {
                            break error;
                        }
                    }
                    Err(error) => {
                        renewal.failed(None);
                        self.context.metrics.renewal(Err(&error));
                        warn!(%error, "the certificate is due for renewal and cannot be asked for");
                    }
                },
                () = either(retire, self.context.shutdown.draining()), if !leaving.is_cancelled() => leaving.cancel(),
                () = leaving.cancelled(), if !retiring => {
                    retiring = true;
                    self.streams.close();
                    if let Err(error) = self.leave("the agent takes no more streams on this session").await {
                        break error;
                    }
                }
                () = self.streams.wait(), if retiring && !gone => {
                    gone = true;
                    // The server's close is awaited, which may take as long as a slow caller: a dead link is not waited for.
                    heart.probe();
                    if let Err(error) = self.leave("the agent's last stream has ended").await {
                        break error;
                    }
                }
                () = self.context.shutdown.killed().cancelled() => break Ended::Retired,
            }
        };
        let why = match why {
            // The answer to this agent's own goodbye.
            Ended::Told {
                code: Code::Draining,
                ..
            } if gone => Ended::Retired,
            why => why,
        };
        let code = if matches!(why, Ended::Silent(_)) {
            Code::TimedOut
        } else {
            Code::Draining
        };
        self.lane.close(code, &why.to_string());
        why
    }

    /// Acts on what the server said; `Some` ends the session.
    async fn answer(
        &mut self,
        message: Say,
        heart: &mut Heartbeat,
        renewal: &mut Renewal,
        leaving: &CancellationToken,
    ) -> Option<Ended> {
        match message {
            Say::Ping(ping) => self.send(Say::Pong(Pong { nonce: ping.nonce })).await.err(),
            Say::Pong(pong) => {
                heart.pong(&pong);
                None
            }
            Say::GoAway(go_away) if Code::from_number(go_away.code) == Code::Draining => {
                info!(
                    reason = go_away.reason,
                    "the server drains; streams go on, a new session is dialled"
                );
                leaving.cancel();
                None
            }
            Say::GoAway(go_away) => Some(told(&go_away)),
            Say::Renewed(response) => {
                let taken = self.context.identity.take_in(response.outcome).await;
                self.context.metrics.renewal(taken.as_ref().map(|_held| ()));
                match taken {
                    Ok(held) => {
                        renewal.done();
                        info!(until = %rfc3339(held.not_after), "the certificate was renewed");
                    }
                    Err(error) => {
                        renewal.failed(error.retry_after());
                        warn!(%error, "the certificate was not renewed; the session goes on, and asks again later");
                    }
                }
                None
            }
            // More lanes than one are not dialled yet; a server that asks for them gets on with one.
            Say::Lanes(_) => None,
            Say::Refused(refused) => {
                debug!(
                    message = refused.message,
                    "the server does not know a message of this agent"
                );
                None
            }
            Say::Hello(_) | Say::Welcome(_) | Say::Renew(_) => {
                Some(StreamError::Unexpected(Kind::Control).into())
            }
        }
    }

    async fn leave(&mut self, words: &str) -> Result<(), Ended> {
        self.send(Say::GoAway(GoAway::new(Code::Draining, words, None)))
            .await
    }

    async fn send(&mut self, message: Say) -> Result<(), Ended> {
        match tokio::time::timeout(SEND_TIMEOUT, say(&mut self.control, message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(&self.lane, error).await),
            Err(_elapsed) => Err(Ended::Silent(SEND_TIMEOUT)),
        }
    }
}

async fn either(one: &CancellationToken, other: &CancellationToken) {
    tokio::select! {
        () = one.cancelled() => {}
        () = other.cancelled() => {}
    }
}

async fn say(control: &mut Framed, message: Say) -> Result<(), StreamError> {
    control.send(Kind::Control, &Control::from(message)).await
}

/// The next control message; `Ok(None)` for one that this build does not know. Cancel safe.
async fn hear(control: &mut Framed) -> Result<Option<Say>, StreamError> {
    let frame = control.receive().await?;
    match frame.kind {
        Kind::Control => Ok(frame.message::<Control>()?.kind),
        kind => Err(StreamError::Unexpected(kind)),
    }
}
