//! One stream's life on the agent: answer at once, ask the policy, dial, carry the bytes.
//!
//! In comes a raw stream that the server opened, out goes a connection to the target.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::Target;
use edge_tunnel_proto::splice::{Side, SpliceError, splice};
use edge_tunnel_proto::stream::{Answer, Incoming};
use edge_tunnel_proto::transport::LaneStream;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tracing::{debug, info};

use crate::dial::{DialError, Dialer};
use crate::policy::live::Policy;

/// How long the header of a stream may take after its first byte.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What serves streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    /// What may be dialled.
    pub policy: Policy,
    /// What dials.
    pub dialer: Dialer,
    /// What is counted.
    pub metrics: Metrics,
}

/// What serving streams measures.
#[derive(Clone, Debug)]
pub struct Metrics {
    open: Gauge,
    streams: Family<Outcome, Counter>,
    bytes: Family<Direction, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

impl Metrics {
    /// Registers what serving streams measures.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            open: Gauge::default(),
            streams: Family::default(),
            bytes: Family::default(),
        };
        registry.register(
            "streams_open",
            "Streams that are open now",
            metrics.open.clone(),
        );
        registry.register(
            "streams",
            "Streams that have ended, by how: clean, a code of this agent or of the server",
            metrics.streams.clone(),
        );
        registry.register(
            "stream_bytes",
            "Bytes carried, by direction: to_target, from_target",
            metrics.bytes.clone(),
        );
        metrics
    }

    fn ended(&self, outcome: &'static str) {
        self.streams.get_or_create(&Outcome { outcome }).inc();
    }

    fn carried(&self, to_target: u64, from_target: u64) {
        for (direction, bytes) in [("to_target", to_target), ("from_target", from_target)] {
            self.bytes
                .get_or_create(&Direction { direction })
                .inc_by(bytes);
        }
    }
}

/// Counts a stream as open until it drops.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Server {
    /// Serves one stream to its end.
    pub async fn serve(&self, stream: LaneStream) {
        let _counted = Counted::new(&self.metrics.open);
        let incoming = match tokio::time::timeout(HEADER_TIMEOUT, Incoming::read(stream)).await {
            Ok(Ok(incoming)) => incoming,
            Ok(Err(error)) => {
                debug!(%error, "a stream without a header that this agent understands");
                return self.metrics.ended(error.code().name());
            }
            Err(_elapsed) => {
                debug!("a stream whose header did not come within {HEADER_TIMEOUT:?}");
                return self.metrics.ended(Code::TimedOut.name());
            }
        };
        match incoming {
            Incoming::Open(answer) => self.open(answer).await,
            Incoming::Control(framed, _) | Incoming::Enroll(framed, _) => {
                debug!("the server opened a control stream, which only agents do");
                framed.reset(Code::Unsupported);
                self.metrics.ended(Code::Unsupported.name());
            }
        }
    }

    async fn open(&self, mut answer: Answer) {
        let (request, target) = (answer.request.request_id, answer.request.target);
        let deadline = answer.request.deadline;
        if answer.accepted().await.is_err() {
            return self.metrics.ended(Code::Cancelled.name());
        }
        let dialled = tokio::select! {
            dialled = self.dial(target, deadline) => dialled,
            error = answer.abandoned() => {
                debug!(%request, %target, %error, "the caller gave up while its target was dialled");
                return self.metrics.ended(Code::Cancelled.name());
            }
        };
        let near = match dialled {
            Ok(near) => near,
            Err(error) => {
                info!(%request, %target, caller = answer.request.caller, "refused: {error}");
                self.metrics.ended(error.code.name());
                return answer.refuse(error.code, &error.message).await;
            }
        };
        let caller = answer.request.caller.clone();
        let Ok(far) = answer.opened().await else {
            return self.metrics.ended(Code::Cancelled.name());
        };
        debug!(%request, %target, caller, "open");
        // Dropped at its end: a target whose caller is gone gets what was said and no more, as from a caller next to it.
        let outcome = splice(near, far, Side::Target).await;
        self.metrics.carried(outcome.received, outcome.sent);
        self.metrics.ended(match &outcome.result {
            Ok(()) => "clean",
            Err(SpliceError::Near(_)) => Code::Reset.name(),
            Err(SpliceError::Far(error)) => error.code().name(),
        });
        debug!(%request, %target, sent = outcome.sent, received = outcome.received, result = ?outcome.result, "ended");
    }

    async fn dial(
        &self,
        target: Target,
        deadline: Option<Duration>,
    ) -> Result<TcpStream, DialError> {
        let address = self.policy.judge(&target).map_err(|denied| DialError {
            code: Code::NotAllowed,
            message: denied.to_string(),
        })?;
        self.dialer.dial(address, deadline).await
    }
}
