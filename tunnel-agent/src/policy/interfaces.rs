//! The addresses that this node's interfaces bear.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// kube-proxy's IPVS mode puts every Service address of the cluster on this dummy interface
/// (kubernetes/kubernetes `pkg/proxy/ipvs/proxier.go`, `defaultDummyDevice`). Those are not the node's own.
const KUBE_IPVS: &str = "kube-ipvs0";

/// Every address of every interface, loopback and link-local included.
///
/// # Errors
/// When the system does not list them.
pub fn addresses() -> io::Result<BTreeSet<IpAddr>> {
    let listed = getifaddrs()?;
    let own = listed.filter(|interface| interface.interface_name != KUBE_IPVS);
    Ok(own
        .filter_map(|interface| interface.address.as_ref().and_then(ip))
        .collect())
}

/// What is to be said of a `--node-ip` that no interface bears; `None` where it is well, or cannot be told.
#[must_use]
pub fn stranger(node_ip: Option<IpAddr>) -> Option<String> {
    let (node_ip, own) = (node_ip?, addresses().ok()?);
    if own.contains(&node_ip) {
        return None;
    }
    let own: Vec<_> = own
        .iter()
        .filter(|address| !address.is_loopback())
        .map(ToString::to_string)
        .collect();
    Some(format!(
        "{node_ip} (--node-ip) is no address of this node, whose interfaces have {}; what is asked of the node's name is \
         dialled there all the same",
        own.join(", ")
    ))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = || address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    let v6 = || address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
    v4().or_else(v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_always_among_them() {
        let own = addresses().unwrap();
        assert!(own.iter().any(IpAddr::is_loopback), "{own:?}");
    }

    #[test]
    fn an_address_that_is_not_the_nodes_is_told() {
        let said = stranger(Some("192.0.2.9".parse().unwrap())).unwrap();
        assert!(said.starts_with("192.0.2.9 (--node-ip)"), "{said}");
        assert_eq!(stranger(Some("127.0.0.1".parse().unwrap())), None);
        assert_eq!(stranger(None), None);
    }
}
