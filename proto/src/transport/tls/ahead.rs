//! Reads a socket in large pieces. rustls asks for 4 KiB at a time, so that a buffer under it saves most of the system
//! calls; and unlike [`tokio::io::BufReader`]'s this one is there only while bytes are: what thousands of idle
//! connections kept resident was these buffers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// How much is read at once, in bytes.
const PIECE: usize = 128 * 1024;

/// A socket and what was read of it ahead.
#[derive(Debug)]
pub(super) struct Ahead<I> {
    io: I,
    bytes: BytesMut,
}

impl<I> Ahead<I> {
    pub(super) fn new(io: I) -> Self {
        Self {
            io,
            bytes: BytesMut::new(),
        }
    }

    pub(super) const fn get_ref(&self) -> &I {
        &self.io
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Ahead<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.bytes.is_empty() {
            this.bytes.reserve(PIECE);
            let read = poll_read_buf(Pin::new(&mut this.io), cx, &mut this.bytes);
            if this.bytes.is_empty() {
                this.bytes = BytesMut::new();
            }
            ready!(read)?;
        }
        let count = this.bytes.len().min(buf.remaining());
        buf.put_slice(&this.bytes[..count]);
        this.bytes.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Ahead<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_come_in_order_and_a_quiet_socket_holds_no_buffer() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let mut near = Ahead::new(near);
        let mut piece = [0; 4096];
        for round in 0..3_u8 {
            let sent: Vec<u8> = (0..300_000_u32)
                .map(|at| at.to_le_bytes()[0] ^ round)
                .collect();
            far.write_all(&sent).await.unwrap();
            let mut got = Vec::new();
            while got.len() < sent.len() {
                let count = near.read(&mut piece).await.unwrap();
                got.extend_from_slice(&piece[..count]);
            }
            assert!(got == sent);
            let quiet = tokio::time::timeout(Duration::from_secs(1), near.read(&mut piece));
            assert!(quiet.await.is_err());
            assert_eq!(near.bytes.capacity(), 0);
        }
        drop(far);
        assert_eq!(near.read(&mut piece).await.unwrap(), 0);
    }
}
