//! A caller's socket under hyper: follows the framing of what is read ([`Framer`]), keeps the times by which
//! a connection is given up, and resets it where a response broke off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use edge_tunnel_proto::splice::Reset;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Settings;
use super::framing::{Framer, Stop};
use crate::ingress::socket::Socket;

/// How long a caller has for a head that it has begun.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// What hyper reads in the place of a head that was refused: a NUL, which no head can have wherever it
/// stands, and the end that hyper waits for before it looks. It answers 400 and closes.
const POISON: &[u8] = b"\0\r\n\r\n";

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
    /// Requests that may be silent for as long as they like.
    patient: AtomicUsize,
    broken: AtomicBool,
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
            patient: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
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

    /// When the last byte went, in either direction.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// A response broke off: the connection must not end as if it were whole.
    pub(super) fn broke(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Waits until what is due may be due earlier than it was.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What is due at this moment.
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
                head => (
                    at((head - 1).max(free), HEAD_TIME),
                    Due::Abort("a request's head did not come in time"),
                ),
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

/// The socket.
#[derive(Debug)]
pub(super) struct Guarded<C: Socket> {
    io: C,
    framer: Framer,
    /// What is left of [`POISON`] once a head was refused; then comes the end.
    poison: Option<&'static [u8]>,
    activity: Arc<Activity>,
}

impl<C: Socket> Guarded<C> {
    pub(super) fn new(io: C, activity: Arc<Activity>) -> Self {
        Self {
            io,
            framer: Framer::default(),
            poison: None,
            activity,
        }
    }

    fn touch(&self) {
        self.activity
            .last
            .store(self.activity.now(), Ordering::Relaxed);
    }
}

impl<C: Socket> Drop for Guarded<C> {
    fn drop(&mut self) {
        if self.activity.broken.load(Ordering::Relaxed) {
            self.io.reset();
        }
    }
}

impl<C: Socket> Reset for Guarded<C> {
    fn reset(&mut self) {
        self.io.reset();
    }

    fn end(&mut self) {
        self.io.end();
    }
}

impl<C: Socket> AsyncRead for Guarded<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(poison) = &mut self.poison {
            let (given, left) = poison.split_at(poison.len().min(buf.remaining()));
            buf.put_slice(given);
            *poison = left;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        self.touch();
        let was_mid_head = self.framer.mid_head();
        match self.framer.feed(&buf.filled()[before..]) {
            Ok(()) => {
                let mid_head = self.framer.mid_head();
                if mid_head && !was_mid_head {
                    self.activity
                        .head
                        .store(self.activity.now() + 1, Ordering::Relaxed);
                    self.activity.changed.notify_one();
                } else if !mid_head {
                    self.activity.head.store(0, Ordering::Relaxed);
                }
                Poll::Ready(Ok(()))
            }
            Err(Stop::Head(good, why)) => {
                tracing::info!(why, "refused a request with 400");
                self.poison = Some(POISON);
                buf.set_filled(before + good);
                // Nothing good among the bytes would read as the end.
                if good == 0 {
                    self.poll_read(cx, buf)
                } else {
                    Poll::Ready(Ok(()))
                }
            }
            Err(Stop::Body(why)) => {
                tracing::info!(why, "broke off a request");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)))
            }
        }
    }
}

impl<C: Socket> AsyncWrite for Guarded<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.touch();
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.touch();
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
