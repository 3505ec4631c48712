//! What is no tunnelled node's: the egress selector brings all that kube-apiserver dials, webhooks and aggregated APIs
//! too. In goes `--connect-unmatched`, out comes by whom such is reached.

use std::fmt;
use std::str::FromStr;

use edge_tunnel_proto::id::NodeName;

use super::selector::{SelectorError, Selectors};

/// `--connect-unmatched`: what becomes of a CONNECT to what is no tunnelled node's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// It is refused.
    #[default]
    Refuse,
    /// The server dials it.
    Direct,
    /// The agent of one of these nodes dials it, if its own policy allows that.
    Via(Selectors),
}

impl Unmatched {
    /// Which nodes' agents are asked.
    #[must_use]
    pub fn via(&self) -> Selectors {
        match self {
            Self::Via(selectors) => selectors.clone(),
            Self::Refuse | Self::Direct => Selectors::default(),
        }
    }
}

/// Why a text says none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnmatchedError {
    /// Another word.
    #[error("write direct, refuse or via=SELECTOR, such as via=edge-tunnel.io/gateway=true")]
    Word,
    /// `via=` and no selector.
    #[error(transparent)]
    Selector(#[from] SelectorError),
}

impl FromStr for Unmatched {
    type Err = UnmatchedError;

    fn from_str(text: &str) -> Result<Self, UnmatchedError> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "direct" => Ok(Self::Direct),
            _ => {
                let selectors = text.strip_prefix("via=").ok_or(UnmatchedError::Word)?;
                Ok(Self::Via(selectors.parse()?))
            }
        }
    }
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::Direct => f.write_str("direct"),
            Self::Via(selectors) => write!(f, "via={selectors}"),
        }
    }
}

/// Who reaches what is no tunnelled node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beyond {
    /// The server itself.
    Direct,
    /// The agent of one of these nodes, all of them connected a moment ago.
    Via(Vec<NodeName>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag() {
        for text in ["refuse", "direct", "via=a=b", "via=a=b,!c;d in (e,f)"] {
            assert_eq!(text.parse::<Unmatched>().unwrap().to_string(), text);
        }
        for bad in ["", "via", "via=", "directly", "via=a b"] {
            assert!(bad.parse::<Unmatched>().is_err(), "{bad:?} was taken");
        }
    }
}
