//! The commands that talk to a running server over its local admin socket.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand, ValueEnum};
use edge_tunnel_cli::span;
use edge_tunnel_proto::id::{NodeName, Port};
use edge_tunnel_proto::identity::{ClientName, TokenId};

use super::STATE_DIR;
use crate::admin::socket::SOCKET_FILE;
use crate::identity::{NodePattern, Step, TTL_MAX, USES_MAX};

/// How a command finds the running server, and how it prints.
#[derive(Debug, Clone, Args)]
pub struct AdminSocketArgs {
    /// The running server's state folder, in which its admin socket is
    #[arg(long, env = "EDGE_TUNNEL_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    pub state_dir: PathBuf,

    /// The running server's admin socket [default: admin.sock in the state folder]
    #[arg(long, env = "EDGE_TUNNEL_ADMIN_SOCKET", value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,

    /// How the answer is printed: table for people, json for programs
    #[arg(
        short,
        long,
        env = "EDGE_TUNNEL_OUTPUT",
        value_name = "FORM",
        default_value = "table"
    )]
    #[arg(hide_possible_values = true)]
    pub output: Output,
}

impl AdminSocketArgs {
    /// The socket to connect to.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let in_state = || self.state_dir.join(SOCKET_FILE);
        self.admin_socket.clone().unwrap_or_else(in_state)
    }
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// `edge-tunnel-server token …`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a join token and print it
    Create(TokenCreate),
    /// List the tokens that can still be used, and those of the last week that cannot, with who used them; never their
    /// secrets
    List(AdminSocketArgs),
    /// Make a token unusable; nodes that joined by it stay
    Revoke(TokenRevoke),
}

/// `edge-tunnel-server token create`.
#[derive(Debug, Clone, Args)]
pub struct TokenCreate {
    /// For whom.
    #[command(flatten)]
    pub subject: TokenFor,

    /// How many nodes may join with a --pattern token, from 1 to 5000
    #[arg(
        long,
        env = "EDGE_TUNNEL_USES",
        value_name = "N",
        conflicts_with = "node",
        default_value_t = 1
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(USES_MAX)))]
    pub uses: u32,

    /// How long the token can be used, from 1m to 365d
    #[arg(
        long,
        env = "EDGE_TUNNEL_TTL",
        value_name = "TIME",
        default_value = "1h"
    )]
    #[arg(value_parser = |text: &str| span(text, 60, TTL_MAX.as_secs()))]
    pub ttl: Duration,

    /// Let the node join although one of that name is registered already: once it has joined, the old one is shut out
    #[arg(long, env = "EDGE_TUNNEL_REPLACE", conflicts_with = "pattern", value_parser = BoolishValueParser::new())]
    pub replace: bool,

    /// Where the server is.
    #[command(flatten)]
    pub server: AdminSocketArgs,
}

/// Which nodes a token is for.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct TokenFor {
    /// The one node that may join with the token
    #[arg(long, env = "EDGE_TUNNEL_NODE", value_name = "NAME")]
    pub node: Option<NodeName>,

    /// Which nodes may join with the token: a name in which * stands for anything, such as 'shop-*'. Only names that
    /// have no registration yet
    #[arg(long, env = "EDGE_TUNNEL_PATTERN", value_name = "PATTERN")]
    pub pattern: Option<NodePattern>,
}

/// `edge-tunnel-server token revoke`.
#[derive(Debug, Clone, Args)]
pub struct TokenRevoke {
    /// The token's id, as `token list` shows it
    #[arg(value_name = "ID")]
    pub id: TokenId,

    /// Where the server is.
    #[command(flatten)]
    pub server: AdminSocketArgs,
}

/// `edge-tunnel-server nodes`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Nodes {
    /// Something else than to list them.
    #[command(subcommand)]
    pub command: Option<NodesCommand>,

    /// Where the server is.
    #[command(flatten)]
    pub server: AdminSocketArgs,
}

/// `edge-tunnel-server nodes …`.
#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// Shut a node out at once: its session ends with all its streams, and its certificate is worth nothing from then on.
    /// A new join token lets it in again
    Revoke {
        /// The node's name
        #[arg(value_name = "NAME")]
        node: NodeName,

        /// Where the server is.
        #[command(flatten)]
        server: AdminSocketArgs,
    },
}

/// `edge-tunnel-server issue-client`.
#[derive(Debug, Clone, Args)]
pub struct IssueClient {
    /// The caller's name, as it will stand in its certificate and in the logs
    #[arg(value_name = "NAME")]
    pub name: ClientName,

    /// Which nodes it may reach: names in which * stands for anything, separated by commas
    #[arg(
        long,
        env = "EDGE_TUNNEL_NODES",
        value_name = "PATTERNS",
        value_delimiter = ',',
        default_value = "*"
    )]
    pub nodes: Vec<NodePattern>,

    /// Which ports of them, separated by commas [default: the ports that the server's live keys name]
    #[arg(
        long,
        env = "EDGE_TUNNEL_PORTS",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub ports: Vec<Port>,

    /// The folder into which client.crt, client.key and ca.crt are written; made if missing. Existing files are never
    /// overwritten
    #[arg(long, env = "EDGE_TUNNEL_OUT", value_name = "DIR")]
    pub out: PathBuf,

    /// Where the server is.
    #[command(flatten)]
    pub server: AdminSocketArgs,
}

/// `edge-tunnel-server ca rotate`.
#[derive(Debug, Args)]
pub struct Rotate {
    /// The step to take; they come in this order. Without one nothing is changed: where the change stands is shown, and
    /// what the next step would do
    #[arg(value_name = "STEP")]
    pub step: Option<Step>,

    /// Do not wait until every connected agent has renewed since the step before: with finish, those that have not are
    /// shut out and must enrol anew
    #[arg(long, env = "EDGE_TUNNEL_NOW", requires = "step", value_parser = BoolishValueParser::new())]
    pub now: bool,

    /// Where the server is.
    #[command(flatten)]
    pub server: AdminSocketArgs,
}

/// `edge-tunnel-server ca …`.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Print the CAs that are believed, as a CA file (PEM), with their pins as comments
    Show(AdminSocketArgs),
    /// Replace the CA in three steps: introduce the next one; 13 days later, when every connected agent has renewed, have
    /// it sign; and 13 days after that drop the old one
    Rotate(Rotate),
}
