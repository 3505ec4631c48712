//! What the addresses of this node's interfaces say of `--node-ip`.

use std::net::IpAddr;

use edge_tunnel_proto::interfaces::addresses;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_the_nodes_is_told() {
        let said = stranger(Some("192.0.2.9".parse().unwrap())).unwrap();
        assert!(said.starts_with("192.0.2.9 (--node-ip)"), "{said}");
        assert_eq!(stranger(Some("127.0.0.1".parse().unwrap())), None);
        assert_eq!(stranger(None), None);
    }
}
