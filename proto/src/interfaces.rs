//! The addresses that this machine's interfaces bear.

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
}
