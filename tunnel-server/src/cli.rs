//! The commands that a person types at a running server: asked over its admin socket, answered as a table or as JSON.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::control::{
    CaStatus, CreatedToken, IssuedClient, NewClient, NewToken, NodeStatus, RevokedNode,
    TokenStatus, TokenSubject,
};
use crate::config::{
    AdminSocketArgs, CaCommand, IssueClient, Nodes, NodesCommand, Output, TokenCommand, TokenCreate,
};

use client::{Client, ClientError};

mod client;
mod keep;
mod table;

/// Why a command failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The server did not do it.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// The answer cannot be written to standard output.
    #[error("the server has done what was asked, but its answer cannot be printed: {0}")]
    Print(#[from] io::Error),
    /// The folder for the certificate cannot be had.
    #[error("the folder {0} cannot be made: {1}; choose another --out. No certificate was issued")]
    Folder(PathBuf, #[source] io::Error),
    /// The certificate's files cannot be written.
    #[error(
        "{0} cannot be written: {1}. The certificate that was issued is lost: run the command again"
    )]
    Keep(PathBuf, #[source] io::Error),
    /// A file of that name is there.
    #[error("{0} exists already; move it away, or choose another --out. No certificate was issued")]
    Exists(PathBuf),
}

/// `token …`; what is no part of the answer, and yet to be known, goes to `aside`.
pub async fn token(
    command: &TokenCommand,
    out: &mut impl Write,
    aside: &mut impl Write,
) -> Result<(), CliError> {
    match command {
        TokenCommand::Create(wanted) => create_token(wanted, out, aside).await,
        TokenCommand::List(server) => {
            let tokens: Vec<TokenStatus> = ask(server, "GET", "/v1/tokens", &()).await?;
            print(server.output, &tokens, table::tokens(&tokens), out)
        }
        TokenCommand::Revoke(wanted) => {
            let path = format!("/v1/tokens/{}", wanted.id);
            ask::<()>(&wanted.server, "DELETE", &path, &()).await?;
            let said = format!("token {} can no longer be used\n", wanted.id);
            print(wanted.server.output, &(), said, out)
        }
    }
}

async fn create_token(
    wanted: &TokenCreate,
    out: &mut impl Write,
    aside: &mut impl Write,
) -> Result<(), CliError> {
    let subject = match (&wanted.subject.node, &wanted.subject.pattern) {
        (Some(node), _) => TokenSubject::Node {
            name: node.clone(),
            replace: wanted.replace,
        },
        (None, pattern) => TokenSubject::Pattern {
            pattern: pattern
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            uses: wanted.uses,
        },
    };
    let new = NewToken {
        subject,
        ttl: wanted.ttl,
    };
    let made: CreatedToken = ask(&wanted.server, "POST", "/v1/tokens", &new).await?;
    // The token alone, so that `token create … > FILE` makes a token file.
    print(
        wanted.server.output,
        &made,
        format!("{}\n", made.token),
        out,
    )?;
    if let Some(warning) = &made.warning {
        writeln!(aside, "warning: {warning}")?;
    }
    Ok(())
}

/// `nodes …`
pub async fn nodes(command: &Nodes, out: &mut impl Write) -> Result<(), CliError> {
    match &command.command {
        None => {
            let nodes: Vec<NodeStatus> = ask(&command.server, "GET", "/v1/nodes", &()).await?;
            print(command.server.output, &nodes, table::nodes(&nodes), out)
        }
        Some(NodesCommand::Revoke { node, server }) => {
            let path = format!("/v1/nodes/{node}/revoke");
            let revoked: RevokedNode = ask(server, "POST", &path, &()).await?;
            let session = if revoked.session_closed {
                "its session was closed"
            } else {
                "it was not connected"
            };
            let said = format!(
                "node {node} is shut out ({session}); a new token lets it in again: edge-tunnel-server token create --node \
                 {node}\n"
            );
            print(server.output, &revoked, said, out)
        }
    }
}

/// `issue-client`
pub async fn issue_client(wanted: &IssueClient, out: &mut impl Write) -> Result<(), CliError> {
    let files = keep::Files::in_folder(&wanted.out)?;
    let new = NewClient {
        name: wanted.name.clone(),
        nodes: wanted
            .nodes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
        ports: wanted.ports.clone(),
    };
    let issued: IssuedClient = ask(&wanted.server, "POST", "/v1/clients", &new).await?;
    let kept = files.keep(&issued)?;
    print(wanted.server.output, &kept, table::kept(&kept), out)
}

/// `ca …`
pub async fn ca(command: &CaCommand, out: &mut impl Write) -> Result<(), CliError> {
    match command {
        CaCommand::Show(server) => {
            let status: CaStatus = ask(server, "GET", "/v1/ca", &()).await?;
            print(server.output, &status, table::ca_file(&status), out)
        }
        CaCommand::Rotate(rotate) => {
            let server = &rotate.server;
            let status: CaStatus = match rotate.step {
                None => ask(server, "GET", "/v1/ca", &()).await?,
                Some(step) => {
                    let now = if rotate.now { "?now" } else { "" };
                    let path = format!("/v1/ca/rotate/{}{now}", step.name());
                    ask(server, "POST", &path, &()).await?
                }
            };
            print(server.output, &status, table::ca(&status), out)
        }
    }
}

async fn ask<T: DeserializeOwned>(
    server: &AdminSocketArgs,
    method: &'static str,
    path: &str,
    body: &impl Serialize,
) -> Result<T, ClientError> {
    Client::at(server.socket()).ask(method, path, body).await
}

fn print(
    output: Output,
    answer: &impl Serialize,
    table: String,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let text = match output {
        Output::Table => table,
        Output::Json => serde_json::to_string_pretty(answer).map_err(io::Error::from)? + "\n",
    };
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests;
