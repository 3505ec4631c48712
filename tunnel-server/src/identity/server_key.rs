//! The certificate that this server shows: made in memory, made anew when it has lived a third of its time or the CA
//! has changed. It is done when a handshake asks, so a server that slept for a month shows a fresh one at once.

use std::sync::Arc;
use std::time::SystemTime;

use edge_tunnel_proto::identity::Pin;
use edge_tunnel_proto::sync::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::ca::{Ca, CaError, Phase};

/// A server's certificate, always fresh.
#[derive(Debug)]
pub(super) struct ServerKey {
    ca: Arc<Ca>,
    names: Vec<String>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    key: Arc<CertifiedKey>,
    made_at: SystemTime,
    renew_at: SystemTime,
    /// The CA, and the phase of its rotation, for which it was made: both say what stands behind the certificate.
    made_for: (Pin, Phase),
}

impl Held {
    fn new(ca: &Ca, names: &[String]) -> Result<Self, CaError> {
        // Asked before the key is made: should the CA change in between, the next handshake makes another.
        let (made_for, made_at) = (made_for(ca), ca.trust().clock.now());
        let (key, renew_at) = ca.issue_server(names)?;
        Ok(Self {
            key,
            made_at,
            renew_at,
            made_for,
        })
    }
}

fn made_for(ca: &Ca) -> (Pin, Phase) {
    let shown = ca.show();
    (shown.signs, shown.phase)
}

impl ServerKey {
    /// Makes the first one. `names` are DNS names and addresses beside the identity.
    pub(super) fn new(ca: &Arc<Ca>, names: &[String]) -> Result<Self, CaError> {
        let held = Mutex::new(Held::new(ca, names)?);
        Ok(Self {
            ca: Arc::clone(ca),
            names: names.to_vec(),
            held,
        })
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        let mut held = self.held.lock();
        let now = self.ca.trust().clock.now();
        // Also after a clock that was set back: what it made while it was years ahead is not valid for years.
        let fresh = (held.made_at..held.renew_at).contains(&now);
        if !fresh || held.made_for != made_for(&self.ca) {
            match Held::new(&self.ca, &self.names) {
                Ok(fresh) => *held = fresh,
                Err(error) => {
                    tracing::error!(%error, "the server's certificate could not be renewed");
                }
            }
        }
        Arc::clone(&held.key)
    }
}

impl ResolvesServerCert for ServerKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}
