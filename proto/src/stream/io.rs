//! A stream as tokio sees it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::{Direction, Stream, wait};
use crate::codec::{self, DATA_MAX, Kind};

impl Stream {
    fn writable(&self) -> Result<(), io::Error> {
        match &self.writing {
            Direction::Flowing => Ok(()),
            Direction::Ended => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "written to after its end",
            )),
            Direction::Broken(error) => Err(error.clone().into()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..count]);
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for Stream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        let frame = this.poll_frame(cx);
        if frame.is_pending() {
            wait(&mut this.reader, cx);
        }
        match ready!(frame) {
            Ok(true) => Poll::Ready(Ok(&this.inbox[..this.in_frame.min(this.inbox.len())])),
            Ok(false) => Poll::Ready(Ok(&[])),
            Err(error) => Poll::Ready(Err(this.broken(error).into())),
        }
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        let this = self.get_mut();
        this.inbox.advance(count);
        this.in_frame -= count;
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writable()?;
        ready!(this.poll_drain(cx))?;
        let count = data.len().min(DATA_MAX);
        if count > 0 {
            codec::put(&mut this.outbox, Kind::Data, &data[..count]);
            // Taken in any case; what does not go out now goes with the next write or flush.
            if let Poll::Ready(result) = this.poll_drain(cx) {
                result?;
            }
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &this.writing {
            Direction::Flowing => {
                codec::put(&mut this.outbox, Kind::End, &[]);
                this.writing = Direction::Ended;
            }
            Direction::Ended => {}
            Direction::Broken(error) => return Poll::Ready(Err(error.clone().into())),
        }
        ready!(this.poll_drain(cx))?;
        this.settle(cx);
        Pin::new(&mut this.io).poll_flush(cx)
    }
}
