//! A caller's socket under hyper: follows the framing of what is read ([`Framer`]), says what happens to [`Activity`],
//! keeps the end of a caller that waits for its answer from hyper, and resets where a response broke off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use edge_tunnel_proto::splice::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use self::parting::Parting;
use super::activity::{Activity, HEAD_TIME};
use super::framing::{Framer, Stop};
use crate::ingress::answer::Unservable;
use crate::ingress::head::Violation;

mod parting;

/// How often a caller that says no more and waits for its answer is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What hyper reads in the place of a head that was refused, so that the answer is ours, has its turn behind
/// the responses in hand, and is the last. No caller can write it: an HTTP/1.1 head without a Host is refused.
const POISON: &[u8] = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";

/// Why nothing of what the caller says is passed on any more.
#[derive(Debug, Clone, Copy)]
enum End {
    /// A head was refused: [`POISON`] is the last that hyper reads.
    Refused,
    /// A body was refused: hyper reads an error, which its request then fails with.
    Broken(Violation),
}

/// The socket.
#[derive(Debug)]
pub(super) struct Guarded<C: Socket> {
    io: C,
    framer: Framer,
    /// What hyper reads before anything else.
    ready: Bytes,
    end: Option<End>,
    parting: Option<Parting>,
    /// Whether the caller reads more slowly than is written.
    behind: bool,
    /// When a caller that says no more is looked at next.
    look: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
}

impl<C: Socket> Guarded<C> {
    pub(super) fn new(io: C, activity: Arc<Activity>) -> Self {
        Self {
            io,
            framer: Framer::default(),
            ready: Bytes::new(),
            end: None,
            parting: None,
            behind: false,
            look: None,
            activity,
        }
    }

    /// Whether there is something yet to be told to a caller that has ended its side. Behind a part of a body there is
    /// not: that request will never be whole.
    fn owes(&self) -> bool {
        (self.activity.owes() || self.behind) && !self.framer.mid_body()
    }

    /// Ready when the caller is gone. Whoever wants to know better asks again: it wakes every [`LOOK`].
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.io.is_gone() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let look = self
                .look
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK)));
            ready!(look.as_mut().poll(cx));
            self.look = None;
        }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let behind = written.is_pending();
        if self.behind && !behind && self.look.is_some() {
            self.activity.stir();
        }
        self.behind = behind;
        if let Poll::Ready(Ok(_)) = written {
            self.activity.touch();
        }
        written
    }

    /// Ends the connection behind the responses in hand and an answer that says why.
    fn refuse(&mut self, why: Unservable) {
        self.ready = [&self.ready, POISON].concat().into();
        self.end = Some(End::Refused);
        self.activity.refuse(why);
    }

    /// Lets pass of `bytes`, which are fresh, what may; returns how many of them.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        self.activity.touch();
        let passed = self.framer.feed(bytes);
        self.activity.mid_head(self.framer.mid_head());
        let mut count = passed.count;
        if !passed.kept.is_empty() {
            self.ready = [&passed.kept, &bytes[..count]].concat().into();
            count = 0;
        }
        match passed.stop {
            None => {}
            Some(Stop::Head(why)) => self.refuse(why),
            Some(Stop::Body(why)) => {
                tracing::debug!(why, "a request's body broke off");
                self.end = Some(End::Broken(why));
            }
        }
        count
    }
}

impl<C: Socket> Drop for Guarded<C> {
    fn drop(&mut self) {
        if self.activity.is_broken() {
            self.io.reset();
        }
    }
}

impl<C: Socket> Socket for Guarded<C> {
    fn reset(&mut self) {
        self.io.reset();
    }

    fn end(&mut self) {
        self.io.end();
    }

    fn is_gone(&self) -> bool {
        self.io.is_gone()
    }
}

impl<C: Socket> AsyncRead for Guarded<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                let count = self.ready.len().min(buf.remaining());
                buf.put_slice(&self.ready.split_to(count));
                return Poll::Ready(Ok(()));
            }
            match self.end {
                None if self.activity.is_late() => {
                    self.refuse(Unservable::head_timeout(HEAD_TIME));
                    continue;
                }
                None => {}
                // hyper takes the end for a caller that left, and would not answer. It closes by itself.
                Some(End::Refused) => return Poll::Pending,
                Some(End::Broken(why)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                // A caller may end its side behind its request and wait for the answer (`nc -N`). It looks the same as one
                // that has left, and hyper would take it for that. So the end is kept from hyper while an answer is owed:
                // to one that has left, that is until its system resets what it gets, or the request's time is over.
                return if self.owes() {
                    self.poll_gone(cx)
                } else {
                    Poll::Ready(Ok(()))
                };
            }
            let count = self.pass(&buf.filled()[before..]);
            buf.set_filled(before + count);
            // None of them would read as the end.
            if count > 0 {
                return Poll::Ready(Ok(()));
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
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.parting.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if this.end.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
        let parting = this.parting.get_or_insert_with(Parting::new);
        parting.poll(&mut this.io, cx).map(Ok)
    }
}
