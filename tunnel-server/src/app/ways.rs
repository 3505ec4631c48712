//! The ways in, each on its listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use edge_tunnel_proto::shutdown::Shutdown;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::identity::{Identity, Peer};
use crate::inbound::{Caller, Way};
use crate::ingress::bind::Tcp;
use crate::ingress::unix::Unix;
use crate::ingress::{self, connect, http, tls};
use crate::refusal::{Kind, Refusal};
use crate::relay::Relay;
use crate::route::Routes;
use crate::route::ports::KUBELET_TLS;

/// What starts them.
pub(super) struct Ways {
    pub(super) relay: Relay,
    pub(super) metrics: ingress::Metrics,
    pub(super) shutdown: Shutdown,
}

impl Ways {
    fn context(&self, way: Way) -> ingress::Context<Relay> {
        ingress::Context::new(
            way,
            self.relay.clone(),
            self.metrics.clone(),
            self.shutdown.clone(),
        )
    }

    /// `states` learns how the listeners of `https-proxy-ports` fare.
    pub(super) fn tls(
        &self,
        listener: Option<Tcp>,
        bound: Option<SocketAddr>,
        routes: &Routes,
        states: tls::ports::States,
    ) {
        let (Some(listener), Some(bound)) = (listener, bound) else {
            return;
        };
        let context = self.context(Way::Tls);
        let never = CancellationToken::new();
        self.shutdown
            .spawn(tls::serve(context.clone(), listener, KUBELET_TLS, never));
        self.shutdown.spawn(tls::ports::serve_ports(
            context,
            routes.clone(),
            bound.ip(),
            states,
        ));
    }

    pub(super) fn http(
        &self,
        listener: Option<Tcp>,
        bound: Option<SocketAddr>,
        routes: &Routes,
        allow: Vec<IpNet>,
    ) {
        let (Some(listener), Some(bound)) = (listener, bound) else {
            return;
        };
        if !bound.ip().is_loopback() && allow.is_empty() {
            warn!(
                "--http-listen is off loopback, at {bound}, and serves nobody there: name the networks that may use it in \
                 --http-allow-from, or listen on 127.0.0.1"
            );
        }
        let settings = http::Settings::new(bound, allow);
        self.shutdown.spawn(http::serve(
            self.context(Way::Http),
            listener,
            routes.clone(),
            settings,
        ));
    }

    pub(super) fn connect(
        &self,
        tcp: Option<(Tcp, Arc<rustls::ServerConfig>)>,
        unix: Option<Unix>,
        identity: Identity,
    ) {
        let context = self.context(Way::Connect);
        if let Some((listener, config)) = tcp {
            let certificates = connect::Certificates {
                config: Arc::new(move || Arc::clone(&config)),
                identify: Arc::new(move |session| identify(&identity, session)),
            };
            self.shutdown
                .spawn(connect::serve_tls(context.clone(), listener, certificates));
        }
        if let Some(listener) = unix {
            self.shutdown.spawn(connect::serve_unix(context, listener));
        }
    }
}

/// Who a caller with a certificate is.
fn identify(
    identity: &Identity,
    session: &rustls::ServerConnection,
) -> Result<connect::Who, Refusal> {
    match identity.classify(None, session.peer_certificates().unwrap_or_default()) {
        Ok(Peer::Client { name, grant }) => Ok(connect::Who {
            caller: Caller::Certificate(name.as_str().into()),
            grant: Some(grant),
        }),
        Ok(_) => Err(Refusal::new(
            Kind::Forbidden,
            "not_a_client",
            "this port takes client certificates only",
        )),
        Err(error) => Err(Refusal::new(
            Kind::Forbidden,
            "certificate",
            error.to_string(),
        )),
    }
}
