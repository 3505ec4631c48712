//! Why a stream is broken.

use std::io;

use crate::code::Code;
use crate::codec::{CodecError, Kind};
use crate::message::{Abort, Malformed};
use crate::transport::BrokenStream;

/// Why a stream is broken. Travels inside [`io::Error`]; [`StreamError::of`] finds it there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The other side broke it off and said why.
    #[error("broken off by the other side: {code}: {reason}")]
    Aborted {
        /// Why.
        code: Code,
        /// In words; may be empty.
        reason: String,
    },
    /// The transport broke.
    #[error(transparent)]
    Transport(#[from] BrokenStream),
    /// The transport ended, the stream had not.
    #[error("the stream was cut before its end")]
    EndedEarly,
    /// The other side sent what is no frame.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The other side sent a message that makes no sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A frame that cannot come here.
    #[error("a frame {0:?} where none is expected")]
    Unexpected(Kind),
    /// The operating system.
    #[error("{0}")]
    Io(String),
}

impl StreamError {
    pub(super) fn aborted(abort: &Abort) -> Self {
        let reason = abort.reason.replace(char::is_control, " ");
        Self::Aborted {
            code: Code::from_number(abort.code),
            reason,
        }
    }

    /// The reason as a code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Aborted { code, .. } | Self::Transport(BrokenStream::Reset(code)) => *code,
            Self::Transport(BrokenStream::Lost(_)) | Self::EndedEarly | Self::Io(_) => {
                Code::TransportLost
            }
            Self::Codec(_) | Self::Malformed(_) | Self::Unexpected(_) => Code::Protocol,
        }
    }

    /// The stream's own error in an [`io::Error`] of a [`Stream`](super::Stream), or the error itself where it is another's.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<Self>()) {
            return error.clone();
        }
        match inner.and_then(|inner| inner.downcast_ref::<BrokenStream>()) {
            Some(broken) => Self::Transport(broken.clone()),
            None => Self::Io(error.to_string()),
        }
    }
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        Self::of(&error)
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Codec(_) | StreamError::Malformed(_) | StreamError::Unexpected(_) => {
                io::ErrorKind::InvalidData
            }
            StreamError::EndedEarly => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::ConnectionReset,
        };
        Self::new(kind, error)
    }
}
