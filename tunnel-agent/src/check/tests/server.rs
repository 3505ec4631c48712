//! A server that goes as far as the handshake, on TCP and UDP alike, with a CA of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::RegistrationId;
use edge_tunnel_proto::identity::{
    BACKDATE, Bundle, Live, Pin, Secret, Token, TokenId, Trust, TrustDomain, agents_server,
    certificates_to_pem, provider,
};
use edge_tunnel_proto::transport::{Lane, SERVER_LIMITS, quic, tls};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn sign(
        &self,
        uri: &str,
        usage: ExtendedKeyUsagePurpose,
        life: Duration,
    ) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let now = Clock::system().now();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(
            DnType::CustomDnType(vec![2, 5, 4, 5]),
            RegistrationId(7).to_string(),
        );
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![usage];
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now - BACKDATE + life).into();
        (
            params.signed_by(&key, &self.issuer).unwrap().der().clone(),
            key,
        )
    }

    /// A join token of this CA.
    pub(super) fn token(&self) -> String {
        let pin = Pin::of_certificate(&self.certificate).unwrap();
        Token {
            id: TokenId::random(),
            secret: Secret::random(),
            pin,
        }
        .expose()
    }

    /// Fills a state folder as an agent's that has enrolled as edge-1.
    pub(super) fn enroll(&self, folder: &Path, life: Duration) {
        let (certificate, key) = self.sign(
            "spiffe://edge-tunnel/node/edge-1",
            ExtendedKeyUsagePurpose::ClientAuth,
            life,
        );
        let bundle = Bundle::new([self.certificate.clone()]).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(
            folder.join("certificate.pem"),
            certificates_to_pem(&[certificate]),
        )
        .unwrap();
        std::fs::write(folder.join("bundle.pem"), bundle.to_pem()).unwrap();
    }

    /// Serves handshakes for as long as the answer lives; every connection is ended for `reason`, if there is one.
    pub(super) async fn serve(&self, reason: Option<&'static str>) -> Server {
        let (leaf, key) = self.sign(
            "spiffe://edge-tunnel/server",
            ExtendedKeyUsagePurpose::ServerAuth,
            Duration::from_secs(86_400),
        );
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let certified =
            CertifiedKey::from_der(vec![leaf, self.certificate.clone()], key, &provider()).unwrap();
        let trust = Trust {
            bundle: Live::new(Bundle::new([self.certificate.clone()]).unwrap()),
            trust_domain: TrustDomain::default(),
            clock: Clock::system(),
        };
        let config = Arc::new(agents_server(
            &trust,
            Arc::new(SingleCertAndKey::from(certified)),
        ));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = quic::Listener::bind(address, Arc::clone(&config), SERVER_LIMITS, 0).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (budget, drivers) = (Budget::new(1 << 20), TaskTracker::new());
            loop {
                let (stream, remote) = tcp.accept().await.unwrap();
                if let Ok(connected) =
                    tls::accept(stream, remote, Arc::clone(&config), &budget, &drivers).await
                {
                    hold(connected.lane, reason).await;
                }
            }
        });
        tasks.spawn(async move {
            while let Some(incoming) = udp.accept().await {
                if let Ok(connected) = incoming.handshake(&Budget::new(1 << 20)).await {
                    hold(connected.lane, reason).await;
                }
            }
        });
        Server {
            address,
            _tasks: tasks,
        }
    }
}

async fn hold(lane: Lane, reason: Option<&'static str>) {
    if let Some(reason) = reason {
        lane.close(Code::Revoked, reason);
    }
    lane.closed().await;
}

/// Ends when it drops.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}
