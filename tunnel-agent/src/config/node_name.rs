//! What this node is called: as it was told, else as its certificate says, else as the host is called.

use edge_tunnel_proto::id::{NodeName, ParseError};

/// Why the node has no name.
#[derive(Debug, thiserror::Error)]
pub enum NodeNameError {
    /// It was told one name and holds a certificate for another.
    #[error(
        "this node is told to be {told}, but its certificate is for {certified}; drop --node-name to stay {certified}, or \
         use an empty --state-dir and a new join token to become {told}"
    )]
    Conflict {
        /// By `--node-name`.
        told: NodeName,
        /// By the certificate in the state folder.
        certified: NodeName,
    },
    /// The host's name cannot be read.
    #[error("the host's name cannot be read ({0}); give --node-name")]
    Unreadable(#[source] std::io::Error),
    /// The host's name is none that a node may have.
    #[error("the host's name cannot be the node's: {0}; give --node-name")]
    Unfit(#[source] ParseError),
}

/// This node's name: `told` by `--node-name`, else the one its certificate bears, else the host name, lower-cased as
/// the kubelet does it (`pkg/util/node/node.go`, `GetHostname`).
///
/// # Errors
/// When the two differ, or when the host's name is no node name.
pub fn node_name(
    told: Option<NodeName>,
    certified: Option<NodeName>,
) -> Result<NodeName, NodeNameError> {
    match (told, certified) {
        (Some(told), Some(certified)) if told != certified => {
            Err(NodeNameError::Conflict { told, certified })
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => {
            let host = nix::unistd::gethostname()
                .map_err(|errno| NodeNameError::Unreadable(errno.into()))?;
            let host = host.to_string_lossy().to_ascii_lowercase();
            host.parse().map_err(NodeNameError::Unfit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<NodeName> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn told_then_certified_then_the_host() {
        assert_eq!(node_name(name("a"), None).unwrap().as_str(), "a");
        assert_eq!(node_name(None, name("b")).unwrap().as_str(), "b");
        assert_eq!(node_name(name("b"), name("b")).unwrap().as_str(), "b");
        let conflict = node_name(name("a"), name("b")).unwrap_err().to_string();
        assert!(
            conflict.contains("told to be a") && conflict.contains("is for b"),
            "{conflict}"
        );
        match node_name(None, None) {
            Ok(host) => assert!(!host.as_str().is_empty()),
            Err(error) => assert!(error.to_string().contains("--node-name"), "{error}"),
        }
    }
}
