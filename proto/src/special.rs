//! Addresses that are never dialled by accident: metadata services of clouds, link-local, multicast, unspecified. Whoever
//! reaches one of these through somebody else's dial reaches what trusts that machine.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;

/// The ranges, the narrower ones first.
static RANGES: LazyLock<Vec<(IpNet, &str)>> = LazyLock::new(|| {
    [
        ("169.254.169.254/32", "a cloud metadata service"),
        ("100.100.100.200/32", "a cloud metadata service"),
        ("fd00:ec2::254/128", "a cloud metadata service"),
        ("fd20:ce::254/128", "a cloud metadata service"),
        ("169.254.0.0/16", "a link-local address"),
        ("fe80::/10", "a link-local address"),
        ("224.0.0.0/4", "a multicast address"),
        ("ff00::/8", "a multicast address"),
        ("0.0.0.0/8", "an unspecified address"),
        ("::/128", "an unspecified address"),
        ("255.255.255.255/32", "the broadcast address"),
    ]
    .map(|(net, what)| (net.parse().expect("a special range parses"), what))
    .into()
});

/// The range of these that an address lies in, and what it is.
#[must_use]
pub fn range(address: IpAddr) -> Option<(IpNet, &'static str)> {
    let address = address.to_canonical();
    let found = RANGES.iter().find(|(net, _)| net.contains(&address));
    found.map(|(net, what)| (*net, *what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_range_says_what_it_is() {
        let what = |address: &str| range(address.parse().unwrap()).map(|(_, what)| what);
        for (address, expected) in [
            ("169.254.169.254", Some("a cloud metadata service")),
            ("100.100.100.200", Some("a cloud metadata service")),
            ("::ffff:169.254.169.254", Some("a cloud metadata service")),
            ("169.254.0.1", Some("a link-local address")),
            ("fe80::1", Some("a link-local address")),
            ("255.255.255.255", Some("the broadcast address")),
            ("0.0.0.0", Some("an unspecified address")),
            ("192.0.2.1", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(what(address), expected, "{address}");
        }
    }
}
