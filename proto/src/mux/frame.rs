//! The frames between two muxes: an 8-byte header and at most 32 KiB.
//!
//! ```text
//!  0        1                        4                                8
//!  +--------+------------------------+--------------------------------+-- - - -
//!  |  kind  |  length (24 bit, BE)   |     stream (32 bit, BE)        |  payload
//!  +--------+------------------------+--------------------------------+-- - - -
//! ```

use bytes::{Buf as _, BufMut as _, BytesMut};

/// The size of a header, in bytes.
pub(super) const HEADER: usize = 8;

/// The most payload of one frame, in bytes. Small enough that what is urgent never waits behind much, large
/// enough that headers and wake-ups do not show.
pub(super) const PAYLOAD_MAX: usize = 32 * 1024;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of a stream.
    Data,
    /// The first bytes of a new stream. Carrying the opening in the first data frame leaves nothing that data
    /// could overtake.
    Open,
    /// The sender's direction of a stream ends.
    Fin,
    /// Both directions of a stream end at once; 4 bytes: why.
    Reset,
    /// 4 bytes: so many more bytes may be sent on the stream.
    Window,
    /// 8 bytes, to be sent back in a `Pong`; measures the round trip for window growth.
    Ping,
    /// The answer to `Ping`.
    Pong,
    /// The connection ends; 4 bytes: why, then a text.
    Close,
}

/// The other side broke the mux protocol; the connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a mux frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("a mux frame {kind:?} of {length} bytes")]
    Length { kind: Kind, length: usize },
    #[error("a mux frame {0:?} for stream {1}, which cannot be")]
    Stream(Kind, u32),
    #[error("stream {0} was sent more than its window")]
    WindowExceeded(u32),
    #[error("more than 2^32 bytes of window were granted on stream {0}")]
    WindowOverflow(u32),
    #[error("more streams were opened over the limit than can be answered")]
    FloodedWithOpens,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) length: usize,
    pub(super) stream: u32,
}

impl Header {
    /// Reads the header at the front of `buffer` without taking it out; `None` while it is not whole.
    pub(super) fn peek(buffer: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(mut head) = buffer.get(..HEADER) else {
            return Ok(None);
        };
        let word = head.get_u32();
        let stream = head.get_u32();
        let length = (word & 0x00ff_ffff) as usize;
        let kind = match word >> 24 {
            0 => Kind::Data,
            1 => Kind::Open,
            2 => Kind::Fin,
            3 => Kind::Reset,
            4 => Kind::Window,
            5 => Kind::Ping,
            6 => Kind::Pong,
            7 => Kind::Close,
            _ => return Err(FrameError::UnknownKind(word.to_be_bytes()[0])),
        };
        let fits = match kind {
            Kind::Data | Kind::Open => length <= PAYLOAD_MAX,
            Kind::Fin => length == 0,
            Kind::Reset | Kind::Window => length == 4,
            Kind::Ping | Kind::Pong => length == 8,
            Kind::Close => (4..=4 + crate::message::REASON_MAX).contains(&length),
        };
        if fits {
            Ok(Some(Self {
                kind,
                length,
                stream,
            }))
        } else {
            Err(FrameError::Length { kind, length })
        }
    }
}

/// Appends a frame.
pub(super) fn put(out: &mut BytesMut, kind: Kind, stream: u32, payload: &[u8]) {
    let number: u32 = match kind {
        Kind::Data => 0,
        Kind::Open => 1,
        Kind::Fin => 2,
        Kind::Reset => 3,
        Kind::Window => 4,
        Kind::Ping => 5,
        Kind::Pong => 6,
        Kind::Close => 7,
    };
    let length = u32::try_from(payload.len()).expect("payloads are capped at 32 KiB");
    out.reserve(HEADER + payload.len());
    out.put_u32(number << 24 | length);
    out.put_u32(stream);
    out.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_its_bytes() {
        let mut out = BytesMut::new();
        put(&mut out, Kind::Window, 5, &7u32.to_be_bytes());
        assert_eq!(&out[..], [4, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 7]);
        assert_eq!(
            Header::peek(&out).unwrap(),
            Some(Header {
                kind: Kind::Window,
                length: 4,
                stream: 5
            })
        );
        assert_eq!(Header::peek(&out[..7]).unwrap(), None);
    }

    #[test]
    fn impossible_lengths_and_kinds_are_errors_at_once() {
        for bytes in [
            [0, 0, 0x80, 1, 0, 0, 0, 1],
            [2, 0, 0, 1, 0, 0, 0, 1],
            [3, 0, 0, 3, 0, 0, 0, 1],
            [7, 0, 0, 0, 0, 0, 0, 0],
            [7, 1, 0, 0, 0, 0, 0, 0],
            [8, 0, 0, 0, 0, 0, 0, 1],
            [255; 8],
        ] {
            assert!(Header::peek(&bytes).is_err(), "{bytes:?}");
        }
    }
}
