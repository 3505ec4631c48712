//! Answers as people read them.

use edge_tunnel_proto::clock::{Clock, ago};
use edge_tunnel_proto::identity::rfc3339;

use super::keep::Kept;
use crate::admin::control::{CaStatus, NodeStatus, TokenState, TokenStatus, TokenSubject};

pub(super) fn nodes(nodes: &[NodeStatus]) -> String {
    if nodes.is_empty() {
        return "no node is registered; let one in: edge-tunnel-server token create --node NAME\n"
            .to_owned();
    }
    let now = Clock::system().now();
    let rows = nodes.iter().map(|node| match &node.session {
        Some(session) => [
            node.node.to_string(),
            format!("connected for {}", ago(now, session.since)),
            session.transport.clone(),
            session
                .rtt_ms
                .map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.1} ms")),
            session.streams.to_string(),
            session.remote.to_string(),
            printable(&session.version),
            "-".to_owned(),
        ],
        None => {
            let away = match (node.revoked, node.last_seen) {
                (Some(revoked), _) => format!("revoked {} ago", ago(now, revoked)),
                (None, Some(seen)) => format!("away for {}", ago(now, seen)),
                (None, None) => "not seen yet".to_owned(),
            };
            let empty = || "-".to_owned();
            [
                node.node.to_string(),
                away,
                empty(),
                empty(),
                empty(),
                node.last_remote
                    .map_or_else(empty, |remote| remote.to_string()),
                empty(),
                node.last_end.as_deref().map_or_else(empty, printable),
            ]
        }
    });
    columns(
        [
            "NODE",
            "STATE",
            "OVER",
            "ROUND TRIP",
            "STREAMS",
            "FROM",
            "VERSION",
            "WHY AWAY",
        ],
        rows,
    )
}

pub(super) fn tokens(tokens: &[TokenStatus]) -> String {
    if tokens.is_empty() {
        return "there is no join token, nor was one within the last week; make one: edge-tunnel-server token create --node \
                NAME\n"
            .to_owned();
    }
    let now = Clock::system().now();
    let rows = tokens.iter().map(|token| {
        let subject = match &token.subject {
            TokenSubject::Node {
                name,
                replace: false,
            } => name.to_string(),
            TokenSubject::Node {
                name,
                replace: true,
            } => format!("{name} (replaces)"),
            TokenSubject::Pattern { pattern, .. } => printable(pattern),
        };
        let state = match (token.state, token.used_by.as_slice()) {
            (TokenState::Used, [one]) => format!("used by {one}"),
            (state, _) => state.name().to_owned(),
        };
        let expires = if token.expires > now {
            format!("in {}", ago(token.expires, now))
        } else {
            format!("{} ago", ago(now, token.expires))
        };
        let uses_left = token.uses_left.to_string();
        [token.id.to_string(), subject, state, uses_left, expires]
    });
    columns(["ID", "FOR", "STATE", "USES LEFT", "EXPIRES"], rows)
}

pub(super) fn kept(kept: &Kept) -> String {
    format!(
        "certificate  {}\nkey          {}\nserver's CA  {}\nvalid until  {}\n",
        kept.cert.display(),
        kept.key.display(),
        kept.ca.display(),
        rfc3339(kept.expires)
    )
}

/// PEM with comments, so that the output can be used as a CA file as it is.
pub(super) fn ca_file(status: &CaStatus) -> String {
    let comments = ca(status);
    let comments = comments.lines().map(|line| format!("# {line}\n"));
    comments.chain([status.pem.clone()]).collect()
}

pub(super) fn ca(status: &CaStatus) -> String {
    let mut text = String::new();
    for authority in &status.authorities {
        let signs = if authority.signs { ", signs" } else { "" };
        let (pin, until) = (authority.pin, rfc3339(authority.not_after));
        text.push_str(&format!(
            "{}: pin {pin}, until {until}{signs}\n",
            printable(&authority.subject)
        ));
    }
    for line in [&status.phase, &status.next] {
        text.push_str(&printable(line));
        text.push('\n');
    }
    text
}

/// What came over the network must not steer the terminal.
fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

fn columns<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let widest = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(widest).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1"], ["edge-10", "22"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            columns(["NODE", "N"], rows.into_iter()),
            "NODE     N\na        1\nedge-10  22\n"
        );
    }

    #[test]
    fn a_version_cannot_steer_the_terminal() {
        assert_eq!(printable("1.0\u{1b}[2J\n"), "1.0 [2J ");
    }
}
