//! `edge-tunnel-server dev`: everything on one machine, a CA, a server and an agent in this process, and one line to
//! paste for each way in. Nothing is faked: the agent enrols with a join token and dials in over the network stack.
//!
//! The only file that names the agent's crate.

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
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::admin::control::{Control as _, NewClient, NewToken, TokenSubject};
use crate::app::{App, Bound};
use crate::config::{Cli, Command, DevConfig, RunConfig};

/// The node that the agent in this process is.
const NODE: &str = "edge-1";

/// The ports that are tried first; another where one is taken.
const AGENTS: u16 = 10262;
const TLS: u16 = 10263;
const HTTP: u16 = 10264;
const ADMIN: u16 = 10265;
const AGENT_ADMIN: u16 = 10266;
const CONNECT: u16 = 10271;

/// The port that the `tls` listener stands for.
const KUBELET: u16 = 10250;

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
        Some(dir) => (None, dir),
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
    server.await?;
    parts.shutdown().await;
    Ok(())
}

/// The ports of this run: the usual ones where they are free.
struct Ports {
    agents: u16,
    tls: u16,
    http: u16,
    admin: u16,
    agent_admin: u16,
    connect: u16,
    /// A TLS service on the node's loopback, which is the target of the `tls` way in.
    tls_target: Option<TcpListener>,
    tls_target_port: u16,
    /// Where the server listens for that port.
    tls_target_listen: u16,
}

impl Ports {
    async fn choose() -> anyhow::Result<Self> {
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
fn configure(dir: &Path, ports: &Ports) -> anyhow::Result<()> {
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
        AgentCommand::Check(_) => anyhow::bail!("the command line above says run"),
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

fn explain(
    out: &mut impl Write,
    dir: &Path,
    bound: &Bound,
    agent_admin: SocketAddr,
    ports: &Ports,
) -> std::io::Result<()> {
    let dir = dir.display();
    let (node, agents) = (NODE, bound.agents);
    let (http, connect) = (ports.http, ports.connect);
    let (port, target, listen) = (
        agent_admin.port(),
        ports.tls_target_port,
        ports.tls_target_listen,
    );
    write!(
        out,
        "\
edge-tunnel runs here: a server, and an agent that is node {node} and has dialled in.

  agents dial in      {agents} (QUIC and TLS)
  way in  http        127.0.0.1:{http}
  way in  tls         127.0.0.1:{listen}, stands for port {target} of every node
  way in  connect     127.0.0.1:{connect} (client certificate), {dir}/connect.sock
  health, metrics     server http://127.0.0.1:{admin}/  agent http://{agent_admin}/metrics
  state               {dir}

The target of each line is the agent's own /livez, reached through the tunnel. Paste:

  # http, by Host header
  curl -H 'Host: {node}:{port}' http://127.0.0.1:{http}/livez
  # http, as a proxy
  curl -x http://127.0.0.1:{http} http://{node}:{port}/livez
  # tls, passed through: the certificate is the node's own
  curl --cacert {dir}/ca.crt --connect-to {node}:{target}:127.0.0.1:{listen} https://{node}:{target}/livez
  # connect, with a client certificate
  curl -p --proxy https://127.0.0.1:{connect} --proxy-cacert {dir}/ca.crt --proxy-cert {dir}/client.crt \
--proxy-key {dir}/client.key http://{node}:{port}/livez
  # connect, over the unix socket
  printf 'CONNECT {node}:{port} HTTP/1.1\\r\\nHost: {node}\\r\\n\\r\\nGET /livez HTTP/1.0\\r\\n\\r\\n' | \
nc -U {dir}/connect.sock
  # who is connected
  cargo run --release -q -p edge-tunnel-server -- nodes --state-dir {dir}/server

Ctrl-C ends it.
",
        admin = ports.admin,
    )
}
