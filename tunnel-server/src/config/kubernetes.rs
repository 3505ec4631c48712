//! What `run` is told about a Kubernetes cluster.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use ipnet::IpNet;

use crate::kubernetes::Cluster;
use crate::route::selector::Selectors;

/// Flags that hold in Kubernetes alone; all of them want `--kubernetes`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "In Kubernetes")]
pub struct KubernetesArgs {
    /// Take the nodes and the live keys from this cluster: in-cluster, for the one that this pod runs in, or a kubeconfig
    /// file [default: no cluster]
    #[arg(
        long = "kubernetes",
        env = "EDGE_TUNNEL_KUBERNETES",
        value_name = "in-cluster|FILE",
        conflicts_with = "config_dir"
    )]
    pub cluster: Option<Cluster>,

    /// The ConfigMap of the live keys, the same as the files of --config-dir
    #[arg(
        long,
        env = "EDGE_TUNNEL_CONFIG_MAP",
        value_name = "NAMESPACE/NAME",
        default_value = "kube-system/edge-tunnel-server-cfg",
        requires = "cluster"
    )]
    pub config_map: Namespaced,

    /// Which Nodes are tunnelled: those that a label selector selects, of which several may stand side by side with
    /// semicolons between. A Node whose agent has a session is tunnelled without
    #[arg(
        long,
        env = "EDGE_TUNNEL_NODE_SELECTOR",
        value_name = "SELECTORS",
        default_value = NODE_SELECTOR,
        requires = "cluster"
    )]
    pub node_selector: Selectors,

    /// Where an edge node's address counts, for a Node says itself what its addresses are: networks, separated by commas
    /// [default: everywhere but at what is another's: nodes that are not tunnelled, pods, --service-cidrs, this server]
    #[arg(
        long,
        env = "EDGE_TUNNEL_EDGE_CIDRS",
        value_name = "CIDRS",
        value_delimiter = ',',
        value_parser = super::network,
        requires = "cluster"
    )]
    pub edge_cidrs: Vec<IpNet>,

    /// The cluster's own networks, in which no edge node's address counts, its Services' above all: networks, separated
    /// by commas
    #[arg(
        long,
        env = "EDGE_TUNNEL_SERVICE_CIDRS",
        value_name = "CIDRS",
        value_delimiter = ',',
        value_parser = super::network,
        requires = "cluster"
    )]
    pub service_cidrs: Vec<IpNet>,

    /// The Services in this server's own namespace at which agents reach it; what they come to is published for agents in
    /// ConfigMap edge-tunnel-endpoints. May be given several times, or as a list separated by commas; 'none' switches it
    /// off
    #[arg(
        long,
        env = "EDGE_TUNNEL_AGENTS_SERVICE",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "edge-tunnel-agents,edge-tunnel-agents-udp",
        value_parser = service,
        requires = "cluster"
    )]
    agents_service: Vec<String>,
}

impl KubernetesArgs {
    /// The agents' Services, if their addresses are to be published.
    #[must_use]
    pub fn agents_services(&self) -> &[String] {
        let off = self.agents_service.iter().any(|name| name == "none");
        if off { &[] } else { &self.agents_service }
    }
}

/// The name of a Service (RFC 1123; below Kubernetes 1.34 RFC 1035, which is narrower).
fn service(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    let words = "this is no Service's name: lower-case letters, digits and -, at most 63";
    fits.then(|| text.to_owned())
        .ok_or_else(|| words.to_owned())
}

/// The labels of edge nodes: OpenYurt's two, ACK Edge's, our own.
const NODE_SELECTOR: &str = "openyurt.io/is-edge-worker=true;openyurt.io/edge-enable-reverseTunnel-client=true;\
    alibabacloud.com/is-edge-worker=true;edge-tunnel.io/enabled=true";

/// `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespaced {
    /// In which namespace.
    pub namespace: String,
    /// What it is called there.
    pub name: String,
}

impl FromStr for Namespaced {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |text: &str| {
            let fits =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
            (1..=253).contains(&text.len()) && text.bytes().all(fits)
        };
        match text.split_once('/') {
            Some((namespace, name)) if part(namespace) && part(name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err("write NAMESPACE/NAME, such as kube-system/edge-tunnel-server-cfg".to_owned()),
        }
    }
}

impl fmt::Display for Namespaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaced_names() {
        let name: Namespaced = "kube-system/yurt-tunnel-server-cfg".parse().unwrap();
        assert_eq!(
            (&*name.namespace, &*name.name),
            ("kube-system", "yurt-tunnel-server-cfg")
        );
        for bad in ["", "x", "/x", "x/", "a/b/c", "A/b", "a/b c"] {
            assert!(bad.parse::<Namespaced>().is_err(), "{bad:?} was taken");
        }
    }
}
