//! Where everything listens in `dev`: on the usual ports where they are free.

use std::path::Path;

use anyhow::Context as _;
use tokio::net::{TcpListener, UdpSocket};

use super::NODE;

/// The ports that are tried first; another where one is taken.
const AGENTS: u16 = 10262;
const TLS: u16 = 10263;
const HTTP: u16 = 10264;
const ADMIN: u16 = 10265;
const AGENT_ADMIN: u16 = 10266;
const CONNECT: u16 = 10271;

/// The port that the `tls` listener stands for.
const KUBELET: u16 = 10250;

/// The ports of this run: the usual ones where they are free.
pub(super) struct Ports {
    pub(super) agents: u16,
    pub(super) tls: u16,
    pub(super) http: u16,
    pub(super) admin: u16,
    pub(super) agent_admin: u16,
    pub(super) connect: u16,
    /// A TLS service on the node's loopback, which is the target of the `tls` way in.
    pub(super) tls_target: Option<TcpListener>,
    pub(super) tls_target_port: u16,
    /// Where the server listens for that port.
    pub(super) tls_target_listen: u16,
}

impl Ports {
    pub(super) async fn choose() -> anyhow::Result<Self> {
        let tls = free(TLS).await?;
        let target = match TcpListener::bind(("127.0.0.1", KUBELET)).await {
            Ok(listener) => listener,
            // A kubelet runs here: another port then, with a listener of its own.
            Err(_taken) => TcpListener::bind(("127.0.0.1", 0)).await?,
        };
        let tls_target_port = target.local_addr()?.port();
        let tls_target_listen = if tls_target_port == KUBELET {
            tls
        } else {
            free(0).await?
        };
        Ok(Self {
            agents: free_for_agents().await?,
            tls,
            http: free(HTTP).await?,
            admin: free(ADMIN).await?,
            agent_admin: free(AGENT_ADMIN).await?,
            connect: free(CONNECT).await?,
            tls_target: Some(target),
            tls_target_port,
            tls_target_listen,
        })
    }
}

/// `wanted` if it is free on loopback, else any port that is.
async fn free(wanted: u16) -> anyhow::Result<u16> {
    let listener = match TcpListener::bind(("127.0.0.1", wanted)).await {
        Ok(listener) => listener,
        Err(_taken) => TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("no free port on loopback")?,
    };
    Ok(listener.local_addr()?.port())
}

async fn free_for_agents() -> anyhow::Result<u16> {
    let port = free(AGENTS).await?;
    Ok(if UdpSocket::bind(("127.0.0.1", port)).await.is_ok() {
        port
    } else {
        free(0).await?
    })
}

/// The live keys: the agent's admin port over HTTP, the TLS target over TLS.
pub(super) fn configure(dir: &Path, ports: &Ports) -> anyhow::Result<()> {
    let config = dir.join("config");
    for folder in [dir, &config] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {} (--keep)", folder.display()))?;
    }
    let (http, target, listen) = (
        ports.agent_admin,
        ports.tls_target_port,
        ports.tls_target_listen,
    );
    let https = if target == KUBELET {
        String::new()
    } else {
        format!("{target}={listen}\n")
    };
    let localhost = format!("{KUBELET}, 10255, {http}, {target}\n");
    for (key, text) in [
        ("http-proxy-ports", format!("{http}\n")),
        ("https-proxy-ports", https),
        ("localhost-proxy-ports", localhost),
        ("nodes", format!("{NODE}\n")),
    ] {
        let path = config.join(key);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
