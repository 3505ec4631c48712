//! What a client's certificate lets it reach, and the pattern of node names that grants and join tokens share.

use std::fmt;
use std::str::FromStr;

use edge_tunnel_proto::id::{NODE_NAME_MAX, NodeName, Port, excerpt};

/// The longest grant in its text form, in characters (X.520, `ub-description`: it stands in a certificate's
/// `description`).
const GRANT_MAX: usize = 1024;

/// Why a text is no pattern or no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No pattern.
    #[error(
        "{0:?} is no pattern of node names: use a name in which `*` stands for any characters, such as 'shop-*'"
    )]
    Pattern(String),
    /// No list of ports.
    #[error("{0:?} is no list of ports: use numbers with commas between, `all`, or `configured`")]
    Ports(String),
    /// Not the form that is written into certificates.
    #[error(
        "{0:?} is no grant of this program; issue the certificate with `edge-tunnel-server issue-client`"
    )]
    Form(String),
    /// Too much to stand in a certificate.
    #[error(
        "the grant is too long: pattern and ports together have {0} characters, at most {GRANT_MAX} fit"
    )]
    TooLong(usize),
}

/// Node names in which `*` stands for any characters, or none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodePattern(Box<str>);

impl NodePattern {
    /// Every node.
    #[must_use]
    pub fn any() -> Self {
        Self("*".into())
    }

    /// Whether it covers this node.
    #[must_use]
    pub fn matches(&self, node: &NodeName) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = node.as_str().strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        // Each middle part at its first place: whatever follows then has the most room.
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last)
    }
}

impl FromStr for NodePattern {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'*');
        if (1..=NODE_NAME_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(GrantError::Pattern(excerpt(text)))
        }
    }
}

impl fmt::Display for NodePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which ports a client may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortsGrant {
    /// Those that the live configuration opens to everyone.
    Configured,
    /// Every one.
    All,
    /// These.
    List(Vec<Port>),
}

impl FromStr for PortsGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        match text {
            "configured" => Ok(Self::Configured),
            "all" => Ok(Self::All),
            list => {
                let ports: Result<Vec<_>, _> =
                    list.split(',').map(|port| port.trim().parse()).collect();
                ports
                    .map(Self::List)
                    .map_err(|_bad_port| GrantError::Ports(excerpt(text)))
            }
        }
    }
}

impl fmt::Display for PortsGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("configured"),
            Self::All => f.write_str("all"),
            Self::List(ports) => {
                let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
                f.write_str(&ports.join(","))
            }
        }
    }
}

/// What a client certificate was issued for. Its text form, `nodes=shop-*,till-*;ports=22,443`, stands in the
/// certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which nodes: those of any of these patterns.
    pub nodes: Vec<NodePattern>,
    /// Which ports.
    pub ports: PortsGrant,
}

impl Grant {
    /// Whether it covers this node.
    #[must_use]
    pub fn allows_node(&self, node: &NodeName) -> bool {
        self.nodes.iter().any(|pattern| pattern.matches(node))
    }

    /// The text form, if it is short enough for a certificate.
    pub(super) fn to_attribute(&self) -> Result<String, GrantError> {
        let text = self.to_string();
        if text.len() > GRANT_MAX {
            Err(GrantError::TooLong(text.len()))
        } else {
            Ok(text)
        }
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (nodes, ports) = text
            .strip_prefix("nodes=")
            .and_then(|rest| rest.split_once(";ports="))
            .ok_or_else(|| GrantError::Form(excerpt(text)))?;
        let nodes: Result<_, _> = nodes.split(',').map(str::parse).collect();
        Ok(Self {
            nodes: nodes?,
            ports: ports.parse()?,
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(ToString::to_string).collect();
        write!(f, "nodes={};ports={}", nodes.join(","), self.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, node, expected) in [
            ("*", "edge-1", true),
            ("edge-1", "edge-1", true),
            ("edge-1", "edge-12", false),
            ("edge-*", "edge-", false),
            ("shop-*", "shop-1.north", true),
            ("shop-*", "workshop-1", false),
            ("*-1", "edge-1", true),
            ("*-1", "edge-11", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "acb", false),
            ("a*ab", "aab", true),
            ("**", "x", true),
            ("*b*b", "b", false),
        ] {
            // "edge-" is no node name at all.
            let Ok(node) = node.parse() else { continue };
            let pattern: NodePattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&node), expected, "{pattern} on {node}");
        }
        for bad in ["", "Shop-*", "a b", "a?", "a/*", "*".repeat(254).as_str()] {
            assert!(bad.parse::<NodePattern>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn grants_survive_their_text_form() {
        for text in [
            "nodes=*;ports=configured",
            "nodes=shop-*,till-1;ports=22,443",
            "nodes=edge-1;ports=all",
        ] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "ports=22",
            "nodes=*",
            "nodes=*;ports=",
            "nodes=;ports=22",
            "nodes=*;ports=0",
            "nodes=*;ports=22;x",
        ] {
            assert!(bad.parse::<Grant>().is_err(), "{bad:?} was taken");
        }
        let ports = PortsGrant::List(vec![Port::known(10250); 200]);
        let grant = Grant {
            nodes: vec![NodePattern::any()],
            ports,
        };
        assert!(matches!(grant.to_attribute(), Err(GrantError::TooLong(_))));
        let grant = "nodes=shop-*,till-1;ports=all".parse::<Grant>().unwrap();
        let allows = |node: &str| grant.allows_node(&node.parse().unwrap());
        assert_eq!(
            (allows("shop-9"), allows("till-1"), allows("till-2")),
            (true, true, false)
        );
    }
}
