//! (being written)

use edge_tunnel_proto::id::{NodeName, Port};

/// Which ports a caller may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortsGrant {
    /// Those that the configuration opens.
    Configured,
    /// Every port.
    All,
    /// These.
    List(Vec<Port>),
}

/// What a client certificate was issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The nodes.
    pub nodes: Vec<NodeName>,
    /// The ports.
    pub ports: PortsGrant,
}

impl Grant {
    /// Whether the certificate reaches this node.
    #[must_use]
    pub fn allows_node(&self, node: &NodeName) -> bool {
        self.nodes.contains(node)
    }
}
