//! How a stream begins: header, `Accepted`, then `Opened` or `Refused`.

use super::framed::Framed;
use super::{Stream, StreamError};
use crate::code::Code;
use crate::codec::Kind;
use crate::message::{self, OpenRequest, Refused, enroll::EnrollRequest};
use crate::transport::{self, Lane, LaneStream};

/// Why a stream did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    /// The lane has ended, or has no room for one more stream.
    #[error(transparent)]
    Lane(#[from] transport::OpenError),
    /// The other side said no.
    #[error("{message}")]
    Refused {
        /// Why.
        code: Code,
        /// In words.
        message: String,
    },
    /// The stream broke before it was open.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// A stream whose header is on its way.
#[derive(Debug)]
pub struct Opening {
    framed: Framed,
    accepted: bool,
}

impl Opening {
    /// Opens a stream on `lane` and sends its header.
    ///
    /// # Errors
    /// When the lane has ended or is full.
    pub async fn start(lane: &Lane, request: &OpenRequest) -> Result<Self, OpenFailed> {
        let mut framed = Framed::new(lane.open()?);
        framed.send(Kind::Open, &request.to_message()).await?;
        Ok(Self {
            framed,
            accepted: false,
        })
    }

    /// Waits until the other side has read the header: a sign of life, which comes before any dial. Cancel safe.
    ///
    /// # Errors
    /// When it refuses, or the stream breaks.
    pub async fn accepted(&mut self) -> Result<(), OpenFailed> {
        if !self.accepted {
            self.expect(Kind::Accepted).await?;
            self.accepted = true;
        }
        Ok(())
    }

    /// Waits until the target is connected.
    ///
    /// # Errors
    /// When the other side refuses, or the stream breaks.
    pub async fn opened(mut self) -> Result<Stream, OpenFailed> {
        self.accepted().await?;
        self.expect(Kind::Opened).await?;
        Ok(Stream::new(self.framed))
    }

    async fn expect(&mut self, kind: Kind) -> Result<(), OpenFailed> {
        let frame = self.framed.receive().await?;
        if frame.kind == kind {
            return Ok(());
        }
        if frame.kind == Kind::Refused {
            let refused: Refused = frame.message()?;
            return Err(OpenFailed::Refused {
                code: Code::from_number(refused.code),
                message: refused.message,
            });
        }
        Err(StreamError::Unexpected(frame.kind).into())
    }
}

/// What the other side wants with a stream that it opened.
#[derive(Debug)]
pub enum Incoming {
    /// A connection to a target.
    Open(Answer),
    /// A control stream, with its first message.
    Control(Framed, message::Control),
    /// An enrolment.
    Enroll(Framed, EnrollRequest),
}

impl Incoming {
    /// Reads the header. The caller bounds the time. What this build does not know is answered
    /// `Refused{UNSUPPORTED}` here.
    ///
    /// # Errors
    /// When the stream breaks, or its header is malformed or unknown.
    pub async fn read(io: LaneStream) -> Result<Self, StreamError> {
        let mut framed = Framed::new(io);
        let frame = framed.receive().await?;
        match frame.kind {
            Kind::Open => match frame.message::<message::Open>()?.parse() {
                Ok(Some(request)) => return Ok(Self::Open(Answer { framed, request })),
                Ok(None) => {}
                Err(malformed) => {
                    refuse(framed, Code::Protocol, &malformed.to_string()).await;
                    return Err(malformed.into());
                }
            },
            Kind::Control => return Ok(Self::Control(framed, frame.message()?)),
            Kind::Enroll => return Ok(Self::Enroll(framed, frame.message()?)),
            _ => {}
        }
        refuse(
            framed,
            Code::Unsupported,
            "this build does not know that kind of stream",
        )
        .await;
        Err(StreamError::Unexpected(frame.kind))
    }
}

async fn refuse(mut framed: Framed, code: Code, message: &str) {
    // An error means that the opener is gone, and with it whoever would read this.
    if framed
        .send(Kind::Refused, &Refused::new(code, message))
        .await
        .is_ok()
    {
        framed.finish().await;
    }
}

/// A stream that waits for this side's answer.
#[derive(Debug)]
pub struct Answer {
    framed: Framed,
    /// What is asked for.
    pub request: OpenRequest,
}

impl Answer {
    /// Says that the header was read. To be said at once, before policy and dial.
    ///
    /// # Errors
    /// When the opener is gone.
    pub async fn accepted(&mut self) -> Result<(), StreamError> {
        self.framed.send_empty(Kind::Accepted).await
    }

    /// Says that the target is connected.
    ///
    /// # Errors
    /// When the opener is gone.
    pub async fn opened(mut self) -> Result<Stream, StreamError> {
        self.framed.send_empty(Kind::Opened).await?;
        Ok(Stream::new(self.framed))
    }

    /// Says no.
    pub async fn refuse(self, code: Code, message: &str) {
        refuse(self.framed, code, message).await;
    }

    /// Ends when the opener has given up, so that a dial can be dropped with it.
    pub async fn abandoned(&mut self) -> StreamError {
        // The opener's bytes may follow its header without waiting: they stay in the inbox, at most one window.
        loop {
            if let Err(error) = self.framed.peek_more().await {
                return error;
            }
        }
    }
}
