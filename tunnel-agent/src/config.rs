//! What a person or a manifest says to the agent: flags, each with an `EDGE_TUNNEL_…` twin, parsed once into types
//! that the rest of the program can trust.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::TrustDomain;
use edge_tunnel_proto::telemetry::{LogFilter, LogFormat, version};

use crate::endpoints::Endpoints;
use crate::policy::rule::{PortSet, Rule};
use crate::policy::{LOOPBACK_PORTS, Rules};

use edge_tunnel_cli::span;
pub use edge_tunnel_cli::{Listen, ListenError};
pub use node_name::{NodeNameError, node_name};
pub use server::{ServerAddress, ServerAddressError, Transports};
pub use token::{TokenError, TokenSource, TokenText};

mod misplaced;
mod node_name;
mod server;
mod token;

/// Where the agent keeps its key and certificate.
pub const STATE_DIR: &str = "/var/lib/edge-tunnel-agent";

/// The whole command line of `edge-tunnel-agent`.
#[derive(Debug, Parser)]
#[command(name = "edge-tunnel-agent", version = version(), max_term_width = 100)]
#[command(
    about = "Dials out from an edge node to the edge-tunnel server, so that the cloud can reach the node"
)]
#[command(after_help = "Every flag has a twin in the environment, shown beside it; the flag wins.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent; it enrols itself when it holds no certificate yet
    Run(Box<Config>),
    /// Try what run would do with the same flags, step by step, and say which step fails and what to do; changes
    /// nothing
    Check(Box<Config>),
    /// Make the state folder another user's, for the agent to run as that user; wants root, with the capability CHOWN
    /// and no other
    Prepare(Prepare),
}

/// `edge-tunnel-agent prepare`.
#[derive(Debug, Clone, Args)]
pub struct Prepare {
    /// The folder; made if it is missing, for its owner alone
    #[arg(long, env = "EDGE_TUNNEL_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,

    /// Whose it and the files in it will be: the number of the user that the agent runs as
    #[arg(long, env = "EDGE_TUNNEL_OWNER", value_name = "UID")]
    pub owner: u32,
}

/// Where the servers are and who this node is.
#[derive(Debug, Clone, Args)]
pub struct Uplink {
    /// The server, or the load balancer in front of it. May be given several times, or as a list separated by
    /// commas. Both QUIC (UDP) and TLS (TCP) are tried; quic:// or tls:// in front allows only that one. Overrides
    /// the servers of --endpoints-dir; one of the two is needed
    #[arg(
        long,
        env = "EDGE_TUNNEL_SERVER",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        required_unless_present = "endpoints_dir"
    )]
    pub server: Vec<ServerAddress>,

    /// A folder with the files 'servers' (one a line, as --server takes them) and 'ca.crt' (the CAs that are believed), such
    /// as the mounted ConfigMap edge-tunnel-endpoints. Read again at each dial; the agent waits while it is empty
    #[arg(long, env = "EDGE_TUNNEL_ENDPOINTS_DIR", value_name = "DIR")]
    pub endpoints_dir: Option<PathBuf>,

    /// Where the node's key and certificate are kept; run makes the folder if it is missing, for its own user alone
    #[arg(long, env = "EDGE_TUNNEL_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,

    /// The trust domain in the identities that both ends show; it must be the same as the server's
    #[arg(
        long,
        env = "EDGE_TUNNEL_TRUST_DOMAIN",
        value_name = "NAME",
        default_value_t
    )]
    pub trust_domain: TrustDomain,

    /// A file with the join token, needed until the node has its certificate, and again where the
    /// server says that its registration is over; '-' reads it from standard input, once, at a start without a certificate. The token itself may be in the
    /// environment as EDGE_TUNNEL_TOKEN
    #[arg(long, env = "EDGE_TUNNEL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Only for the environment: as an argument it is refused in [`Cli::parse_from`].
    #[arg(long, env = "EDGE_TUNNEL_TOKEN", hide = true, hide_env_values = true)]
    token: Option<TokenText>,

    /// Where /livez, /readyz and /metrics are served; keep it on loopback. 'none' switches it off
    #[arg(
        long,
        env = "EDGE_TUNNEL_ADMIN_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:10266",
        value_parser = listen
    )]
    pub admin_listen: Listen,
}

/// `edge-tunnel-agent run`, and `check`, which judges what `run` would get.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where the servers are and who this node is.
    #[command(flatten)]
    pub uplink: Uplink,

    /// This node's name [default: the name in its certificate, else the host name]
    #[arg(long, env = "EDGE_TUNNEL_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<NodeName>,

    /// The node's own address: what is dialled where the cloud asks for the node by its name [default: the address from
    /// which the session to the server leaves]
    #[arg(long, env = "EDGE_TUNNEL_NODE_IP", value_name = "IP")]
    pub node_ip: Option<IpAddr>,

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

    /// How long open streams may take to end once the agent is told to stop, up to 1h; then they are broken off
    #[arg(
        long,
        env = "EDGE_TUNNEL_DRAIN_TIMEOUT",
        value_name = "TIME",
        default_value = "30s"
    )]
    #[arg(value_parser = |text: &str| span(text, 0, 3_600))]
    pub drain_timeout: Duration,

    /// How log lines look: human or json
    #[arg(
        long,
        env = "EDGE_TUNNEL_LOG_FORMAT",
        value_name = "FORMAT",
        default_value_t
    )]
    pub log_format: LogFormat,

    /// Which log lines are written to standard error: off, error, warn, info, debug, trace, or a list such as
    /// info,edge_tunnel_agent::uplink=debug
    #[arg(
        long,
        env = "EDGE_TUNNEL_LOG",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log_level: LogFilter,

    // Last, since its heading in the help holds for all that follows.
    /// What may be reached through this agent.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// What may be reached through this agent, by the node's own word.
#[derive(Debug, Clone, Args)]
#[command(
    next_help_heading = "What may be reached through this agent (the server cannot widen it)"
)]
pub struct PolicyArgs {
    /// Ports on 127.0.0.1 that may be reached; replaces the default list
    #[arg(long, env = "EDGE_TUNNEL_LOOPBACK_PORTS", value_name = "LIST", default_value = LOOPBACK_PORTS)]
    loopback_ports: PortSet,

    /// Allow more: node:PORTS, loopback:PORTS, ADDRESS:PORTS or NETWORK:PORTS, such as 192.0.2.0/24:80,443 or
    /// [2001:db8::/32]:8000-8100; PORTS may be *. The node's own addresses are allowed already. May be given several
    /// times; in the environment rules are separated by spaces
    #[arg(
        long,
        env = "EDGE_TUNNEL_ALLOW",
        value_name = "RULE",
        value_delimiter = ' '
    )]
    allow: Vec<Rule>,

    /// Deny, whatever else is allowed; written as for --allow, such as node:22
    #[arg(
        long,
        env = "EDGE_TUNNEL_DENY",
        value_name = "RULE",
        value_delimiter = ' '
    )]
    deny: Vec<Rule>,

    /// A file with more rules, one a line: allow RULE, deny RULE or loopback-ports LIST. Read again when it changes
    #[arg(long, env = "EDGE_TUNNEL_POLICY_FILE", value_name = "FILE")]
    pub policy_file: Option<PathBuf>,
}

impl PolicyArgs {
    /// The rules that the flags say; those of the file are not in it.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            loopback_ports: self.loopback_ports.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
        }
    }
}

impl Config {
    /// Where the join token is, if anywhere.
    #[must_use]
    pub fn token(&self) -> Option<TokenSource> {
        self.uplink.token()
    }
}

impl Uplink {
    /// Where the servers are.
    #[must_use]
    pub fn endpoints(&self) -> Endpoints {
        Endpoints::new(self.server.clone(), self.endpoints_dir.clone())
    }

    /// Where the join token is, if anywhere: the file first.
    #[must_use]
    pub fn token(&self) -> Option<TokenSource> {
        let file = self.token_file.clone().map(TokenSource::from_path);
        file.or_else(|| self.token.clone().map(TokenSource::Environment))
    }
}

impl Cli {
    /// Parses a command line, the program's name first, and the environment.
    ///
    /// # Errors
    /// What clap says, fit to be printed by [`clap::Error::exit`]; also for a join token where none belongs.
    pub fn parse_from(
        line: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        let mut command = Self::command();
        misplaced::refuse(&mut command, &line, |name| std::env::var_os(name))?;
        let matches = match command.try_get_matches_from_mut(&line) {
            Ok(matches) => matches,
            Err(error) => return Err(edge_tunnel_cli::explained(error, &command, &line)),
        };
        if matches
            .subcommand()
            .is_some_and(|(_, run)| token_is_an_argument(run))
        {
            return Err(misplaced::argument(&mut command));
        }
        Self::from_arg_matches(&matches)
    }
}

fn token_is_an_argument(run: &ArgMatches) -> bool {
    run.try_contains_id("token").unwrap_or(false)
        && run.value_source("token") == Some(ValueSource::CommandLine)
}

/// A flag that says where to listen.
fn listen(text: &str) -> Result<Listen, ListenError> {
    Listen::parse(text, "127.0.0.1:10266 or [::1]:10266")
}

#[cfg(test)]
mod tests;
