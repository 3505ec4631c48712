//! Frames: what every stream is made of, on every transport.
//!
//! ```text
//!  0        1                        4
//!  +--------+------------------------+-- - - -
//!  |  kind  |  length (24 bit, BE)   |  payload
//!  +--------+------------------------+-- - - -
//! ```
//!
//! `Data` and every message are at most 64 KiB; a longer length is an error before anything is allocated.

use bytes::{BufMut as _, BytesMut};

/// The size of a frame's header, in bytes.
pub const HEADER: usize = 4;

/// The most payload of one `Data` frame, in bytes.
pub const DATA_MAX: usize = 64 * 1024;

/// The most payload of any other frame, in bytes.
pub const MESSAGE_MAX: usize = 64 * 1024;

/// What a frame is. Numbers are part of the wire and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`crate::message::Open`]: the header of a stream.
    Open,
    /// No payload: the header was read; a dial follows.
    Accepted,
    /// No payload: the target is connected.
    Opened,
    /// [`crate::message::Refused`] instead of `Opened`.
    Refused,
    /// Bytes of the target or of the caller.
    Data,
    /// No payload: the sender's direction ends here, whole.
    End,
    /// [`crate::message::Abort`]: the stream is broken off.
    Abort,
    /// [`crate::message::Control`]: makes the stream that it starts a control stream.
    Control,
    /// [`crate::message::enroll::EnrollRequest`]: makes the stream that it starts an enrolment.
    Enroll,
    /// [`crate::message::enroll::EnrollResponse`].
    Enrolled,
    /// A kind of a newer version. 8 is reserved for `Ack{offset}`.
    Unknown(u8),
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Accepted => 2,
            Self::Opened => 3,
            Self::Refused => 4,
            Self::Data => 5,
            Self::End => 6,
            Self::Abort => 7,
            Self::Control => 16,
            Self::Enroll => 17,
            Self::Enrolled => 18,
            Self::Unknown(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Open,
            2 => Self::Accepted,
            3 => Self::Opened,
            4 => Self::Refused,
            5 => Self::Data,
            6 => Self::End,
            7 => Self::Abort,
            16 => Self::Control,
            17 => Self::Enroll,
            18 => Self::Enrolled,
            number => Self::Unknown(number),
        }
    }

    const fn limit(self) -> usize {
        match self {
            Self::Data => DATA_MAX,
            Self::Accepted | Self::Opened | Self::End => 0,
            _ => MESSAGE_MAX,
        }
    }
}

/// The other side broke the framing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A length above the cap of its kind.
    #[error("a frame {kind:?} announces {length} bytes, {limit} are allowed")]
    TooLong {
        /// The frame.
        kind: Kind,
        /// What it announced.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not the protobuf message that the frame's kind promises.
    #[error("a frame {kind:?} does not hold its message: {error}")]
    Undecodable {
        /// The frame.
        kind: Kind,
        /// What the decoder found.
        error: prost::DecodeError,
    },
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// How much payload follows, in bytes.
    pub length: usize,
}

impl Header {
    /// Reads the header at the front of `buffer`, which stays as it is; `None` while it is not whole.
    ///
    /// # Errors
    /// When the length is above the kind's cap.
    pub fn peek(buffer: &[u8]) -> Result<Option<Self>, CodecError> {
        let Some(head) = buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let kind = Kind::from_number(head[0]);
        let length = (u32::from_be_bytes(*head) & 0x00ff_ffff) as usize;
        let limit = kind.limit();
        if length > limit {
            return Err(CodecError::TooLong {
                kind,
                length,
                limit,
            });
        }
        Ok(Some(Self { kind, length }))
    }
}

/// Appends a frame with `payload`.
///
/// # Panics
/// When `payload` is longer than the cap of `kind`: callers split data and cap texts.
pub fn put(buffer: &mut BytesMut, kind: Kind, payload: &[u8]) {
    assert!(
        payload.len() <= kind.limit(),
        "{kind:?} with {} bytes",
        payload.len()
    );
    buffer.reserve(HEADER + payload.len());
    buffer.put_u8(kind.number());
    let length = u32::try_from(payload.len()).expect("capped at 64 KiB");
    buffer.put_slice(&length.to_be_bytes()[1..]);
    buffer.put_slice(payload);
}

/// Appends a frame that holds `message`.
///
/// # Panics
/// When the encoded message is above [`MESSAGE_MAX`].
pub fn put_message(buffer: &mut BytesMut, kind: Kind, message: &impl prost::Message) {
    put(buffer, kind, &message.encode_to_vec());
}

/// Reads the message of a frame.
///
/// # Errors
/// When `payload` is not that message.
pub fn message<M: prost::Message + Default>(kind: Kind, payload: &[u8]) -> Result<M, CodecError> {
    M::decode(payload).map_err(|error| CodecError::Undecodable { kind, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_number() {
        for number in 0..=u8::MAX {
            assert_eq!(Kind::from_number(number).number(), number);
        }
    }

    #[test]
    fn a_frame_is_read_only_when_its_header_is_whole() {
        let mut buffer = BytesMut::new();
        put(&mut buffer, Kind::Data, b"abc");
        assert_eq!(&buffer[..], [5, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(Header::peek(&buffer[..3]).unwrap(), None);
        assert_eq!(
            Header::peek(&buffer).unwrap(),
            Some(Header {
                kind: Kind::Data,
                length: 3
            })
        );
    }

    #[test]
    fn lengths_above_the_cap_are_refused_before_the_payload_comes() {
        for (bytes, ok) in [
            ([5, 1, 0, 0], true),
            ([5, 1, 0, 1], false),
            ([6, 0, 0, 1], false),
            ([1, 1, 0, 1], false),
            ([200, 0, 255, 255], true),
            ([200, 255, 255, 255], false),
        ] {
            assert_eq!(Header::peek(&bytes).is_ok(), ok, "{bytes:?}");
        }
    }
}
