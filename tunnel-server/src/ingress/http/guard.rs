//! A caller's socket under hyper: follows the framing of what is read ([`Framer`]), says what happens to [`Activity`],
//! keeps the end of a caller that waits for its answer from hyper, and resets where a response broke off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use edge_tunnel_proto::splice::Reset;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::activity::Activity;
use super::framing::{Framer, Stop};
use crate::ingress::socket::Socket;

/// How often a caller that says no more and waits for its answer is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What hyper reads in the place of a head that was refused: a NUL, which no head can have wherever it
/// stands, and the end that hyper waits for before it looks. It answers 400 and closes.
const POISON: &[u8] = b"\0\r\n\r\n";

/// The socket.
#[derive(Debug)]
pub(super) struct Guarded<C: Socket> {
    io: C,
    framer: Framer,
    /// What is left of [`POISON`] once a head was refused; then comes the end.
    poison: Option<&'static [u8]>,
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
            poison: None,
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

    /// Ready when the connection is dead. Whoever wants to know better asks again: it wakes every [`LOOK`].
    fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.io.is_dead() {
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
}

impl<C: Socket> Drop for Guarded<C> {
    fn drop(&mut self) {
        if self.activity.is_broken() {
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

impl<C: Socket> Socket for Guarded<C> {
    fn is_dead(&self) -> bool {
        self.io.is_dead()
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
            // A caller may end its side behind its request and wait for the answer (`nc -N`). It looks the same as one
            // that has left, and hyper would take it for that. So the end is kept from hyper while an answer is owed:
            // to one that has left, that is until its system resets what it gets, or the request's time is over.
            return if self.owes() {
                self.poll_dead(cx)
            } else {
                Poll::Ready(Ok(()))
            };
        }
        self.activity.touch();
        let was_mid_head = self.framer.mid_head();
        match self.framer.feed(&buf.filled()[before..]) {
            Ok(()) => {
                let mid_head = self.framer.mid_head();
                if mid_head && !was_mid_head {
                    self.activity.head_begins();
                } else if !mid_head {
                    self.activity.head_ends();
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
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
