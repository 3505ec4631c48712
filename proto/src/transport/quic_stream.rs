//! One QUIC stream as bytes in both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use quinn::VarInt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::quic::closed;
use super::{BrokenStream, Closed};
use crate::code::Code;

type Opening = Pin<
    Box<dyn Future<Output = Result<(quinn::SendStream, quinn::RecvStream), Closed>> + Send + Sync>,
>;

enum Half {
    /// Waits for the other side's credit for one more stream, which it gives as soon as it has taken note of the end
    /// of an earlier one.
    Opening(Opening),
    Open(quinn::SendStream, quinn::RecvStream),
    Failed(Closed),
}

/// One bidirectional QUIC stream. Dropping it before both directions have ended resets it.
pub struct QuicStream {
    half: Half,
    finished: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl QuicStream {
    pub(super) fn opening(connection: quinn::Connection, permit: OwnedSemaphorePermit) -> Self {
        Self {
            half: Half::Opening(Box::pin(open(connection))),
            finished: false,
            _permit: Some(permit),
        }
    }

    pub(super) fn accepted(send: quinn::SendStream, recv: quinn::RecvStream) -> Self {
        Self {
            half: Half::Open(send, recv),
            finished: false,
            _permit: None,
        }
    }

    /// Ends both directions at once; the other side reads `code`.
    pub fn reset(mut self, code: Code) {
        self.stop(code);
    }

    fn stop(&mut self, code: Code) {
        if let Half::Open(send, recv) = &mut self.half {
            // Both answer with an error when that direction has ended already, which is as good. A direction that was
            // finished is left to arrive: a reset would take back what is on its way.
            if !self.finished {
                let _ = send.reset(VarInt::from_u32(code.number()));
            }
            let _ = recv.stop(VarInt::from_u32(code.number()));
        }
    }

    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(&mut quinn::SendStream, &mut quinn::RecvStream)>> {
        if let Half::Opening(opening) = &mut self.half {
            self.half = match ready!(opening.as_mut().poll(cx)) {
                Ok((send, recv)) => Half::Open(send, recv),
                Err(closed) => Half::Failed(closed),
            };
        }
        Poll::Ready(match &mut self.half {
            Half::Open(send, recv) => Ok((send, recv)),
            Half::Failed(closed) => Err(BrokenStream::Lost(closed.to_string()).into()),
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
) -> Result<(quinn::SendStream, quinn::RecvStream), Closed> {
    connection.open_bi().await.map_err(closed)
}

fn code_of(number: VarInt) -> Code {
    Code::from_number(u32::try_from(number.into_inner()).unwrap_or(u32::MAX))
}

fn read_error(error: quinn::ReadError) -> io::Error {
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
        let (_, recv) = ready!(self.get_mut().poll_open(cx))?;
        recv.poll_read_buf(cx, buf).map_err(read_error)
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (send, _) = ready!(self.get_mut().poll_open(cx))?;
        Pin::new(send).poll_write(cx, data).map_err(write_error)
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
