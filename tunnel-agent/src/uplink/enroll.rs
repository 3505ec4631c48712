//! Enrolment from the agent's side: one request and one answer, on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::message::enroll::{EnrollRequest, EnrollResponse};
use edge_tunnel_proto::stream::{Framed, StreamError};
use edge_tunnel_proto::transport::Closed;
use rustls::ClientConfig;
use tracing::info;

use super::Uplink;
use super::dial::{DialError, Order};
use crate::config::TokenError;
use crate::identity::{IdentityError, Standing};

/// How long the server may take to issue a certificate.
const ANSWER: Duration = Duration::from_secs(30);

/// Why the node has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// There is no token to be had.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What the node holds or was given does not do.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No server answered.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The conversation broke.
    #[error("enrolment: {0}")]
    Stream(#[from] StreamError),
    /// The server ended the connection.
    #[error("enrolment: {0}")]
    Closed(Closed),
    /// No answer.
    #[error("enrolment: the server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl EnrollError {
    /// When the server wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Identity(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether the server has said that this node's registration is over.
    #[must_use]
    pub fn shut_out(&self) -> bool {
        matches!(
            self,
            Self::Identity(IdentityError::Refused {
                code: Code::Revoked,
                ..
            }) | Self::Closed(Closed::There {
                code: Code::Revoked,
                ..
            })
        )
    }
}

/// Makes sure that the node holds a certificate that a session can rest on: enrols with the join token, or renews an
/// expired one within its grace.
///
/// # Errors
/// When that fails; the text says what to do.
pub async fn ensure(uplink: &Uplink) -> Result<(), EnrollError> {
    let identity = &uplink.context.identity;
    match identity.standing() {
        Standing::Ready(_) => Ok(()),
        Standing::Expired(held) => {
            info!(node = %held.node, "the certificate has expired; renewing it");
            renew(uplink).await
        }
        Standing::Unenrolled => join(uplink).await,
    }
}

/// Renews the certificate on a connection of its own, as one that has expired must be: by this node's clock, or by the
/// server's.
///
/// # Errors
/// When that fails; the text says what to do.
pub async fn renew(uplink: &Uplink) -> Result<(), EnrollError> {
    let identity = &uplink.context.identity;
    let request = identity.late_renew_request()?;
    let outcome = obtain(uplink, identity.renew_config()?, &request).await;
    match &outcome {
        Ok(()) => uplink.context.metrics.renewal(Ok(())),
        Err(EnrollError::Identity(error)) => uplink.context.metrics.renewal(Err(error)),
        // No answer to count.
        Err(_) => {}
    }
    outcome
}

/// Enrols with the join token, whatever certificate the node holds; that one stays until there is another.
///
/// # Errors
/// When that fails; the text says what to do.
pub async fn join(uplink: &Uplink) -> Result<(), EnrollError> {
    let identity = &uplink.context.identity;
    let source = uplink.token.as_ref().ok_or(IdentityError::NotEnrolled)?;
    let token = source.token().await?;
    let request = identity.join_request(&token, uplink.told.as_ref(), &uplink.node.get())?;
    obtain(uplink, identity.join_config(&token), &request).await
}

async fn obtain(
    uplink: &Uplink,
    config: ClientConfig,
    request: &EnrollRequest,
) -> Result<(), EnrollError> {
    let response = ask(uplink, Arc::new(config), request).await?;
    let held = uplink.context.identity.take_in(response.outcome).await?;
    info!(node = %held.node, "enrolled");
    uplink.node.set(held.node);
    Ok(())
}

async fn ask(
    uplink: &Uplink,
    config: Arc<ClientConfig>,
    request: &EnrollRequest,
) -> Result<EnrollResponse, EnrollError> {
    let servers = uplink.endpoints.servers().await;
    let dialled = uplink
        .dialer
        .dial(&servers, Order::QuicFirst, &config)
        .await?;
    let lane = dialled.connected.lane;
    let exchange = async {
        let mut stream = Framed::new(
            lane.open()
                .map_err(|error| StreamError::Io(error.to_string()))?,
        );
        stream.send(Kind::Enroll, request).await?;
        let frame = stream.receive().await?;
        match frame.kind {
            Kind::Enrolled => Ok(frame.message()?),
            kind => Err(StreamError::Unexpected(kind)),
        }
    };
    let answer = tokio::time::timeout(ANSWER, exchange).await;
    let answer = match answer {
        Ok(Ok(answer)) => Ok(answer),
        // The server's last words on the connection say more than that the stream broke.
        Ok(Err(error)) => {
            match tokio::time::timeout(Duration::from_millis(200), lane.closed()).await {
                Ok(closed) => Err(EnrollError::Closed(closed)),
                Err(_elapsed) => Err(error.into()),
            }
        }
        Err(_elapsed) => Err(EnrollError::Timeout(ANSWER)),
    };
    lane.close(Code::Cancelled, "done");
    answer
}
