//! What a caller's connection is doing, and the times by which it is given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use edge_tunnel_proto::sync::Mutex;
use http::header::HOST;
use http::{Request, Version};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Settings;
use crate::ingress::answer::Unservable;

/// How long a caller has for a head that it has begun.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a caller that was refused is listened to, so that its answer arrives.
pub(super) const PARTING_TIME: Duration = Duration::from_secs(1);

/// What a connection is doing, and since when. Times are milliseconds since it began.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// The last byte in either direction.
    last: AtomicU64,
    /// When the head at hand began, plus one; 0 without one.
    head: AtomicU64,
    /// When the last request was done with.
    free: AtomicU64,
    requests: AtomicUsize,
    /// Requests whose response has no head yet.
    unanswered: AtomicUsize,
    /// Requests that may be silent for as long as they like.
    patient: AtomicUsize,
    broken: AtomicBool,
    /// The head at hand did not come in time.
    late: AtomicBool,
    /// Why the request in place of a refused head stands there.
    refused: Mutex<Option<Unservable>>,
    changed: Notify,
}

/// What is due for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this moment.
    Later(Instant),
    /// It has no request and is not needed any more.
    Close,
    /// It has hung too long in what it was doing.
    Abort(&'static str),
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            head: AtomicU64::new(0),
            free: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            patient: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            late: AtomicBool::new(false),
            refused: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts a request until the guard drops. A patient one may be silent without end.
    pub(super) fn request(self: &Arc<Self>, patient: bool) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.patient.fetch_add(patient.into(), Ordering::Relaxed);
        Busy {
            activity: Arc::clone(self),
            patient,
        }
    }

    /// Counts a request, from the moment that its head is whole, until the guard drops: when hyper has the response.
    pub(super) fn unanswered(self: &Arc<Self>) -> Unanswered {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        Unanswered(Arc::clone(self))
    }

    /// Whether a request is there whose response is not through.
    pub(super) fn owes(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0 || self.unanswered.load(Ordering::Relaxed) > 0
    }

    /// A byte went, in either direction.
    pub(super) fn touch(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// A head begins or goes on now, or none does.
    pub(super) fn mid_head(&self, mid_head: bool) {
        if !mid_head {
            self.head.store(0, Ordering::Relaxed);
        } else if self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now() + 1, Ordering::Relaxed);
            self.stir();
        }
    }

    /// Whether the head at hand is to be refused for its slowness.
    pub(super) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// A head was refused: a request that ends the connection comes in its place.
    pub(super) fn refuse(&self, why: Unservable) {
        *self.refused.lock() = Some(why);
        self.mid_head(false);
    }

    /// Why this request was refused before it was one, if it stands for such a one.
    pub(super) fn refused<B>(&self, request: &Request<B>) -> Option<Unservable> {
        let is_poison =
            request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST);
        if is_poison {
            self.refused.lock().take()
        } else {
            None
        }
    }

    /// Has the connection looked at anew.
    pub(super) fn stir(&self) {
        self.changed.notify_one();
    }

    /// When the last byte went, in either direction.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// A response broke off: the connection must not end as if it were whole.
    pub(super) fn broke(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Whether one did.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Waits until what is due may be due earlier than it was.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What is due at this moment. A head that is late is told so to the socket, which refuses it as soon as
    /// hyper reads on; where hyper does not, the connection ends a little later.
    pub(super) fn due(&self, settings: &Settings) -> Due {
        let at = |millis: u64, limit: Duration| self.began + Duration::from_millis(millis) + limit;
        let now = Instant::now();
        let last = self.last.load(Ordering::Relaxed);
        if self.patient.load(Ordering::Relaxed) > 0 {
            return Due::Later(now + settings.idle_stream);
        }
        let free = self.free.load(Ordering::Relaxed);
        let (when, then) = if self.requests.load(Ordering::Relaxed) > 0 {
            (
                at(last, settings.idle_stream),
                Due::Abort("no byte of a request or its response went for too long"),
            )
        } else {
            match self.head.load(Ordering::Relaxed) {
                0 => (at(last.max(free), settings.idle_connection), Due::Close),
                // What came behind the request before was not waited for then.
                head => {
                    let limit = at((head - 1).max(free), HEAD_TIME);
                    if now < limit {
                        return Due::Later(limit);
                    }
                    self.late.store(true, Ordering::Relaxed);
                    let why = "a request's head did not come in time, and its answer was not taken";
                    (limit + PARTING_TIME, Due::Abort(why))
                }
            }
        };
        if now < when { Due::Later(when) } else { then }
    }
}

/// A request that is not done with.
#[derive(Debug)]
pub(super) struct Busy {
    activity: Arc<Activity>,
    patient: bool,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activity
            .free
            .store(self.activity.now(), Ordering::Relaxed);
        self.activity
            .patient
            .fetch_sub(self.patient.into(), Ordering::Relaxed);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
        self.activity.changed.notify_one();
    }
}

/// A request whose response has no head yet.
#[derive(Debug)]
pub(super) struct Unanswered(Arc<Activity>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.unanswered.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

/// A connection that ends with a request in hand ends as a failure, whatever drops it, the kill of a shutdown most of
/// all: a caller may take its end for the end of the body.
#[derive(Debug)]
pub(super) struct Whole(pub(super) Arc<Activity>);

impl Drop for Whole {
    fn drop(&mut self) {
        if self.0.requests.load(Ordering::Relaxed) > 0 {
            self.0.broke();
        }
    }
}
