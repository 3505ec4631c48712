//! `edge-tunnel-server dev`: everything on one machine, a CA, a server and an agent in this process, and one line to
//! paste for each way in. Nothing is faked: the agent enrols with a join token and dials in over the network stack.
//!
//! The only file that names the agent's crate.

mod lines;
mod ports;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use edge_tunnel_agent::app::App as Agent;
use edge_tunnel_agent::config::{Cli as AgentCli, Command as AgentCommand};
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::write_private;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::admin::control::{Control as _, NewClient, NewToken, TokenSubject};
use crate::app::{App, Bound};
use crate::config::{Cli, Command, DevConfig, RunConfig};
use lines::explain;
use ports::{Ports, configure};

/// The node that the agent in this process is.
const NODE: &str = "edge-1";

/// Runs until `stop`.
///
/// # Errors
/// When a part cannot start; the text says which, and what to do.
pub async fn run(
    config: DevConfig,
    out: &mut impl Write,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (_temporary, dir) = match config.keep {
        // The lines to paste are pasted anywhere.
        Some(dir) => (None, std::path::absolute(dir)?),
        None => {
            let temporary = tempfile::Builder::new()
                .prefix("edge-tunnel-dev-")
                .tempdir()?;
            let dir = temporary.path().to_owned();
            (Some(temporary), dir)
        }
    };
    let mut ports = Ports::choose().await?;
    let tls_target = ports
        .tls_target
        .take()
        .context("the TLS target's socket was just made")?;
    configure(&dir, &ports)?;
    let server = App::bind(server_config(&dir, &ports)?).await?;
    let bound = server.bound().clone();
    let (control, identity, server_stop) = (server.control(), server.identity(), server.shutdown());

    let client = NewClient {
        name: "dev".parse()?,
        nodes: NODE.to_owned(),
        ports: Vec::new(),
    };
    let files = control.issue_client(client).await?;
    keep(&dir, "ca.crt", &files.ca)?;
    keep(&dir, "client.crt", &files.cert)?;
    keep(&dir, "client.key", &files.key)?;
    let subject = TokenSubject::Node {
        name: NODE.parse()?,
        replace: true,
    };
    let token = control
        .token_create(NewToken {
            subject,
            ttl: std::time::Duration::from_secs(3600),
        })
        .await?;
    keep(&dir, "token", &token.token)?;

    let agent = Agent::bind(agent_config(&dir, &bound, &ports)?).await?;
    let agent_admin = agent.admin_addr()?;
    let agent_stop = agent.shutdown();
    let service = identity
        .ca()
        .issue_service(&[NODE.to_owned(), "localhost".to_owned()])?;

    let mut parts = JoinSet::new();
    parts.spawn(serve_tls(
        tls_target,
        tls_config(&service.certificate, &service.key)?,
        agent_admin,
    ));
    let server = tokio::spawn(server.run(std::future::pending()));
    let agent = tokio::spawn(agent.run(std::future::pending()));
    wait_for_session(&control).await?;
    explain(out, &dir, &bound, agent_admin, &ports)?;

    stop.await;
    writeln!(out, "\nstopping")?;
    agent_stop.draining().cancel();
    agent.await?;
    server_stop.draining().cancel();
    server.await??;
    parts.shutdown().await;
    Ok(())
}

fn server_config(dir: &Path, ports: &Ports) -> anyhow::Result<RunConfig> {
    let at = |port: u16| format!("127.0.0.1:{port}");
    let path = |name: &str| dir.join(name).display().to_string();
    let line = [
        "edge-tunnel-server",
        "run",
        "--agents-listen",
        &at(ports.agents),
        "--tls-listen",
        &at(ports.tls),
        "--http-listen",
        &at(ports.http),
        "--connect-listen",
        &at(ports.connect),
        "--connect-uds",
        &path("connect.sock"),
        "--admin-listen",
        &at(ports.admin),
        "--state-dir",
        &path("server"),
        "--config-dir",
        &path("config"),
        "--drain-timeout",
        "2s",
    ];
    match <Cli as clap::Parser>::try_parse_from(line)?.command {
        Command::Run(config) => Ok(*config),
        _ => anyhow::bail!("the command line above says run"),
    }
}

fn agent_config(
    dir: &Path,
    bound: &Bound,
    ports: &Ports,
) -> anyhow::Result<edge_tunnel_agent::config::Config> {
    let path = |name: &str| dir.join(name).display().to_string();
    let line = [
        "edge-tunnel-agent",
        "run",
        "--server",
        &bound.agents.to_string(),
        "--node-name",
        NODE,
        "--token-file",
        &path("token"),
        "--state-dir",
        &path("agent"),
        "--admin-listen",
        &format!("127.0.0.1:{}", ports.agent_admin),
        "--loopback-ports",
        &format!("{},{}", ports.agent_admin, ports.tls_target_port),
        "--drain-timeout",
        "2s",
    ];
    match AgentCli::parse_from(line)?.command {
        AgentCommand::Run(config) => Ok(*config),
        AgentCommand::Check(_) | AgentCommand::Prepare(_) => {
            anyhow::bail!("the command line above says run")
        }
    }
}

fn keep(dir: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = dir.join(name);
    write_private(&path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn tls_config(certificate: &str, key: &str) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let provider = edge_tunnel_proto::identity::provider();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain?, key)?;
    Ok(Arc::new(config))
}

/// The agent's own pages over TLS, as a node's kubelet would show its own.
async fn serve_tls(listener: TcpListener, config: Arc<ServerConfig>, target: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((io, _)) = listener.accept().await {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        connections.spawn(async move {
            let mut tls = acceptor.accept(io).await?;
            let mut target = TcpStream::connect(target).await?;
            tokio::io::copy_bidirectional(&mut tls, &mut target).await
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn wait_for_session(control: &crate::app::Control) -> anyhow::Result<()> {
    let node: NodeName = NODE.parse()?;
    let waiting = async {
        while !control
            .nodes()
            .await
            .is_ok_and(|nodes| nodes.iter().any(|n| n.node == node && n.session.is_some()))
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting)
        .await
        .context(
            "the agent in this process did not connect within 20 s; its log lines above say why",
        )
}
