//! Enrolment and renewal: evidence and a certificate request one way, a certificate the other.
//!
//! On a connection of its own ([`crate::identity::Alpn::Enroll`]) it is one [`EnrollRequest`] and one
//! [`EnrollResponse`]; on a session's control stream it is [`RenewRequest`] and [`RenewResponse`]. Field numbers are part
//! of the wire and never reused.

use std::fmt;
use std::time::Duration;

use prost::{Message, Oneof};

use crate::code::Code;

/// The largest message of enrolment, in bytes.
pub const ENROLL_MAX: usize = 64 * 1024;

/// The largest certificate request (PKCS #10, DER), in bytes.
pub const CSR_MAX: usize = 8 * 1024;

/// Asks for a certificate.
#[derive(Clone, PartialEq, Message)]
pub struct EnrollRequest {
    /// Why the server should issue one.
    #[prost(oneof = "Evidence", tags = "1, 2")]
    pub evidence: Option<Evidence>,
    /// The certificate request, PKCS #10 in DER (RFC 2986). It proves that the sender holds the key; the names in it
    /// mean nothing.
    #[prost(bytes = "vec", tag = "8")]
    pub csr: Vec<u8>,
    /// The node that the sender wants to be; may be empty where the evidence names it.
    #[prost(string, tag = "9")]
    pub node: String,
    /// The sender's version, for logs.
    #[prost(string, tag = "10")]
    pub version: String,
    /// What the sender's host is called: the node where neither the evidence nor [`EnrollRequest::node`] names one.
    #[prost(string, tag = "11")]
    pub host: String,
}

/// What speaks for the sender. Kinds that this build does not know read as no evidence, and are answered
/// [`Code::Unsupported`].
#[derive(Clone, PartialEq, Oneof)]
pub enum Evidence {
    /// A join token.
    #[prost(message, tag = "1")]
    JoinToken(JoinToken),
    /// The client certificate that the connection itself showed.
    #[prost(message, tag = "2")]
    Renew(Renew),
}

/// The two parts of a join token that the server knows. `Debug` masks the secret.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct JoinToken {
    /// The token's id, as text.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its secret.
    #[prost(bytes = "vec", tag = "2")]
    pub secret: Vec<u8>,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .field("secret", &"***")
            .finish()
    }
}

/// Stands for the certificate of the connection; says nothing itself.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Renew {}

/// The answer to [`EnrollRequest`].
#[derive(Clone, PartialEq, Message)]
pub struct EnrollResponse {
    /// How it went; missing in an answer that this build does not understand.
    #[prost(oneof = "Outcome", tags = "1, 2")]
    pub outcome: Option<Outcome>,
}

/// Asks for a new certificate over a session, in place of the one that the session rests on.
#[derive(Clone, PartialEq, Message)]
pub struct RenewRequest {
    /// The certificate request, as in [`EnrollRequest::csr`].
    #[prost(bytes = "vec", tag = "1")]
    pub csr: Vec<u8>,
}

/// The answer to [`RenewRequest`].
#[derive(Clone, PartialEq, Message)]
pub struct RenewResponse {
    /// How it went; missing in an answer that this build does not understand.
    #[prost(oneof = "Outcome", tags = "1, 2")]
    pub outcome: Option<Outcome>,
}

/// How an enrolment or a renewal went.
#[derive(Clone, PartialEq, Oneof)]
pub enum Outcome {
    /// A certificate.
    #[prost(message, tag = "1")]
    Issued(Issued),
    /// None, and why.
    #[prost(message, tag = "2")]
    Refusal(Refusal),
}

/// A certificate and what goes with it.
#[derive(Clone, PartialEq, Message)]
pub struct Issued {
    /// The certificate, then whatever stands between it and a CA of the bundle; DER.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub chain: Vec<Vec<u8>>,
    /// The trust bundle of the moment; DER.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub bundle: Vec<Vec<u8>>,
}

/// Why there is no certificate.
#[derive(Clone, PartialEq, Message)]
pub struct Refusal {
    /// A [`Code`] as its number.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// For the person who reads the agent's log: what failed and what to do.
    #[prost(string, tag = "2")]
    pub message: String,
    /// After how many seconds to try again; 0: not before someone has done something about it.
    #[prost(uint32, tag = "3")]
    pub retry_after_seconds: u32,
}

impl Refusal {
    /// A refusal for good (`retry_after` is `None`), or for now.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let seconds = retry_after.map_or(0, |after| {
            u32::try_from(after.as_secs()).unwrap_or(u32::MAX).max(1)
        });
        Self {
            code: code.number(),
            message: message.into(),
            retry_after_seconds: seconds,
        }
    }

    /// When to try again; `None`: not before someone has done something about it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.retry_after_seconds > 0).then(|| Duration::from_secs(self.retry_after_seconds.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let request = EnrollRequest {
            evidence: Some(Evidence::JoinToken(JoinToken {
                id: "ab".to_owned(),
                secret: vec![1, 2],
            })),
            csr: vec![0x30],
            node: "n".to_owned(),
            version: "0.1.0".to_owned(),
            host: "h".to_owned(),
        };
        let bytes =
            b"\x0a\x08\x0a\x02ab\x12\x02\x01\x02\x42\x01\x30\x4a\x01n\x52\x050.1.0\x5a\x01h";
        assert_eq!(request.encode_to_vec(), bytes);
        assert_eq!(EnrollRequest::decode(&bytes[..]).unwrap(), request);

        let renew = EnrollRequest {
            evidence: Some(Evidence::Renew(Renew {})),
            ..EnrollRequest::default()
        };
        assert_eq!(renew.encode_to_vec(), b"\x12\x00");
        assert_eq!(
            RenewRequest { csr: vec![0x30] }.encode_to_vec(),
            b"\x0a\x01\x30"
        );

        let issued = Issued {
            chain: vec![vec![1]],
            bundle: vec![vec![2], vec![3]],
        };
        let response = EnrollResponse {
            outcome: Some(Outcome::Issued(issued.clone())),
        };
        let bytes = b"\x0a\x09\x0a\x01\x01\x12\x01\x02\x12\x01\x03";
        assert_eq!(response.encode_to_vec(), bytes);
        assert_eq!(
            RenewResponse {
                outcome: Some(Outcome::Issued(issued))
            }
            .encode_to_vec(),
            bytes
        );

        let refusal = Refusal::new(Code::NotAllowed, "no", Some(Duration::from_secs(5)));
        let response = EnrollResponse {
            outcome: Some(Outcome::Refusal(refusal)),
        };
        assert_eq!(
            response.encode_to_vec(),
            b"\x12\x08\x08\x04\x12\x02no\x18\x05"
        );
    }

    #[test]
    fn evidence_of_a_later_version_reads_as_none() {
        let later = b"\x1a\x02\x0a\x00\x42\x01\x30";
        let request = EnrollRequest::decode(&later[..]).unwrap();
        assert_eq!((request.evidence, request.csr), (None, vec![0x30]));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let token = JoinToken {
            id: "ab".to_owned(),
            secret: vec![171; 4],
        };
        let shown = format!("{:?}", Evidence::JoinToken(token));
        assert!(shown.contains("***") && !shown.contains("171"), "{shown}");
    }

    #[test]
    fn a_refusal_for_now_is_never_one_for_good() {
        assert_eq!(
            Refusal::new(Code::Overloaded, "", Some(Duration::ZERO)).retry_after(),
            Some(Duration::from_secs(1))
        );
        assert_eq!(Refusal::new(Code::Revoked, "", None).retry_after(), None);
    }
}
