//! One QUIC connection.

use std::sync::{Arc, OnceLock};

use quinn::VarInt;
use tokio::sync::Semaphore;

use super::super::{Closed, Limits, OpenError, Traffic};
use super::readers::Readers;
use super::share::{Purpose, Shares};
use super::stream::QuicStream;
use crate::budget::Budget;
use crate::code::Code;
use crate::message::{REASON_MAX, capped};
use crate::mux::Side;

/// One QUIC connection. Clones share it; when the last one drops, it closes.
#[derive(Debug, Clone)]
pub struct QuicLane {
    link: Arc<Link>,
    outbound: Arc<Semaphore>,
    side: Side,
    limits: Limits,
}

/// The connection, which closes when this drops, whether or not streams are open: quinn itself would wait for them.
#[derive(Debug)]
struct Link {
    connection: quinn::Connection,
    shares: Arc<Shares>,
    readers: Arc<Readers>,
    /// What this side said when it closed it.
    goodbye: OnceLock<(Code, String)>,
}

impl Link {
    fn close(&self, code: Code, reason: &str) {
        let reason = capped(reason, REASON_MAX);
        // What is said first holds, here as in quinn.
        if self.goodbye.set((code, reason.to_owned())).is_ok() {
            self.connection
                .close(VarInt::from_u32(code.number()), reason.as_bytes());
        }
    }

    fn closed(&self, error: quinn::ConnectionError) -> Closed {
        match (error, self.goodbye.get()) {
            (quinn::ConnectionError::LocallyClosed, Some((code, reason))) => Closed::Here {
                code: *code,
                reason: reason.clone(),
            },
            (error, _) => closed(error),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close(Code::Cancelled, "no longer used");
    }
}

impl QuicLane {
    /// `None` when the memory that may be promised is used up.
    pub(super) fn new(
        connection: &quinn::Connection,
        side: Side,
        limits: Limits,
        budget: &Budget,
    ) -> Option<Self> {
        let shares = Shares::new(connection.clone(), budget)?;
        Some(Self {
            link: Arc::new(Link {
                readers: Readers::new(connection.clone(), Arc::clone(&shares)),
                shares,
                connection: connection.clone(),
                goodbye: OnceLock::new(),
            }),
            outbound: Arc::new(Semaphore::new(limits.outbound)),
            side,
            limits,
        })
    }

    pub(in crate::transport) fn open(&self) -> Result<QuicStream, OpenError> {
        let permit = Arc::clone(&self.outbound)
            .try_acquire_owned()
            .map_err(|_none_left| OpenError::TooMany(self.limits.outbound))?;
        if let Some(error) = self.link.connection.close_reason() {
            return Err(self.link.closed(error).into());
        }
        let purpose = match self.side {
            Side::Server => Purpose::Traffic,
            Side::Client => Purpose::Control,
        };
        let share = self.link.shares.take(purpose).ok_or(OpenError::NoMemory)?;
        Ok(QuicStream::opening(&self.link.readers, share, permit))
    }

    pub(in crate::transport) async fn accept(&self) -> Result<QuicStream, Closed> {
        let purpose = match self.side {
            Side::Server => Purpose::Control,
            Side::Client => Purpose::Traffic,
        };
        loop {
            let (mut send, mut recv) = match self.link.connection.accept_bi().await {
                Ok(accepted) => accepted,
                Err(error) => return Err(self.link.closed(error)),
            };
            if let Some(share) = self.link.shares.take(purpose) {
                return Ok(QuicStream::accepted(&self.link.readers, share, send, recv));
            }
            // An error means that it has ended already.
            let code = VarInt::from_u32(Code::Overloaded.number());
            let _ = (send.reset(code), recv.stop(code));
        }
    }

    pub(in crate::transport) fn close(&self, code: Code, reason: &str) {
        self.link.close(code, reason);
    }

    pub(in crate::transport) async fn closed(&self) -> Closed {
        self.link.closed(self.link.connection.closed().await)
    }

    pub(in crate::transport) fn traffic(&self) -> Traffic {
        let stats = self.link.connection.stats();
        Traffic {
            heard: stats.udp_rx.datagrams,
            said: stats.frame_tx.stream,
        }
    }
}

pub(super) fn closed(error: quinn::ConnectionError) -> Closed {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => Closed::There {
            code: Code::from_number(
                u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
            ),
            reason: String::from_utf8_lossy(&close.reason).replace(char::is_control, " "),
        },
        quinn::ConnectionError::LocallyClosed => Closed::Here {
            code: Code::Cancelled,
            reason: "closed by this side".to_owned(),
        },
        error => Closed::Lost(error.to_string()),
    }
}
