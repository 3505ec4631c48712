//! Bytes that tell where they belong: what arrives is compared with what was sent, byte by byte.

use std::sync::LazyLock;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Its length shares no factor with any frame's or window's.
const BLOCK: usize = 1024 * 1024 + 7;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; BLOCK];
    StdRng::seed_from_u64(42).fill_bytes(&mut bytes);
    bytes
});

/// What stands at `at` of the stream `seed`: some bytes, at most `limit`.
fn slice(seed: usize, at: usize, limit: usize) -> &'static [u8] {
    let start = (seed * 7919 + at) % BLOCK;
    &BYTES[start..BLOCK.min(start + limit)]
}

/// Writes `total` bytes. The end is the caller's to say.
pub(crate) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    seed: usize,
    total: usize,
) -> std::io::Result<()> {
    let mut at = 0;
    while at < total {
        at += to.write(slice(seed, at, total - at)).await?;
    }
    to.flush().await
}

/// Reads exactly `total` bytes.
pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin), seed: usize, total: usize) {
    let mut buffer = vec![0; 256 * 1024];
    let mut at = 0;
    while at < total {
        let limit = buffer.len().min(total - at);
        let count = from.read(&mut buffer[..limit]).await.unwrap();
        assert!(count > 0, "an end after {at} of {total} bytes");
        check(seed, at, &buffer[..count]);
        at += count;
    }
}

/// Reads `total` bytes and then the end.
pub(crate) async fn read_to_end(from: &mut (impl AsyncRead + Unpin), seed: usize, total: usize) {
    read(from, seed, total).await;
    assert_eq!(
        from.read(&mut [0; 1]).await.unwrap(),
        0,
        "more than was sent"
    );
}

fn check(seed: usize, mut at: usize, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let expected = slice(seed, at, bytes.len());
        let (now, rest) = bytes.split_at(expected.len());
        assert!(now == expected, "other bytes than were sent, at {at}");
        at += now.len();
        bytes = rest;
    }
}
