//! One QUIC stream as bytes in both directions.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::VarInt;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop::poll_proceed;

use super::super::BrokenStream;
use super::lane::closed;
use super::readers::{Reader, Readers};
use super::share::Share;
use crate::code::Code;

/// How long a stream waits for the other side's leave to open one more. Longer than a round trip; this side counts its
/// streams too, so that it waits only while the other side has not noted the end of earlier ones.
const LEAVE: Duration = Duration::from_secs(1);

type Opening = Pin<
    Box<
        dyn Future<Output = Result<(quinn::SendStream, quinn::RecvStream), BrokenStream>>
            + Send
            + Sync,
    >,
>;

enum Half {
    /// Waits for the other side's leave to open one more stream.
    Opening(Opening),
    Open(quinn::SendStream, Arc<Reader>),
    Failed(BrokenStream),
}

/// One bidirectional QUIC stream. Dropping it before both directions have ended resets it.
pub struct QuicStream {
    half: Half,
    readers: Arc<Readers>,
    finished: bool,
    _share: Share,
    _permit: Option<OwnedSemaphorePermit>,
}

impl QuicStream {
    pub(super) fn opening(
        readers: &Arc<Readers>,
        share: Share,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            half: Half::Opening(Box::pin(open(readers.connection().clone()))),
            readers: Arc::clone(readers),
            finished: false,
            _share: share,
            _permit: Some(permit),
        }
    }

    pub(super) fn accepted(
        readers: &Arc<Readers>,
        share: Share,
        send: quinn::SendStream,
        recv: quinn::RecvStream,
    ) -> Self {
        Self {
            half: Half::Open(send, readers.add(recv)),
            readers: Arc::clone(readers),
            finished: false,
            _share: share,
            _permit: None,
        }
    }

    /// Ends both directions at once; the other side reads `code`.
    pub fn reset(mut self, code: Code) {
        self.stop(code);
    }

    fn stop(&mut self, code: Code) {
        if let Half::Open(send, reader) = &mut self.half {
            // An error means that this direction has ended already, which is as good. One that was
            // finished is left to arrive: a reset would take back what is on its way.
            if !self.finished {
                let _ = send.reset(VarInt::from_u32(code.number()));
            }
            reader.stop(code);
            self.readers.remove(send.id());
        }
    }

    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(&mut quinn::SendStream, &Reader)>> {
        if let Half::Opening(opening) = &mut self.half {
            self.half = match ready!(opening.as_mut().poll(cx)) {
                Ok((send, recv)) => Half::Open(send, self.readers.add(recv)),
                Err(broken) => Half::Failed(broken),
            };
        }
        Poll::Ready(match &mut self.half {
            Half::Open(send, reader) => Ok((send, reader)),
            Half::Failed(broken) => Err(broken.clone().into()),
            Half::Opening(_) => unreachable!("just replaced"),
        })
    }
}

impl Drop for QuicStream {
    fn drop(&mut self) {
        // quinn's own drop would finish the send half, which reads as a clean end.
        self.stop(Code::Cancelled);
    }
}

async fn open(
    connection: quinn::Connection,
) -> Result<(quinn::SendStream, quinn::RecvStream), BrokenStream> {
    match tokio::time::timeout(LEAVE, connection.open_bi()).await {
        Ok(opened) => opened.map_err(|error| BrokenStream::Lost(closed(error).to_string())),
        Err(_elapsed) => Err(BrokenStream::Reset(Code::Overloaded)),
    }
}

fn code_of(number: VarInt) -> Code {
    Code::from_number(u32::try_from(number.into_inner()).unwrap_or(u32::MAX))
}

pub(super) fn read_error(error: quinn::ReadError) -> io::Error {
    match error {
        quinn::ReadError::Reset(code) => BrokenStream::Reset(code_of(code)).into(),
        quinn::ReadError::ConnectionLost(error) => {
            BrokenStream::Lost(closed(error).to_string()).into()
        }
        error => io::Error::other(error),
    }
}

fn write_error(error: quinn::WriteError) -> io::Error {
    match error {
        quinn::WriteError::Stopped(code) => BrokenStream::Reset(code_of(code)).into(),
        quinn::WriteError::ConnectionLost(error) => {
            BrokenStream::Lost(closed(error).to_string()).into()
        }
        quinn::WriteError::ClosedStream => {
            io::Error::new(io::ErrorKind::BrokenPipe, "written to after its end")
        }
        error => io::Error::other(error),
    }
}

impl AsyncRead for QuicStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = ready!(poll_proceed(cx));
        let (_, reader) = ready!(self.get_mut().poll_open(cx))?;
        let read = reader.poll_read(cx, buf);
        if read.is_ready() {
            progress.made_progress();
        }
        read
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = ready!(poll_proceed(cx));
        let (send, _) = ready!(self.get_mut().poll_open(cx))?;
        let written = Pin::new(send).poll_write(cx, data);
        if written.is_ready() {
            progress.made_progress();
        }
        written.map_err(write_error)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (send, _) = ready!(this.poll_open(cx))?;
        // An error means that it has ended already.
        let _ = send.finish();
        this.finished = true;
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for QuicStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.half {
            Half::Open(send, _) => write!(f, "QuicStream({})", send.id()),
            _ => f.write_str("QuicStream"),
        }
    }
}
