//! Where an agent is sent.

use std::fmt;
use std::net::IpAddr;

use super::Port;

/// Which address on, or at, the node the agent dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// `127.0.0.1`: what `localhost-proxy-ports` names.
    Loopback,
    /// The node's own address, which the agent knows best.
    Node,
    /// This address, if the agent's own policy allows it.
    Address(IpAddr),
}

/// What the agent is asked to dial over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// Which address.
    pub host: TargetHost,
    /// Which port.
    pub port: Port,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            TargetHost::Loopback => write!(f, "127.0.0.1:{}", self.port),
            TargetHost::Node => write!(f, "port {}", self.port),
            TargetHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            TargetHost::Address(address) => write!(f, "{address}:{}", self.port),
        }
    }
}
