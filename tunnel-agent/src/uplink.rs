//! Keeps the agent connected: enrols when it must, dials, starts a session, and dials again when that ends.
//!
//! In comes the configuration, out go sessions. One loop holds one session; a session that the server or a better
//! transport replaces goes on by itself until its last stream has ended.

pub mod dial;
pub mod enroll;
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::backoff::Backoff;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::Live;
use edge_tunnel_proto::telemetry::health::Part;
use edge_tunnel_proto::transport::Transport;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, info_span, warn};

use crate::config::TokenSource;
use crate::endpoints::Endpoints;
use crate::identity::IdentityError;
use crate::session::{Context, Ended, Session};
use dial::{Dialer, Order};
pub use metrics::Metrics;

/// How soon QUIC is tried again after TLS had to carry the session; doubles up to [`QUIC_RETRY_LAST`].
const QUIC_RETRY_FIRST: Duration = Duration::from_secs(60);
const QUIC_RETRY_LAST: Duration = Duration::from_secs(15 * 60);

/// A session that lasted this long was a success: the next dial starts with a fresh back-off. Shorter than what the
/// first heartbeat takes to find a link dead, so that a server which died in between is dialled again at once; long
/// enough that one which dies over and over is not dialled every second.
const SETTLED: Duration = Duration::from_secs(10);

/// Everything that keeps an agent connected.
#[derive(Debug)]
pub struct Uplink {
    /// What this node is called; by the host's name until its certificate says.
    pub node: Live<NodeName>,
    /// What it was told to be called.
    pub told: Option<NodeName>,
    /// Where the servers are; asked at each dial.
    pub endpoints: Endpoints,
    /// Where the join token is, should one be needed.
    pub token: Option<TokenSource>,
    /// What sessions work with.
    pub context: Context,
    /// What dials.
    pub dialer: Dialer,
    /// What is counted.
    pub metrics: Metrics,
    /// Ready while there is a session.
    pub health: Part,
    /// How soon QUIC is tried again; [`Uplink::QUIC_RETRY`] but in tests.
    pub quic_retry: Duration,
}

/// A session that runs in a task of its own.
struct Running {
    transport: Transport,
    since: Instant,
    retire: CancellationToken,
    leaving: CancellationToken,
    ended: oneshot::Receiver<Ended>,
}

impl Uplink {
    /// How soon QUIC is tried again for the first time.
    pub const QUIC_RETRY: Duration = QUIC_RETRY_FIRST;

    /// Keeps a session until the process drains. Sessions that still have streams then end by themselves.
    pub async fn run(mut self) {
        let draining = self.context.shutdown.draining().clone();
        let _ = draining.run_until_cancelled(self.keep_connected()).await;
    }

    async fn keep_connected(&mut self) {
        let mut backoff = Backoff::default();
        let mut quic_blocked = false;
        loop {
            self.endpoints.wait(&self.health).await;
            let order = if quic_blocked {
                Order::TlsOnly
            } else {
                Order::QuicFirst
            };
            match self.connect(order).await {
                Ok(running) => {
                    quic_blocked = running.transport == Transport::Tls;
                    let since = running.since;
                    self.health.ready();
                    let (ended, transport) = self.hold(running).await;
                    quic_blocked = quic_blocked && transport == Transport::Tls;
                    self.health.not_ready("no session; dialling");
                    if since.elapsed() >= SETTLED {
                        backoff.reset();
                    }
                    self.tell(ended.as_ref());
                    if let Some(ended) = &ended {
                        obey(&mut backoff, ended);
                    }
                }
                Err(problem) => {
                    self.metrics.dial_failed();
                    self.health.not_ready(problem.to_string());
                    warn!("not connected: {problem}");
                    // The next attempt tries everything again: what carried the last session may be what is gone.
                    quic_blocked = false;
                    match &problem {
                        Problem::Session(ended) => {
                            if matches!(
                                ended,
                                Ended::Told {
                                    code: Code::Overloaded,
                                    retry_after: Some(_),
                                    ..
                                }
                            ) {
                                self.metrics.deferred();
                            }
                            obey(&mut backoff, ended);
                        }
                        Problem::Enroll(error) | Problem::ShutOut { error, .. } => {
                            if let Some(after) = error.retry_after() {
                                backoff.at_least(after);
                            }
                        }
                        Problem::Identity(_) | Problem::Dial(_) => {}
                    }
                }
            }
            let delay = backoff.next_delay();
            debug!(?delay, "dialling again");
            sleep(delay).await;
        }
    }

    /// Starts a session; where the server says that this node's registration is over, by the join token that may be
    /// there. The certificate goes first each time, since only the server knows which of the two is good; a token that
    /// was redeemed before the end of the registration opens nothing there, so two machines cannot shut each other out
    /// in turn.
    async fn connect(&self, order: Order) -> Result<Running, Problem> {
        match self.connect_in_time(order).await {
            Err(problem) if problem.shut_out() && self.token.is_some() => {
                debug!("{problem}; trying the join token");
                if let Err(error) = enroll::join(self).await {
                    let problem = Box::new(problem);
                    return Err(Problem::ShutOut { problem, error });
                }
                self.connect_as_is(order).await
            }
            outcome => outcome,
        }
    }

    /// Starts a session; where the server says that the certificate has expired, with another one. By the clock of this
    /// node it has not: that may be years behind, and stand at the certificate's issue.
    async fn connect_in_time(&self, order: Order) -> Result<Running, Problem> {
        match self.connect_as_is(order).await {
            Err(Problem::Session(Ended::Told {
                code: Code::Expired,
                reason,
                ..
            })) => {
                info!("{reason}");
                enroll::renew(self).await.map_err(Problem::Enroll)?;
                self.connect_as_is(order).await
            }
            outcome => outcome,
        }
    }

    /// Enrols if there is no usable certificate, dials and starts a session.
    async fn connect_as_is(&self, order: Order) -> Result<Running, Problem> {
        enroll::ensure(self).await.map_err(Problem::Enroll)?;
        let config = Arc::new(self.context.identity.session_config()?);
        let servers = self.endpoints.servers().await;
        let dialled = self.dialer.dial(&servers, order, &config).await?;
        let (transport, remote) = (dialled.connected.lane.transport(), dialled.connected.remote);
        let session = Session::start(dialled.connected.lane, &self.context).await?;
        if let Some(local) = dialled.local {
            self.context.server.policy.session_from(local);
        }
        info!(%transport, server = %remote, replica = %session.replica, "connected");
        let (retire, leaving) = (CancellationToken::new(), CancellationToken::new());
        let (tell, ended) = oneshot::channel();
        let live = self.metrics.session(transport);
        let running = Running {
            transport,
            since: Instant::now(),
            retire: retire.clone(),
            leaving: leaving.clone(),
            ended,
        };
        let span = info_span!("session", replica = %session.replica, %transport);
        let task = async move {
            let life = async {
                let ended = session.run(&retire, &leaving).await;
                drop(live);
                ended
            };
            see_out(life, tell, &leaving).await;
        };
        self.context.shutdown.tasks().spawn(task.instrument(span));
        Ok(running)
    }

    /// Stays with a session until it takes no more streams; moves to QUIC when that gets through again.
    async fn hold(&self, mut running: Running) -> (Option<Ended>, Transport) {
        let mut pause = self.quic_retry;
        let mut retry = Instant::now() + pause;
        loop {
            let known = self.endpoints.known();
            let wants_quic = known.iter().any(|server| server.transports.quic());
            let over_tls = running.transport == Transport::Tls && wants_quic;
            tokio::select! {
                () = running.leaving.cancelled() => {
                    // A session that drains goes on by itself; one that has ended says why.
                    let ended = tokio::time::timeout(Duration::from_millis(50), &mut running.ended).await;
                    return (ended.ok().and_then(Result::ok), running.transport);
                }
                () = sleep_until(retry), if over_tls => {
                    let better = tokio::select! {
                        better = self.connect_as_is(Order::QuicOnly) => better,
                        // A session that ends meanwhile is not kept waiting for its successor.
                        () = running.leaving.cancelled() => continue,
                    };
                    match better {
                        Ok(better) => {
                            info!("QUIC gets through again; the session over TLS ends with its last stream");
                            running.retire.cancel();
                            running = better;
                        }
                        Err(problem) => {
                            debug!("QUIC still does not get through: {problem}");
                            pause = (pause * 2).min(QUIC_RETRY_LAST);
                            retry = Instant::now() + pause;
                        }
                    }
                }
            }
        }
    }

    fn tell(&self, ended: Option<&Ended>) {
        self.metrics.session_ended(ended);
        match ended {
            Some(Ended::Told {
                code: Code::Revoked,
                reason,
                ..
            }) => {
                tracing::error!(
                    "the server does not take this identity any more: {reason}. To join again, the agent needs a new join \
                     token (`edge-tunnel-server token create --node {}`): in its --token-file, which it reads at each \
                     attempt, or at its next start",
                    self.node.get()
                );
            }
            Some(ended) => warn!("the session ended: {ended}"),
            None => info!("the session takes no more streams; dialling another"),
        }
    }
}

/// Runs a session to its end and tells of it. However it ends, be it by a panic, the uplink looks for a successor.
async fn see_out(
    life: impl Future<Output = Ended>,
    tell: oneshot::Sender<Ended>,
    leaving: &CancellationToken,
) {
    // Only at the end: whoever looks for a successor first reads why this one ended, and when to come back.
    let _left = leaving.clone().drop_guard();
    let ended = life.await;
    // The uplink may have left this session behind.
    let _ = tell.send(ended);
}

/// A server that says when to come back is obeyed.
fn obey(backoff: &mut Backoff, ended: &Ended) {
    if let Ended::Told {
        retry_after: Some(after),
        ..
    } = ended
    {
        backoff.at_least(*after);
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Enroll(enroll::EnrollError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Dial(#[from] dial::DialError),
    #[error(transparent)]
    Session(#[from] Ended),
    #[error("{problem}; and the join token that is there does not help: {error}")]
    ShutOut {
        problem: Box<Problem>,
        error: enroll::EnrollError,
    },
}

impl Problem {
    /// Whether the server has said that this node's registration is over: revoked, replaced, or lost by the server. Said
    /// by a server that was believed, and about the certificate alone; a session that another host has ended is
    /// dialled again first.
    fn shut_out(&self) -> bool {
        match self {
            Self::Session(Ended::Told { code, .. }) => *code == Code::Revoked,
            Self::Enroll(error) => error.shut_out(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_its_first_heartbeat_found_dead_was_a_success() {
        let line = ["edge-tunnel-agent", "run", "--server", "lb.example:10262"];
        let Ok(crate::config::Cli {
            command: crate::config::Command::Run(config),
        }) = crate::config::Cli::parse_from(line)
        else {
            panic!("not run");
        };
        assert!(SETTLED < config.heartbeat);
    }

    #[tokio::test]
    async fn a_session_that_dies_is_left_as_one_that_ends() {
        let (tell, ended) = oneshot::channel();
        let leaving = CancellationToken::new();
        let left = leaving.clone();
        let died = tokio::spawn(async move {
            see_out(async { panic!("out of luck") }, tell, &leaving).await;
        });
        assert!(died.await.unwrap_err().is_panic());
        assert!(left.is_cancelled(), "the uplink would wait for ever");
        assert!(ended.await.is_err());
    }
}
