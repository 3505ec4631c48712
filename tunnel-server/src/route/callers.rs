//! The `callers` key: who may reach what by `connect`. One line a caller: its name, then what it may do:
//!
//! ```text
//! # name       nodes=PATTERN,…  ports=PORT,… | configured | all   direct=yes | no
//! prometheus   nodes=edge-*     ports=9100,9445
//! unix-socket  ports=configured
//! ```
//!
//! The name is a client certificate's subject, or `unix-socket`. In a pattern `*` stands for any run of
//! characters. What a line says takes the place of what the certificate was issued for; what it leaves out
//! stays as issued, and without an issue is `nodes=*`, `ports=configured` (for the unix socket `ports=all`),
//! `direct=no` (for the unix socket and the certificate of `kube-apiserver` `direct=yes`). A line that cannot be read allows nothing: half a rule could allow too much.

use std::collections::BTreeMap;

use edge_tunnel_proto::id::{NodeName, Port, excerpt};
use edge_tunnel_proto::identity::ClientName;

use super::keys::{Key, Problems, lines};
use crate::identity::PortsGrant;
use crate::inbound::Caller;

/// The name of the unix socket's callers.
pub const UNIX_SOCKET: &str = "unix-socket";

/// One caller's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The nodes it may reach; `None`: the line does not say.
    pub nodes: Option<Vec<Pattern>>,
    /// The ports it may reach; `None`: the line does not say.
    pub ports: Option<PortsGrant>,
    /// Whether it may reach what is no tunnelled node's; `None`: the line does not say.
    pub direct: Option<bool>,
}

/// All lines, by caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callers {
    lines: BTreeMap<String, Result<Rule, String>>,
    /// Why they are not known.
    unread: Option<String>,
}

impl Callers {
    /// The lines are there and cannot be read, for this reason: nobody may reach anything, since any of them could say so.
    pub(super) fn unread(reason: &str) -> Self {
        Self {
            lines: BTreeMap::new(),
            unread: Some(reason.to_owned()),
        }
    }

    /// Why the lines are not known, if they are not.
    #[must_use]
    pub fn why_unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    /// This caller's line; `None`: it has none.
    ///
    /// # Errors
    /// Its line cannot be read, for this reason, and allows nothing.
    #[must_use]
    pub fn rule(&self, caller: &Caller) -> Option<Result<&Rule, &str>> {
        let name = match caller {
            Caller::Anyone => return None,
            Caller::UnixSocket => UNIX_SOCKET,
            // A certificate that bears the socket's name is not the socket.
            Caller::Certificate(name) if &**name == UNIX_SOCKET => return None,
            Caller::Certificate(name) => name,
        };
        self.lines
            .get(name)
            .map(|line| line.as_ref().map_err(String::as_str))
    }

    pub(super) fn parse(text: &str, problems: &mut Problems) -> Self {
        let mut callers = BTreeMap::new();
        for line in lines(text) {
            let mut words = line.split_ascii_whitespace();
            let name = words.next().unwrap_or_default();
            if callers.contains_key(name) {
                problems.add(
                    Key::Callers,
                    line,
                    format!(
                        "{:?} has a line already, and that one stands",
                        excerpt(name)
                    ),
                );
                continue;
            }
            // It is nobody's, so it keeps from nothing whom it was meant for.
            if name != UNIX_SOCKET && name.parse::<ClientName>().is_err() {
                let reason =
                    format!("{name:?} can be no caller's name, so the line holds for nobody");
                problems.add(Key::Callers, line, reason);
                continue;
            }
            let rule = Rule::parse(words);
            if let Err(reason) = &rule {
                problems.add(
                    Key::Callers,
                    line,
                    format!("{reason}; until then {:?} may reach nothing", excerpt(name)),
                );
            }
            callers.insert(name.to_owned(), rule);
        }
        Self {
            lines: callers,
            unread: None,
        }
    }
}

impl Rule {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut rule = Self {
            nodes: None,
            ports: None,
            direct: None,
        };
        let mut seen = Vec::new();
        for word in words {
            let (what, value) = word.split_once('=').unwrap_or((word, ""));
            if seen.contains(&what) {
                return Err(format!("write {what}= once"));
            }
            seen.push(what);
            match (what, value) {
                ("nodes", list) => {
                    let patterns: Result<_, _> = entries(list)?.map(Pattern::parse).collect();
                    rule.nodes = Some(patterns?);
                }
                ("ports", "all") => rule.ports = Some(PortsGrant::All),
                ("ports", "configured") => rule.ports = Some(PortsGrant::Configured),
                ("ports", list) => {
                    let ports: Result<Vec<Port>, _> = entries(list)?.map(str::parse).collect();
                    rule.ports = Some(PortsGrant::List(ports.map_err(|error| error.to_string())?));
                }
                ("direct", "yes") => rule.direct = Some(true),
                ("direct", "no") => rule.direct = Some(false),
                ("direct", _) => return Err("write direct=yes or direct=no".to_owned()),
                _ => {
                    return Err(format!(
                        "{:?} is none of nodes=…, ports=…, direct=…",
                        excerpt(word)
                    ));
                }
            }
        }
        Ok(rule)
    }
}

/// The entries of a list after an `=`, none of them empty.
fn entries(list: &str) -> Result<std::str::Split<'_, char>, String> {
    if list.split(',').any(str::is_empty) {
        return Err("a list has an empty entry: write name=one,two without blanks".to_owned());
    }
    Ok(list.split(','))
}

/// A pattern for node names: `*` stands for any run of characters, all else for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'*');
        if text.len() <= edge_tunnel_proto::id::NODE_NAME_MAX && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a node pattern has lower-case letters, digits, '-', '.' and '*' only".to_owned())
        }
    }

    /// Whether the whole name fits.
    #[must_use]
    pub fn matches(&self, node: &NodeName) -> bool {
        let mut rest = node.as_str();
        let mut parts = self.0.split('*');
        let head = parts.next().unwrap_or_default();
        let Some(after) = rest.strip_prefix(head) else {
            return false;
        };
        rest = after;
        let Some(tail) = parts.next_back() else {
            return rest.is_empty();
        };
        // Between the first and the last star the leftmost fit of each part leaves the most for the others.
        for part in parts {
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(tail)
    }
}

#[cfg(test)]
mod tests;
