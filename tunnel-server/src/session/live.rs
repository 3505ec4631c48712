//! A session from its welcome to its end: the agent's words are heard and answered, its link is watched, and what is
//! to end it ends it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::heartbeat::{Beat, Heartbeat};
use edge_tunnel_proto::message::control::Kind as Say;
use edge_tunnel_proto::message::enroll::RenewResponse;
use edge_tunnel_proto::message::{Control, GoAway, Pong, Refused, Welcome};
use edge_tunnel_proto::stream::{Frame, Framed, StreamError};
use tokio::time::Instant;
use tracing::{debug, info};

use super::Context;
use super::ended::Ended;
use super::leaving::{Agent, GOODBYE, goodbye, over};
use super::renewal::Renewal;
use crate::sessions::Session;

/// How long a control message may take to leave; longer, and the link is as good as dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// When agents come back to a server that drains: spread by their own jitter on top.
const DRAIN_RETRY: Duration = Duration::from_secs(1);

/// A session that was entered.
pub(super) struct Live<'a> {
    session: Arc<Session>,
    control: Framed,
    context: &'a Context,
    agent: Agent,
}

impl<'a> Live<'a> {
    pub(super) fn new(session: Arc<Session>, control: Framed, context: &'a Context) -> Self {
        Self {
            session,
            control,
            context,
            agent: Agent::Here,
        }
    }

    /// Welcomes the agent, and keeps its session to the end. `Ok`: there was one, and it ended so.
    pub(super) async fn run(&mut self, welcome: Welcome) -> Result<Ended, Ended> {
        let session = Arc::clone(&self.session);
        let (code, reason) = tokio::select! {
            // Whatever the rest waits for: an agent that reads nothing must not put its own revocation off.
            biased;
            told = session.told_to_end() => told,
            outcome = self.serve(welcome) => return outcome,
        };
        let last = Say::GoAway(GoAway::new(code, &reason, None));
        goodbye(&mut self.control, &session, last, GOODBYE).await;
        Ok(Ended::Told { code, reason })
    }

    async fn serve(&mut self, welcome: Welcome) -> Result<Ended, Ended> {
        self.send(Say::Welcome(welcome)).await?;
        let session = &self.session;
        info!(
            node = %session.holder.node, transport = %session.transport(), remote = %session.remote,
            build = session.build, "session started"
        );
        let _counted = self.context.metrics.session(session.transport());
        Ok(self.listen().await)
    }

    async fn listen(&mut self) -> Ended {
        let mut heart = Heartbeat::new(self.context.silence);
        // Asked at once, so that the round trip is known from the start: an agent that asks first would be taken for
        // a sign of life, and this side's own question put off by a whole silence.
        heart.probe();
        let session = Arc::clone(&self.session);
        let mut renewal = Renewal::new(self.context, &session);
        let shutdown = self.context.shutdown.clone();
        let mut drained = false;
        // Outlives the turns of the loop, which may follow each other faster than it takes.
        let mut over = pin!(over(&session));
        loop {
            let result = tokio::select! {
                frame = self.control.receive() => match frame {
                    Ok(frame) => self.hear(&frame, &mut heart, &mut renewal).await,
                    Err(error) => Err(self.lost(error).await),
                },
                stream = session.lane.accept() => match stream {
                    Ok(stream) => {
                        // Agents open no streams beside the control stream yet.
                        stream.reset(Code::Unsupported);
                        Ok(())
                    }
                    Err(closed) => Err(Ended::Lane(closed)),
                },
                () = tokio::time::sleep_until(heart.next()) => match heart.beat(session.lane.traffic(), !session.streams.is_empty()) {
                    Some(Beat::Send(ping)) => self.send(Say::Ping(ping)).await,
                    // Whoever took its place is what matters to one that wakes up later.
                    Some(Beat::Dead(silence)) => Err(session.rival().map_or(Ended::Silent(silence), |rival| {
                        Ended::Replaced(session.lost_to(rival))
                    })),
                    None => Ok(()),
                },
                () = session.probe.notified() => {
                    heart.probe();
                    Ok(())
                }
                () = session.opened.notified() => {
                    heart.watch(session.lane.traffic());
                    Ok(())
                }
                response = renewal.answer() => self.renewed(response).await,
                () = shutdown.draining().cancelled(), if !drained => {
                    drained = true;
                    session.retired.cancel();
                    session.streams.close();
                    self.send(Say::GoAway(GoAway::new(Code::Draining, "the server shuts down", Some(DRAIN_RETRY)))).await
                }
                () = session.streams.wait(), if self.agent == Agent::Gone => Err(Ended::Left),
                () = &mut over, if drained => Err(Ended::Drained),
            };
            if let Err(ended) = result {
                return ended;
            }
        }
    }

    async fn hear(
        &mut self,
        frame: &Frame,
        heart: &mut Heartbeat,
        renewal: &mut Renewal<'_>,
    ) -> Result<(), Ended> {
        if frame.kind != Kind::Control {
            return Err(StreamError::Unexpected(frame.kind).into());
        }
        heart.heard();
        let message = frame.message::<Control>()?.kind;
        // The registry waits for this: the link is alive, however long the answer takes to leave.
        self.session.heard.send_replace(Instant::now());
        match message {
            Some(Say::Ping(ping)) => {
                if ping.rtt_micros > 0 {
                    self.session
                        .rtt_micros
                        .store(ping.rtt_micros.into(), Ordering::Relaxed);
                }
                self.send(Say::Pong(Pong { nonce: ping.nonce })).await?;
            }
            Some(Say::Pong(pong)) => {
                heart.pong(&pong);
                if let Some(rtt) = heart.rtt() {
                    let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).max(1);
                    self.session.rtt_micros.store(micros, Ordering::Relaxed);
                    self.context.metrics.round_trip(rtt);
                }
            }
            Some(Say::GoAway(go_away)) => {
                debug!(reason = go_away.reason, "the agent retires its session");
                self.session.retired.cancel();
                self.agent = self.agent.went();
                if self.agent == Agent::Gone {
                    self.session.streams.close();
                }
            }
            Some(Say::Renew(request)) => {
                if let Err(refused) = renewal.ask(request) {
                    self.renewed(refused).await?;
                }
            }
            Some(Say::Refused(refused)) => {
                debug!(
                    message = refused.message,
                    "the agent does not know a message of this server"
                );
            }
            None => {
                let refused =
                    Refused::new(Code::Unsupported, "this build does not know that message");
                self.send(Say::Refused(refused)).await?;
            }
            Some(Say::Hello(_) | Say::Welcome(_) | Say::Lanes(_) | Say::Renewed(_)) => {
                return Err(StreamError::Unexpected(Kind::Control).into());
            }
        }
        Ok(())
    }

    async fn renewed(&mut self, answer: RenewResponse) -> Result<(), Ended> {
        self.context.metrics.renewal(&answer);
        self.send(Say::Renewed(answer)).await
    }

    async fn send(&mut self, message: Say) -> Result<(), Ended> {
        let message = Control::from(message);
        let sent = self.control.send(Kind::Control, &message);
        match tokio::time::timeout(SEND_TIMEOUT, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(error).await),
            Err(_elapsed) => Err(Ended::Silent(SEND_TIMEOUT)),
        }
    }

    /// The lane's own last words say more than that a stream of it broke.
    async fn lost(&self, error: StreamError) -> Ended {
        match tokio::time::timeout(GOODBYE, self.session.lane.closed()).await {
            Ok(closed) => Ended::Lane(closed),
            Err(_elapsed) => Ended::Control(error),
        }
    }
}
