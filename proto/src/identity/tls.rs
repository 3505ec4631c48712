//! The TLS settings of every handshake: TLS 1.3 alone, the post-quantum hybrid key exchange first, no 0-RTT.
//!
//! Whoever dials in proves in the handshake that it holds the key of the certificate that it shows, and no more: who that
//! is, and whether it may come in, is judged once, after it ([`super::verify::check_client`] and the server's
//! classification), so that the words of that judgement reach the other side. Whoever dials out judges in the handshake.
//!
//! Resumption. A resumed handshake restores the peer's old chain without checking it, and rustls resumes across
//! application protocols. So the agents' port, where one setting serves sessions and enrolment, gives out no tickets.
//! The mutual-TLS way in speaks one protocol and may resume; classification checks the chain again each time.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use super::alpn::Alpn;
use super::bundle::{Bundle, Pin};
use super::handshake::{AnyClient, ServerVerifier};
use super::live::Live;
use super::name::TrustDomain;
use crate::clock::Clock;

/// What one side believes, all of it live: the bundle may be replaced and the clock's floor raised at any time.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The CAs.
    pub bundle: Live<Bundle>,
    /// Whose identities count.
    pub trust_domain: TrustDomain,
    /// The time.
    pub clock: Clock,
}

/// A client's certificate and key, replaced on renewal; `None` while there is none. The next dial uses what is there.
pub type LiveKey = Live<Option<Arc<CertifiedKey>>>;

/// The one set of algorithms: aws-lc-rs, X25519MLKEM768 preferred.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// An agent's settings for sessions: shows `key`, believes servers of the bundle.
#[must_use]
pub fn session_client(trust: &Trust, key: &LiveKey) -> ClientConfig {
    known_client(trust, key, Alpn::Session)
}

/// An agent's settings for a renewal outside a session, with a certificate that has expired.
#[must_use]
pub fn renew_client(trust: &Trust, key: &LiveKey) -> ClientConfig {
    known_client(trust, key, Alpn::Enroll)
}

fn known_client(trust: &Trust, key: &LiveKey, alpn: Alpn) -> ClientConfig {
    let mut config = client(&trust.clock)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier::new(trust)))
        .with_client_cert_resolver(Arc::new(ShownKey(key.clone())));
    finish_client(&mut config, alpn);
    config
}

/// An agent's settings for its first enrolment: shows nothing, believes the CA that the join token names.
#[must_use]
pub fn enroll_client(pin: Pin, trust_domain: &TrustDomain, clock: &Clock) -> ClientConfig {
    let verifier = ServerVerifier::pinned(pin, trust_domain, clock);
    let mut config = client(clock)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    finish_client(&mut config, Alpn::Enroll);
    config
}

fn client(clock: &Clock) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_details(provider(), Arc::new(OurTime(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has cipher suites for TLS 1.3")
}

fn finish_client(config: &mut ClientConfig, alpn: Alpn) {
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
}

/// The server's settings for agents, sessions and enrolment on one port: any certificate or none, no resumption. What the
/// handshake let through is for the server's classification to judge.
#[must_use]
pub fn agents_server(trust: &Trust, key: Arc<dyn ResolvesServerCert>) -> ServerConfig {
    let mut config = server(trust, AnyClient::or_nobody(), key);
    config.alpn_protocols = vec![
        Alpn::Session.as_bytes().to_vec(),
        Alpn::Enroll.as_bytes().to_vec(),
    ];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// The server's settings for the mutual-TLS way in: some certificate, always; whether it is a client's is for the server's
/// classification to judge. HTTP/1.1 by ALPN, or no ALPN at all: kube-apiserver offers none.
#[must_use]
pub fn connect_server(trust: &Trust, key: Arc<dyn ResolvesServerCert>) -> ServerConfig {
    let mut config = server(trust, AnyClient::mandatory(), key);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn server(trust: &Trust, verifier: AnyClient, key: Arc<dyn ResolvesServerCert>) -> ServerConfig {
    ServerConfig::builder_with_details(provider(), Arc::new(OurTime(trust.clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has cipher suites for TLS 1.3")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(key)
}

/// The clock as rustls asks for it.
#[derive(Debug)]
struct OurTime(Clock);

impl TimeProvider for OurTime {
    fn current_time(&self) -> Option<UnixTime> {
        self.0
            .now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

/// Shows the live key.
#[derive(Debug)]
struct ShownKey(LiveKey);

impl ResolvesClientCert for ShownKey {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        (*self.0.get()).clone()
    }

    fn has_certs(&self) -> bool {
        self.0.get().is_some()
    }
}
