//! What a person or a manifest says to the server: commands and flags, each flag with an `EDGE_TUNNEL_…` twin, parsed
//! once into types that the rest of the program can trust. Live keys (`--config-dir`) are not read here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::BoolishValueParser;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use edge_tunnel_proto::identity::TrustDomain;
use edge_tunnel_proto::telemetry::{LogFilter, LogFormat, version};
use ipnet::IpNet;

use crate::route::Unmatched;
pub use commands::{
    AdminSocketArgs, CaCommand, IssueClient, Nodes, NodesCommand, Output, TokenCommand,
    TokenCreate, TokenFor, TokenRevoke,
};
use edge_tunnel_cli::span;
pub use edge_tunnel_cli::{Listen, ListenError};
pub use kubernetes::{KubernetesArgs, Namespaced};

mod commands;
mod kubernetes;

/// Where the server keeps its CA, registrations and tokens.
pub const STATE_DIR: &str = "/var/lib/edge-tunnel-server";

/// The whole command line of `edge-tunnel-server`.
#[derive(Debug, Parser)]
#[command(name = "edge-tunnel-server", version = version(), max_term_width = 100)]
#[command(
    about = "Takes traffic for node:port in the cloud and carries it to edge nodes that dialled in"
)]
#[command(after_help = "Every flag has a twin in the environment, shown beside it; the flag wins.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses the command line and the environment.
    ///
    /// # Errors
    /// What clap says, fit to be printed by [`clap::Error::exit`].
    pub fn parse_all() -> Result<Self, clap::Error> {
        let line: Vec<_> = std::env::args_os().collect();
        Self::try_parse_from(&line)
            .map_err(|error| edge_tunnel_cli::explained(error, &Self::command(), &line))
    }
}

/// What the server can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything on this machine, an agent included, and print a line to paste for each way in
    Dev(DevConfig),
    /// Run the server
    Run(Box<RunConfig>),
    /// Join tokens: what a new node shows once, to get its certificate
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show the registered nodes: which are connected, since when and over what; which are away, or revoked, and since
    /// when
    Nodes(Nodes),
    /// Issue a certificate for a caller of the CONNECT way in (--connect-listen)
    IssueClient(IssueClient),
    /// The tunnel's own CA: show it, or replace it
    #[command(subcommand)]
    Ca(CaCommand),
}

/// How log lines look and which are written: what `run` and `dev` share.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines look: human or json
    #[arg(
        long,
        env = "EDGE_TUNNEL_LOG_FORMAT",
        value_name = "FORMAT",
        default_value_t
    )]
    pub log_format: LogFormat,

    /// Which log lines are written to standard error: off, error, warn, info, debug, trace, or a list such as
    /// info,edge_tunnel_server::route=debug
    #[arg(
        long,
        env = "EDGE_TUNNEL_LOG",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log_level: LogFilter,
}

/// `edge-tunnel-server dev`.
#[derive(Debug, Clone, Args)]
pub struct DevConfig {
    /// Keep the state (CA, certificates) in this folder, and use what is there [default: forgotten at the end]
    #[arg(long, env = "EDGE_TUNNEL_KEEP", value_name = "DIR")]
    pub keep: Option<PathBuf>,

    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
}

/// `edge-tunnel-server run`.
#[derive(Debug, Clone, Args)]
pub struct RunConfig {
    /// Where agents dial in, over UDP (QUIC) and TCP (TLS) on the same port
    #[arg(
        long,
        env = "EDGE_TUNNEL_AGENTS_LISTEN",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:10262",
        value_parser = agents
    )]
    pub agents_listen: SocketAddr,

    /// The TLS way in, passed through to the node that the server name (SNI) names; 'none' switches it off
    #[arg(
        long,
        env = "EDGE_TUNNEL_TLS_LISTEN",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:10263",
        value_parser = listen
    )]
    pub tls_listen: Listen,

    /// The HTTP way in; 'none' switches it off. Whoever reaches it reaches the nodes' HTTP ports, port 10255 among
    /// them: off loopback it serves only --http-allow-from
    #[arg(
        long,
        env = "EDGE_TUNNEL_HTTP_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:10264",
        value_parser = listen
    )]
    pub http_listen: Listen,

    /// Who may use the HTTP way in where it listens off loopback: networks, separated by commas. All others get 403,
    /// this machine too unless its address is among them
    #[arg(
        long,
        env = "EDGE_TUNNEL_HTTP_ALLOW_FROM",
        value_name = "CIDRS",
        value_delimiter = ',',
        value_parser = network
    )]
    pub http_allow_from: Vec<IpNet>,

    /// The CONNECT way in over TLS, for callers with a client certificate; 'none' switches it off
    #[arg(
        long,
        env = "EDGE_TUNNEL_CONNECT_LISTEN",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:10271",
        value_parser = listen
    )]
    pub connect_listen: Listen,

    /// More names and addresses by which callers dial the CONNECT way in, such as a load balancer's, separated by
    /// commas; they go into its certificate. This machine's own are in it anyway
    #[arg(
        long,
        env = "EDGE_TUNNEL_CONNECT_NAMES",
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = host_name
    )]
    pub connect_names: Vec<String>,

    /// The CONNECT way in over a unix socket at this path, for whoever may open it. A unix socket knows no reset: a
    /// stream that broke off ends there as if it were whole, so have TLS inside it, or use --connect-listen
    /// [default: off]
    #[arg(long, env = "EDGE_TUNNEL_CONNECT_UDS", value_name = "PATH")]
    pub connect_uds: Option<PathBuf>,

    /// What becomes of a CONNECT to what is no tunnelled node: refuse; direct, and the server dials it; or via=SELECTOR, and
    /// the agent of a node with such labels dials it, as far as its own policy allows [default: direct with --kubernetes,
    /// else refuse]
    #[arg(long, env = "EDGE_TUNNEL_CONNECT_UNMATCHED", value_name = "HOW")]
    pub connect_unmatched: Option<Unmatched>,

    /// Where /livez, /readyz, /metrics and the status page are served; 'none' switches it off
    #[arg(
        long,
        env = "EDGE_TUNNEL_ADMIN_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:10265",
        value_parser = listen
    )]
    pub admin_listen: Listen,

    /// Where the CA, registrations, tokens and the admin socket are kept; made if missing, readable by the server
    /// alone
    #[arg(long, env = "EDGE_TUNNEL_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,

    /// A folder with one file per live key (nodes, callers, http-proxy-ports, https-proxy-ports,
    /// localhost-proxy-ports, dnat-ports-pair), read again when it changes [default: the keys' defaults]
    #[arg(long, env = "EDGE_TUNNEL_CONFIG_DIR", value_name = "DIR")]
    pub config_dir: Option<PathBuf>,

    /// Expect a PROXY protocol header (v1 or v2) from the balancer in front of the agents' TCP listener, so that the
    /// agents' own addresses are known; connections without one are refused
    #[arg(long, env = "EDGE_TUNNEL_AGENTS_PROXY_PROTOCOL", value_parser = BoolishValueParser::new())]
    pub agents_proxy_protocol: bool,

    /// How long after its end an agent's certificate may still be renewed, up to 3650d
    #[arg(
        long,
        env = "EDGE_TUNNEL_RENEW_GRACE",
        value_name = "TIME",
        default_value = "90d"
    )]
    #[arg(value_parser = |text: &str| span(text, 0, 3650 * 86_400))]
    pub renew_grace: Duration,

    /// How long open streams may take to end once the server is told to stop, up to 1h; then they are broken off
    #[arg(
        long,
        env = "EDGE_TUNNEL_DRAIN_TIMEOUT",
        value_name = "TIME",
        default_value = "30s"
    )]
    #[arg(value_parser = |text: &str| span(text, 0, 3_600))]
    pub drain_timeout: Duration,

    /// How long a caller waits at most for its connection to the node's target, from 1s to 5m
    #[arg(
        long,
        env = "EDGE_TUNNEL_DIAL_TIMEOUT",
        value_name = "TIME",
        default_value = "10s"
    )]
    #[arg(value_parser = |text: &str| span(text, 1, 300))]
    pub dial_timeout: Duration,

    /// How much memory may be promised to agents for what their streams carry, from 16MiB to 1TiB. Above three quarters of
    /// it windows stop growing, and what finds none left is refused. An idle agent takes 128 KiB, a busy stream 2 MiB
    #[arg(
        long,
        env = "EDGE_TUNNEL_BUFFER_MEMORY",
        value_name = "SIZE",
        default_value = "2GiB",
        value_parser = memory
    )]
    pub buffer_memory: usize,

    /// How often an idle session is probed, from 1s to 10m; keep it below the idle limit of every NAT and balancer in
    /// between
    #[arg(
        long,
        env = "EDGE_TUNNEL_HEARTBEAT",
        value_name = "TIME",
        default_value = "25s"
    )]
    #[arg(value_parser = |text: &str| span(text, 1, 600))]
    pub heartbeat: Duration,

    /// The trust domain in the identities that both ends show; it must be the same at the server and at all its agents
    #[arg(
        long,
        env = "EDGE_TUNNEL_TRUST_DOMAIN",
        value_name = "NAME",
        default_value_t
    )]
    pub trust_domain: TrustDomain,

    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,

    // Last, since its heading in the help holds for all that follows.
    /// In Kubernetes.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
}

/// A name or an address as a certificate may bear it; `*.` may stand before a name.
fn host_name(text: &str) -> Result<String, String> {
    let plain = text.strip_prefix("*.").unwrap_or(text);
    match rustls::pki_types::ServerName::try_from(plain) {
        Ok(_) => Ok(text.to_owned()),
        Err(_no_name) => Err("it is neither a DNS name nor an IP address".to_owned()),
    }
}

/// A number of bytes such as `512MiB`.
fn memory(text: &str) -> Result<usize, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|error| format!("{error}; write a number with a unit, such as 512MiB or 2GiB"))?;
    if (ByteSize::mib(16)..=ByteSize::tib(1)).contains(&size) {
        return usize::try_from(size.as_u64()).map_err(|error| error.to_string());
    }
    Err("it must be from 16MiB to 1TiB".to_owned())
}

/// A network such as `10.0.0.0/8`.
fn network(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_no_network| {
        "it is no network: write one such as 10.0.0.0/8 or 2001:db8::/32, and a single address as 192.0.2.7/32"
            .to_owned()
    })
}

/// Where agents dial in, which is never nowhere.
fn agents(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_no_address| {
        "it is no place to listen: write IP:PORT, such as 0.0.0.0:10262 or [::]:10262; it cannot be switched off".to_owned()
    })
}

/// A flag that says where to listen.
fn listen(text: &str) -> Result<Listen, ListenError> {
    Listen::parse(text, "0.0.0.0:10263 or [::]:10263")
}

#[cfg(test)]
mod tests;
