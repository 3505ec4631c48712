//! Every listener of the server, bound before anything runs.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use edge_tunnel_proto::id::ReplicaId;
use edge_tunnel_proto::interfaces;
use tokio::net::TcpListener;

use crate::admin::socket::AdminSocket;
use crate::agents::Listeners;
use crate::config::{Listen, RunConfig};
use crate::identity::Identity;
use crate::ingress::bind::Tcp;
use crate::ingress::unix::Unix;

/// Where everything really listens.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Agents, over UDP and TCP.
    pub agents: SocketAddr,
    /// The TLS way in.
    pub tls: Option<SocketAddr>,
    /// The HTTP way in.
    pub http: Option<SocketAddr>,
    /// The CONNECT way in over TLS.
    pub connect: Option<SocketAddr>,
    /// The CONNECT way in over a unix socket.
    pub connect_uds: Option<PathBuf>,
    /// Health, metrics, status.
    pub admin: Option<SocketAddr>,
}

impl Bound {
    /// Every port of it.
    pub(super) fn ports(&self) -> BTreeSet<u16> {
        let all = [
            Some(self.agents),
            self.tls,
            self.http,
            self.connect,
            self.admin,
        ];
        all.into_iter()
            .flatten()
            .map(|address| address.port())
            .collect()
    }
}

#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) agents: Listeners,
    pub(super) tls: Option<Tcp>,
    pub(super) http: Option<Tcp>,
    pub(super) connect: Option<(Tcp, Arc<rustls::ServerConfig>)>,
    pub(super) connect_uds: Option<Unix>,
    pub(super) admin: Option<TcpListener>,
    pub(super) commands: AdminSocket,
}

impl Sockets {
    pub(super) async fn bind(
        config: &RunConfig,
        identity: &Identity,
        replica: ReplicaId,
    ) -> anyhow::Result<Self> {
        // First what tells another server on this state folder.
        let commands = AdminSocket::bind(&config.state_dir)?;
        let agents_tls = Arc::new(identity.agents_config());
        // The replica's place in connection ids has 16 bits.
        let node = u16::try_from(replica.0 & 0xffff).expect("16 bits");
        let tcp =
            |listen: Listen, flag| listen.0.map(|address| Tcp::bind(address, flag)).transpose();
        let connect = match tcp(config.connect_listen, "--connect-listen")? {
            Some(listener) => {
                let names = names_of(listener.address().ip(), &config.connect_names);
                Some((listener, Arc::new(identity.connect_config(&names)?)))
            }
            None => None,
        };
        let admin = match config.admin_listen.0 {
            Some(address) => Some(admin(address).await?),
            None => None,
        };
        Ok(Self {
            agents: Listeners::bind(config.agents_listen, agents_tls, node).await?,
            tls: tcp(config.tls_listen, "--tls-listen")?,
            http: tcp(config.http_listen, "--http-listen")?,
            connect,
            connect_uds: config
                .connect_uds
                .as_deref()
                .map(|path| Unix::bind(path, "--connect-uds"))
                .transpose()?,
            admin,
            commands,
        })
    }

    pub(super) fn bound(&self) -> std::io::Result<Bound> {
        Ok(Bound {
            agents: self.agents.local_addr()?,
            tls: self.tls.as_ref().map(Tcp::address),
            http: self.http.as_ref().map(Tcp::address),
            connect: self.connect.as_ref().map(|(tcp, _)| tcp.address()),
            connect_uds: self.connect_uds.as_ref().map(|unix| unix.path().to_owned()),
            admin: self
                .admin
                .as_ref()
                .map(TcpListener::local_addr)
                .transpose()?,
        })
    }
}

async fn admin(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!(
            "cannot listen on {address} (--admin-listen): {error}; if another process has it (`ss -ltnp` shows which), choose \
             another"
        )
    })
}

/// The names by which callers may know this server: those given, and those that it knows of itself.
fn names_of(listen: IpAddr, given: &[String]) -> Vec<String> {
    let mut names = given.to_vec();
    names.extend([
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ]);
    if let Ok(host) = nix::unistd::gethostname() {
        names.push(host.to_string_lossy().into_owned());
    }
    if listen.is_unspecified() {
        let addresses = interfaces::addresses().unwrap_or_default();
        names.extend(addresses.iter().map(ToString::to_string));
    } else {
        names.push(listen.to_string());
    }
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_admin_port_is_an_error_that_says_what_to_do() {
        let first = admin("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = admin(address).await.unwrap_err();
        let words = edge_tunnel_proto::telemetry::one_line(error.as_ref());
        let expected = format!("cannot listen on {address} (--admin-listen): Address already");
        assert!(
            words.starts_with(&expected) && words.ends_with("choose another"),
            "{words}"
        );
    }
}
