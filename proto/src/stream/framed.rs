//! Whole frames over a raw stream: what control streams and enrolments are made of, and how every stream begins.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::StreamError;
use crate::code::Code;
use crate::codec::{self, HEADER, Header, Kind};
use crate::transport::LaneStream;

/// One frame, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Its content, at most 64 KiB.
    pub payload: Bytes,
}

impl Frame {
    /// Takes the frame at the front of `inbox` out; `None` while it is not whole.
    ///
    /// # Errors
    /// When what is there is no frame, or an `Abort`.
    pub(crate) fn take(inbox: &mut BytesMut) -> Result<Option<Self>, StreamError> {
        let Some(header) = Header::peek(inbox)? else {
            return Ok(None);
        };
        if inbox.len() < HEADER + header.length {
            return Ok(None);
        }
        inbox.advance(HEADER);
        let frame = Self {
            kind: header.kind,
            payload: inbox.split_to(header.length).freeze(),
        };
        match frame.kind {
            Kind::Abort => Err(StreamError::aborted(&frame.message()?)),
            _ => Ok(Some(frame)),
        }
    }

    /// Its content as the message that its kind promises.
    ///
    /// # Errors
    /// When the content is not that message.
    pub fn message<M: prost::Message + Default>(&self) -> Result<M, StreamError> {
        Ok(codec::message(self.kind, &self.payload)?)
    }
}

/// A raw stream that is read and written in whole frames.
#[derive(Debug)]
pub struct Framed {
    pub(super) io: LaneStream,
    pub(super) inbox: BytesMut,
    outbox: BytesMut,
}

impl Framed {
    /// Frames over `io`.
    #[must_use]
    pub fn new(io: LaneStream) -> Self {
        Self {
            io,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
        }
    }

    /// Sends a frame that holds `message`. Cancelled, the rest goes out with the next one.
    ///
    /// # Errors
    /// When the stream or its connection is broken.
    pub async fn send(
        &mut self,
        kind: Kind,
        message: &impl prost::Message,
    ) -> Result<(), StreamError> {
        codec::put_message(&mut self.outbox, kind, message);
        self.flush().await
    }

    /// Sends a frame without content.
    ///
    /// # Errors
    /// When the stream or its connection is broken.
    pub async fn send_empty(&mut self, kind: Kind) -> Result<(), StreamError> {
        codec::put(&mut self.outbox, kind, &[]);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), StreamError> {
        while !self.outbox.is_empty() {
            let count = self.io.write(&self.outbox).await?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.outbox.advance(count);
        }
        Ok(self.io.flush().await?)
    }

    /// The next frame. Cancel safe.
    ///
    /// # Errors
    /// When the stream is broken or broken off, ends, or carries what is no frame.
    pub async fn receive(&mut self) -> Result<Frame, StreamError> {
        loop {
            if let Some(frame) = Frame::take(&mut self.inbox)? {
                return Ok(frame);
            }
            if self.io.read_buf(&mut self.inbox).await? == 0 {
                return Err(StreamError::EndedEarly);
            }
        }
    }

    /// Waits for more bytes and keeps them for later; never ends while the other side just writes. Cancel safe.
    pub(super) async fn peek_more(&mut self) -> Result<(), StreamError> {
        const KEPT: usize = 2 * (HEADER + codec::DATA_MAX);
        if self.inbox.len() >= KEPT {
            // What is not read stays with the sender.
            std::future::pending::<()>().await;
        }
        match self.io.read_buf(&mut self.inbox).await? {
            0 => Err(StreamError::EndedEarly),
            _ => self.check_abort(),
        }
    }

    fn check_abort(&self) -> Result<(), StreamError> {
        let mut rest = &self.inbox[..];
        while let Some(header) = Header::peek(rest)? {
            let Some(payload) = rest.get(HEADER..HEADER + header.length) else {
                break;
            };
            if header.kind == Kind::Abort {
                return Err(StreamError::aborted(&codec::message(header.kind, payload)?));
            }
            rest = &rest[HEADER + header.length..];
        }
        Ok(())
    }

    /// Ends this side after what was sent; what the other side still sends is not read any more.
    pub async fn finish(mut self) {
        // An error means that nobody is there to see the end.
        let _ = self.io.shutdown().await;
    }

    /// Breaks the stream off; the other side reads `code`.
    pub fn reset(self, code: Code) {
        self.io.reset(code);
    }
}
