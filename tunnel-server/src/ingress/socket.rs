//! A caller's connection: bytes that were read ahead of it, and a parting that lets a last answer arrive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use edge_tunnel_proto::splice::Socket;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// How long, and for how many bytes, a caller that was refused may still talk before the connection drops.
const PARTING_TIME: Duration = Duration::from_secs(1);
const PARTING_BYTES: usize = 64 * 1024;

/// A connection of which some bytes were read ahead: they come first.
#[derive(Debug)]
pub struct Prefixed<C> {
    ahead: Bytes,
    io: C,
}

impl<C> Prefixed<C> {
    /// `io`, after `ahead`.
    pub const fn new(ahead: Bytes, io: C) -> Self {
        Self { ahead, io }
    }
}

impl<C: Socket> Socket for Prefixed<C> {
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

impl<C: AsyncRead + Unpin> AsyncRead for Prefixed<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Prefixed<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
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

/// Sends a last `answer` and parts. TCP resets a connection that is closed with unread bytes, and the reset
/// may overtake the answer: so what the caller still says is read for a moment.
pub(super) async fn part<C: Socket>(mut io: C, answer: &[u8]) {
    let parting = async {
        io.write_all(answer).await?;
        io.shutdown().await?;
        let mut sink = [0; 4096];
        let mut left = PARTING_BYTES;
        while left > 0 {
            let count = io.read(&mut sink).await?;
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count);
        }
        io::Result::Ok(())
    };
    // The caller may be gone or deaf; it was its answer.
    let _ = tokio::time::timeout(PARTING_TIME, parting).await;
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn bytes_read_ahead_come_first() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut io = Prefixed::new(Bytes::from_static(b"abc"), near);
        far.write_all(b"def").await.unwrap();
        far.shutdown().await.unwrap();
        let mut two = [0; 2];
        io.read_exact(&mut two).await.unwrap();
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        assert_eq!((&two, rest.as_slice()), (b"ab", b"cdef".as_slice()));
    }

    #[tokio::test]
    async fn a_last_answer_reaches_a_caller_that_still_talks() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(&[0; 10_000]).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let parting = tokio::spawn(async move { part(server, b"no").await });
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"no");
        drop(client);
        parting.await.unwrap();
    }
}
