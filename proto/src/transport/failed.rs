//! Why a handshake came to nothing, in words that are the same over both transports.

use std::io;
use std::time::Duration;

use rustls::{CertificateError, InvalidMessage, OtherError};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The operating system said no, or the other side something that is no TLS 1.3.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something else than TLS came back from a server.
    #[error("{0}: no TLS is spoken there; is it the port of the server's --agents-listen (10262)?")]
    NoTls(io::Error),
    /// A server hung up on the ClientHello.
    #[error(
        "the other side hung up before its first word of TLS: a server does that to more handshakes at once than it can \
         bear, a balancer while it has no server"
    )]
    TurnedAway,
    /// The other side's certificate is not believed here.
    #[error("{0}")]
    Certificate(String),
    /// The other side ended the handshake by a TLS alert of this number (RFC 8446, 6).
    #[error("{}", alert(*.0))]
    Alert(u8),
    /// The QUIC handshake failed in another way.
    #[error("QUIC handshake: {0}")]
    Quic(quinn::ConnectionError),
    /// The QUIC connection could not even be begun.
    #[error("QUIC: {0}")]
    QuicConnect(#[from] quinn::ConnectError),
    /// The memory that may be promised to peers is used up.
    #[error("the memory that may be promised for streams is used up; try again later")]
    NoMemory,
    /// It took too long.
    #[error("no handshake within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl HandshakeError {
    /// From what rustls says through tokio.
    pub(super) fn of_tls(error: io::Error) -> Self {
        use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Invalid};
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(InvalidCertificate(CertificateError::Other(OtherError(said)))) => {
                Self::Certificate(said.to_string())
            }
            Some(AlertReceived(alert)) => Self::Alert((*alert).into()),
            // rustls speaks of corrupt messages where a plain-text port answers.
            Some(Invalid(InvalidMessage::InvalidContentType)) => Self::NoTls(error),
            _ => Self::Io(error),
        }
    }
}

impl From<quinn::ConnectionError> for HandshakeError {
    fn from(error: quinn::ConnectionError) -> Self {
        match &error {
            // A TLS alert travels as a number from 0x100 on (RFC 9001, 4.8).
            quinn::ConnectionError::ConnectionClosed(close) => {
                match u64::from(close.error_code).checked_sub(0x100) {
                    Some(number) => u8::try_from(number).map_or(Self::Quic(error), Self::Alert),
                    None => Self::Quic(error),
                }
            }
            // quinn keeps nothing of rustls' error but its text.
            quinn::ConnectionError::TransportError(ours) => match sentence(&ours.reason) {
                Some(said) => Self::Certificate(said.to_owned()),
                None => Self::Quic(error),
            },
            _ => Self::Quic(error),
        }
    }
}

/// What a verifier of ours said, out of rustls' wrapping.
fn sentence(reason: &str) -> Option<&str> {
    reason
        .strip_prefix("invalid peer certificate: Other(OtherError(")?
        .strip_suffix("))")
}

/// What an alert means to whoever receives it here.
fn alert(number: u8) -> String {
    let (name, words) = match number {
        42 => (
            "bad_certificate",
            "does not believe the certificate of this side; its log says why",
        ),
        45 => (
            "certificate_expired",
            "does not believe the certificate of this side; its log says why",
        ),
        46 => (
            "certificate_unknown",
            "does not believe the certificate of this side; its log says why",
        ),
        48 => (
            "unknown_ca",
            "does not believe the certificate of this side; its log says why",
        ),
        70 => ("protocol_version", "speaks no TLS 1.3"),
        112 => (
            "unrecognized_name",
            "serves nodes by their names, not agents: it may be the server's `tls` way in (10263); agents dial the port of \
             --agents-listen (10262)",
        ),
        116 => ("certificate_required", "wants a certificate"),
        120 => (
            "no_application_protocol",
            "speaks none of the protocols of an agents' port: it is another service, or an edge-tunnel of another \
             generation",
        ),
        _ => return format!("the other side ended the handshake with the TLS alert {number}"),
    };
    format!("the other side {words} (TLS alert {name})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_says_what_it_means() {
        for (number, words) in [
            (48, "does not believe"),
            (112, "--agents-listen (10262)"),
            (120, "another service"),
            (80, "the TLS alert 80"),
        ] {
            let said = HandshakeError::Alert(number).to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
