//! The same bytes in pieces: what reads from a socket must find in them what it finds in the whole.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

use super::Mutator;

/// Cuts `bytes` into pieces, whose sizes depend on the bytes alone: single bytes, some at a time, or most at once. Of
/// much there are some hundred pieces.
pub fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let front = &bytes[..bytes.len().min(64)];
    let mut sizes = Mutator::new(fingerprint(front) ^ bytes.len() as u64);
    let most = [1, 3, 16, 200, 4096][sizes.below(5)].max(bytes.len() / 100);
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let size = (1 + sizes.below(most)).min(rest.len());
        let (piece, left) = rest.split_at(size);
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A number that depends on all of these bytes (FNV-1a).
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Reads as a socket does from which these pieces come, and then the end. Never waits.
#[derive(Debug)]
pub struct Pieces<'a>(Vec<&'a [u8]>);

impl<'a> Pieces<'a> {
    /// All in one.
    #[must_use]
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self(vec![bytes])
    }

    /// As [`pieces`] cuts them.
    #[must_use]
    pub fn cut(bytes: &'a [u8]) -> Self {
        let mut all: Vec<_> = pieces(bytes).collect();
        all.reverse();
        Self(all)
    }

    /// What was not read.
    #[must_use]
    pub fn rest(&self) -> Vec<u8> {
        self.0.iter().rev().copied().flatten().copied().collect()
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.0.last().is_some_and(|piece| piece.is_empty()) {
            self.0.pop();
        }
        if let Some(piece) = self.0.last_mut() {
            let (now, later) = piece.split_at(piece.len().min(buf.remaining()));
            buf.put_slice(now);
            *piece = later;
        }
        Poll::Ready(Ok(()))
    }
}

/// What a future gives that never waits.
///
/// # Panics
/// When it waits.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("it reads what is there"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn pieces_are_the_whole() {
        for length in [0, 1, 2, 100, 10_000] {
            let bytes: Vec<_> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
            assert_eq!(pieces(&bytes).collect::<Vec<_>>().concat(), bytes);
            let (mut read, mut source) = (Vec::new(), Pieces::cut(&bytes));
            now(source.read_to_end(&mut read)).unwrap();
            assert_eq!((read, source.rest()), (bytes, Vec::new()));
        }
    }
}
