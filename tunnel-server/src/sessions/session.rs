//! A live session: what others may ask of it and tell it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::heartbeat::PROBE;
use edge_tunnel_proto::id::InstanceId;
use edge_tunnel_proto::sync::Mutex;
use edge_tunnel_proto::transport::{Lane, Transport};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::openings::Openings;
use crate::identity::Holder;

/// A live session: the link to one agent. It has one lane; the place for more is here.
#[derive(Debug)]
pub struct Session {
    /// Whose, by its certificate.
    pub holder: Holder,
    /// Which start of the agent's process.
    pub instance: InstanceId,
    /// Since when.
    pub since: SystemTime,
    /// Where the agent's connection comes from.
    pub remote: SocketAddr,
    /// The agent's build.
    pub build: String,
    /// What carries it.
    pub lane: Lane,
    /// The streams that are open; [`Session::count`] counts one.
    pub(crate) streams: TaskTracker,
    /// Which of them are being opened.
    pub(crate) openings: Openings,
    pub(crate) opened: Notify,
    pub(crate) probe: Notify,
    pub(crate) heard: watch::Sender<Instant>,
    pub(crate) rtt_micros: AtomicU64,
    ending: watch::Sender<Option<(Code, String)>>,
    /// When the agent's newest certificate was issued, or a little before.
    certified: Mutex<SystemTime>,
    /// Where another process with the same identity waits for whether this one lives.
    rival: Mutex<Option<SocketAddr>>,
    /// The agent has said that it retires this session: no new streams.
    pub(crate) retired: CancellationToken,
}

impl Session {
    /// A session that was just introduced.
    #[must_use]
    pub fn new(
        holder: Holder,
        instance: InstanceId,
        since: SystemTime,
        remote: SocketAddr,
        build: String,
        lane: Lane,
    ) -> Self {
        Self {
            certified: Mutex::new(holder.issued),
            holder,
            instance,
            since,
            remote,
            build,
            lane,
            streams: TaskTracker::new(),
            openings: Openings::default(),
            opened: Notify::new(),
            probe: Notify::new(),
            heard: watch::Sender::new(Instant::now()),
            rtt_micros: AtomicU64::new(0),
            ending: watch::Sender::new(None),
            rival: Mutex::new(None),
            retired: CancellationToken::new(),
        }
    }

    /// Counts one stream for as long as the token lives: a session that drains waits for it, and one that has streams
    /// is looked at more often.
    pub(crate) fn count(&self) -> TaskTrackerToken {
        let token = self.streams.token();
        self.opened.notify_one();
        token
    }

    /// When the agent's newest certificate was issued, in whole seconds: the one that it showed, or one that it got since.
    #[must_use]
    pub fn certified(&self) -> SystemTime {
        *self.certified.lock()
    }

    /// The agent was given a certificate for which it asked at this time.
    pub(crate) fn renewed(&self, asked: SystemTime) {
        let seconds = asked
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        *self.certified.lock() = UNIX_EPOCH + Duration::from_secs(seconds);
    }

    /// What carries it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.lane.transport()
    }

    /// The last measured round trip.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        let micros = self.rtt_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// An answer is awaited: finds out within 3 s whether the link is alive. A dead one is dropped by its own task.
    pub fn probe(&self) {
        self.probe.notify_one();
    }

    /// Probes, and waits for the outcome.
    pub(crate) async fn answers(&self) -> bool {
        let mut heard = self.heard.subscribe();
        self.probe();
        tokio::select! {
            changed = heard.changed() => changed.is_ok(),
            _closed = self.lane.closed() => false,
            () = tokio::time::sleep(PROBE + Duration::from_millis(200)) => false,
        }
    }

    /// Another process with the same identity has connected from `rival` and waits for whether this one answers; `None`:
    /// it has.
    pub(crate) fn contest(&self, rival: Option<SocketAddr>) {
        *self.rival.lock() = rival;
    }

    /// Who waits for whether this one answers.
    pub(crate) fn rival(&self) -> Option<SocketAddr> {
        *self.rival.lock()
    }

    /// What its agent is told, should it wake up, that had not answered while another was there.
    pub(crate) fn lost_to(&self, rival: SocketAddr) -> String {
        format!(
            "another agent with the identity of node {} connected from {rival}, and this one, at {}, had not answered for {} s. \
             If these are two hosts, give one of them another name and a certificate of its own",
            self.holder.node,
            self.remote,
            PROBE.as_secs()
        )
    }

    /// Ends the session and with it its streams; the agent is told why.
    pub fn end(&self, code: Code, reason: impl Into<String>) {
        self.ending.send_if_modified(|ending| {
            let first = ending.is_none();
            if first {
                *ending = Some((code, reason.into()));
            }
            first
        });
    }

    /// Waits until [`Session::end`] was called.
    pub(crate) async fn told_to_end(&self) -> (Code, String) {
        let mut ending = self.ending.subscribe();
        let told = match ending.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone(),
            Err(_gone) => None,
        };
        told.unwrap_or_else(|| (Code::Internal, "the session is gone".to_owned()))
    }
}
