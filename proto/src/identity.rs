//! Who is who on the wire: what a certificate says, which certificates are believed, and the TLS settings of every
//! handshake. Both ends share it; what a server does about enrolment and what an agent keeps on its disk is theirs.
//!
//! In: certificates, a trust bundle, the clock. Out: an [`Identity`], or an error that names whose clock or whose
//! certificate is wrong.

mod alpn;
mod bundle;
mod certificate;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod live;
mod name;
pub mod renewal;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod verify;

pub use alpn::Alpn;
pub use bundle::{Authority, BUNDLE_MAX, Bundle, BundleError, Pin, PinError, certificates_to_pem};
pub use certificate::{BACKDATE, Certificate, ReadError, rfc3339};
pub use files::{TEMPORARY, write_private};
pub use live::Live;
pub use name::{ClientName, Identity, NameError, TrustDomain};
pub use tls::{
    LiveKey, Trust, agents_server, connect_server, enroll_client, provider, renew_client,
    session_client,
};
pub use token::{SECRET_LEN, Secret, Token, TokenError, TokenId};
pub use verify::{Apart, Role, VerifyError, check_client, check_server};
