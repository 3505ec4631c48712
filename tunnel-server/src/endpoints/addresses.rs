//! Where agents reach the server, from its Services and the nodes' addresses. Pure: the same objects give every replica
//! the same list.
//!
//! Of each Service the first that there is: the annotation, the balancer, node ports at nodes that are not tunnelled, the
//! cluster's own address. A balancer that is never made (a cluster without one) leaves its node ports.

use std::collections::BTreeMap;
use std::fmt;

use edge_tunnel_proto::id::{Destination, Host, Port, excerpt};
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServicePort};

use super::nodes::NodeAddresses;

/// Says where agents reach the Service, whatever it says itself: `HOST:PORT`, or `HOST` with the Service's ports; several
/// with commas between. OpenYurt's name for it.
pub(super) const ANNOTATION: &str = "x-tunnel-server-external-addr";

/// At so many nodes node ports are published.
const NODES_MAX: usize = 5;

/// So many addresses agents use.
const ADDRESSES_MAX: usize = 16;

/// What passes at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    Any,
    Quic,
    Tls,
}

impl Ways {
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Quic, Self::Quic) => Self::Quic,
            (Self::Tls, Self::Tls) => Self::Tls,
            _ => Self::Any,
        }
    }
}

/// An address, as the agent's `--server` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    ways: Ways,
    destination: Destination,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ways {
            Ways::Any => {}
            Ways::Quic => f.write_str("quic://")?,
            Ways::Tls => f.write_str("tls://")?,
        }
        fmt::Display::fmt(&self.destination, f)
    }
}

/// What the Services came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// In the order in which agents are to try them.
    pub(super) addresses: Vec<Address>,
    /// What is wrong with the objects, in words.
    pub(super) complaints: Vec<String>,
}

/// Whether the nodes' addresses matter.
pub(super) fn wants_nodes(services: &[&Service]) -> bool {
    let mut unheard = Vec::new();
    let told = |service: &Service, unheard: &mut Vec<String>| {
        !annotated(service, unheard).is_empty() || !balanced(service, unheard).is_empty()
    };
    services
        .iter()
        .any(|service| !told(service, &mut unheard) && !node_ports(service).is_empty())
}

/// Where these Services are reached; `nodes` are those that are not tunnelled.
pub(super) fn find(services: &[&Service], nodes: &[NodeAddresses]) -> Found {
    let (mut all, mut complaints) = (Vec::new(), Vec::new());
    for service in services {
        let ways = [
            annotated(service, &mut complaints),
            balanced(service, &mut complaints),
            at_nodes(service, nodes),
            inside(service),
        ];
        let found = ways.into_iter().find(|found| !found.is_empty());
        if found.is_none() {
            complaints.push(format!(
                "Service {} has neither an address nor a TCP or UDP port that agents could dial",
                name(service)
            ));
        }
        all.extend(found.unwrap_or_default());
    }
    Found {
        addresses: in_order(all),
        complaints,
    }
}

fn name(service: &Service) -> &str {
    service.metadata.name.as_deref().unwrap_or_default()
}

fn spec_ports(service: &Service) -> &[ServicePort] {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default()
}

/// The ports that `number` gives, with what passes at each.
fn ports<'a>(
    ports: impl IntoIterator<Item = &'a ServicePort>,
    number: impl Fn(&ServicePort) -> Option<i32>,
) -> Vec<(Port, Ways)> {
    let mut found = BTreeMap::<Port, Ways>::new();
    for port in ports {
        let ways = match port.protocol.as_deref() {
            None | Some("TCP") => Ways::Tls,
            Some("UDP") => Ways::Quic,
            Some(_) => continue,
        };
        let number = number(port).and_then(|number| u16::try_from(number).ok());
        if let Some(number) = number.and_then(Port::new) {
            let known = found.entry(number).or_insert(ways);
            *known = known.and(ways);
        }
    }
    found.into_iter().collect()
}

fn own_ports(service: &Service) -> Vec<(Port, Ways)> {
    ports(spec_ports(service), |port| Some(port.port))
}

fn node_ports(service: &Service) -> Vec<(Port, Ways)> {
    ports(spec_ports(service), |port| port.node_port)
}

fn at(host: &Host, ports: &[(Port, Ways)]) -> impl Iterator<Item = Address> {
    ports.iter().map(|&(port, ways)| Address {
        ways,
        destination: Destination {
            host: host.clone(),
            port,
        },
    })
}

/// What the annotation says.
fn annotated(service: &Service, complaints: &mut Vec<String>) -> Vec<Address> {
    let annotations = service.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|all| all.get(ANNOTATION)) else {
        return Vec::new();
    };
    let own = own_ports(service);
    let every = own.iter().map(|(_, ways)| *ways).reduce(Ways::and);
    let mut found = Vec::new();
    let separate = |c: char| c == ',' || c.is_whitespace();
    for item in text.split(separate).filter(|item| !item.is_empty()) {
        let (only, rest) = match item.split_once("://") {
            Some(("quic", rest)) => (Some(Ways::Quic), rest),
            Some(("tls", rest)) => (Some(Ways::Tls), rest),
            _ => (None, item),
        };
        let ways = only.or(every).unwrap_or(Ways::Any);
        if let Ok(destination) = rest.parse() {
            found.push(Address { ways, destination });
        } else if let Ok(host) = rest.parse() {
            let ports: Vec<_> = own
                .iter()
                .map(|&(port, ways)| (port, only.unwrap_or(ways)))
                .collect();
            found.extend(at(&host, &ports));
        } else {
            complaints.push(format!(
                "annotation {ANNOTATION} of Service {}: {:?} is no HOST:PORT, and is skipped",
                name(service),
                excerpt(item)
            ));
        }
    }
    found
}

/// Where the balancer is.
fn balanced(service: &Service, complaints: &mut Vec<String>) -> Vec<Address> {
    let status = service.status.as_ref();
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref());
    let mut found = Vec::new();
    for ingress in ingress.unwrap_or_default() {
        let told = ingress.hostname.as_deref().filter(|name| !name.is_empty());
        let Some(told) = told.or(ingress.ip.as_deref()) else {
            continue;
        };
        match told.parse() {
            Ok(host) => {
                let served = spec_ports(service)
                    .iter()
                    .filter(|port| serves(ingress, port));
                found.extend(at(&host, &ports(served, |port| Some(port.port))));
            }
            Err(_) => complaints.push(format!(
                "Service {}: its balancer's address {:?} is neither a name nor an address, and is skipped",
                name(service),
                excerpt(told)
            )),
        }
    }
    found
}

/// A balancer may have failed at one of the ports, as those do that know no UDP beside TCP.
fn serves(ingress: &LoadBalancerIngress, port: &ServicePort) -> bool {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let mut told = ingress.ports.iter().flatten();
    !told.any(|told| told.port == port.port && told.protocol == protocol && told.error.is_some())
}

/// The node ports, at addresses that are reached from outside before those that may not be.
fn at_nodes(service: &Service, nodes: &[NodeAddresses]) -> Vec<Address> {
    let ports = node_ports(service);
    let mut nodes: Vec<_> = nodes.iter().collect();
    nodes.sort_by_key(|node| &node.name);
    let outside = nodes.iter().flat_map(|node| &node.external);
    let inside = nodes.iter().flat_map(|node| &node.internal);
    let mut hosts = Vec::new();
    for ip in outside.chain(inside) {
        let host = Host::ip(*ip);
        if hosts.len() < NODES_MAX && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts.iter().flat_map(|host| at(host, &ports)).collect()
}

/// Where those who are in the cluster's network reach it.
fn inside(service: &Service) -> Vec<Address> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let ports = own_ports(service);
    let one = spec.cluster_ip.as_slice();
    let all = spec.cluster_ips.as_deref().unwrap_or(one);
    // `None` is what a headless one has.
    let hosts = all.iter().filter(|ip| *ip != "None");
    let hosts: Vec<Host> = hosts.filter_map(|ip| ip.parse().ok()).collect();
    hosts.iter().flat_map(|host| at(host, &ports)).collect()
}

/// Each destination once. Those that take both transports come first; of the rest one for QUIC, which is preferred, and
/// one for TLS in turns, since agents begin with each a moment after the one before.
fn in_order(all: Vec<Address>) -> Vec<Address> {
    let mut each = Vec::<Address>::new();
    for address in all {
        match each
            .iter_mut()
            .find(|known| known.destination == address.destination)
        {
            Some(known) => known.ways = known.ways.and(address.ways),
            None => each.push(address),
        }
    }
    let of = |ways| each.iter().filter(move |address| address.ways == ways);
    let mut ordered: Vec<_> = of(Ways::Any).cloned().collect();
    let (mut quic, mut tls) = (of(Ways::Quic), of(Ways::Tls));
    loop {
        let before = ordered.len();
        ordered.extend(quic.next().cloned());
        ordered.extend(tls.next().cloned());
        if ordered.len() == before {
            break;
        }
    }
    ordered.truncate(ADDRESSES_MAX);
    ordered
}

#[cfg(test)]
mod tests;
