//! The grammar of rules: `SCOPE:PORTS`. A scope is `node` (the node's own addresses), `loopback`, an address or a
//! network; ports are `*` or a list of ports and ranges. IPv6 stands in brackets.
//!
//! `192.0.2.0/24:80,443` · `[2001:db8::/32]:8000-8100` · `node:*` · `loopback:9100`

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use edge_tunnel_proto::id::{Port, excerpt};
use ipnet::{IpNet, Ipv4Net};

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No scope, or no ports.
    #[error(
        "{0:?} is no rule: write SCOPE:PORTS, such as node:*, loopback:9100, 192.0.2.0/24:80,443 or \
         [2001:db8::/32]:8000-8100"
    )]
    Form(String),
    /// Neither a word, an address nor a network.
    #[error("{0:?} is no scope: use node, loopback, an address or a network such as 192.0.2.0/24")]
    Scope(String),
    /// Bits beyond the prefix, which may be a mistyped prefix.
    #[error("{0} has bits beyond its prefix: write {1}")]
    HostBits(IpNet, IpNet),
    /// Not ports.
    #[error("{0:?} are no ports: use *, or a list such as 80,443,8000-8100")]
    Ports(String),
}

/// A set of TCP ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortSet {
    /// Every port.
    All,
    /// These ranges; none is the empty set.
    Ranges(Vec<RangeInclusive<u16>>),
}

impl PortSet {
    /// Whether `port` is in it.
    #[must_use]
    pub fn contains(&self, port: Port) -> bool {
        match self {
            Self::All => true,
            Self::Ranges(ranges) => ranges.iter().any(|range| range.contains(&port.get())),
        }
    }
}

impl FromStr for PortSet {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let bad = || RuleError::Ports(excerpt(text));
        let port = |text: &str| text.trim().parse::<Port>().map(Port::get);
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (port(first), port(last)) {
                (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
                _ => Err(bad()),
            }
        };
        text.split(',')
            .map(range)
            .collect::<Result<_, _>>()
            .map(Self::Ranges)
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ranges(ranges) = self else {
            return f.write_str("*");
        };
        for (index, range) in ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// Which addresses a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The node's own addresses, as its interfaces bear them, and `--node-ip`.
    Node,
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// A network, or one address.
    Net(IpNet),
}

impl FromStr for Scope {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "node" => return Ok(Self::Node),
            "loopback" => return Ok(Self::Loopback),
            _ => {}
        }
        let bad = || RuleError::Scope(excerpt(text));
        let bare = match text.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(bad)?,
            // The last colon before the ports would be ambiguous.
            None if text.contains(':') => return Err(bad()),
            None => text,
        };
        let net = match bare.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_no_single_address) => bare.parse::<IpNet>().map_err(|_nor_a_network| bad())?,
        };
        if net != net.trunc() {
            return Err(RuleError::HostBits(net, net.trunc()));
        }
        Ok(Self::Net(canonical(net)))
    }
}

/// An IPv4-mapped network (`::ffff:192.0.2.0/120`) in its IPv4 form, since addresses are judged in that form.
fn canonical(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
        && let Ok(v4) = Ipv4Net::new(v4, prefix)
    {
        return IpNet::V4(v4);
    }
    net
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Loopback => f.write_str("loopback"),
            Self::Net(IpNet::V4(net)) if net.prefix_len() == 32 => write!(f, "{}", net.addr()),
            Self::Net(IpNet::V4(net)) => write!(f, "{net}"),
            Self::Net(IpNet::V6(net)) if net.prefix_len() == 128 => write!(f, "[{}]", net.addr()),
            Self::Net(IpNet::V6(net)) => write!(f, "[{net}]"),
        }
    }
}

/// One rule of the node: these ports of these addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which addresses.
    pub scope: Scope,
    /// Which ports of them.
    pub ports: PortSet,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let form = || RuleError::Form(excerpt(text));
        let (scope, ports) = text.trim().rsplit_once(':').ok_or_else(form)?;
        if scope.is_empty() || ports.is_empty() {
            return Err(form());
        }
        Ok(Self {
            scope: scope.trim().parse()?,
            ports: ports.parse()?,
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scope, self.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_their_text_form() {
        for text in [
            "node:*",
            "loopback:9100",
            "192.0.2.0/24:80,443",
            "192.0.2.1:1-65535",
            "[2001:db8::/32]:8000-8100",
            "[2001:db8::1]:443",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mapped_networks_are_ipv4() {
        let text = |t: &str| t.parse::<Rule>().unwrap().to_string();
        assert_eq!(text("[::ffff:192.0.2.0/120]:80"), "192.0.2.0/24:80");
        assert_eq!(text("[::ffff:192.0.2.1]:80"), "192.0.2.1:80");
    }

    #[test]
    fn what_is_no_rule() {
        for bad in [
            "",
            "node",
            "node:",
            ":80",
            "node:0",
            "node:65536",
            "node:+80",
            "node:90-80",
            "node:80,",
            "edge-1:80",
            "2001:db8::1:80",
            "[2001:db8::1:80",
            "192.0.2.0/33:80",
            "192.0.2.1/24:80",
        ] {
            assert!(bad.parse::<Rule>().is_err(), "{bad:?} was taken");
        }
        let error = "192.0.2.1/24:80".parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains("write 192.0.2.0/24"), "{error}");
    }

    #[test]
    fn port_sets() {
        let set: PortSet = "80, 443,8000-8100".parse().unwrap();
        for (port, within) in [
            (80, true),
            (443, true),
            (8050, true),
            (8101, false),
            (81, false),
        ] {
            assert_eq!(set.contains(Port::known(port)), within, "{port}");
        }
        assert!(PortSet::All.contains(Port::known(1)));
        assert_eq!("*".parse(), Ok(PortSet::All));
        assert!("".parse::<PortSet>().is_err());
    }
}
