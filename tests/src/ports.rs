//! Ports that must be known before they are bound, such as the listeners of `https-proxy-ports`, or outlive who has them.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use rand::RngExt as _;

use crate::wait::give_up;

/// Below what systems hand out for port 0, so that nobody gets such a port by chance between the look and the use.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port that is free on loopback, over TCP and over UDP.
///
/// # Panics
/// When a hundred in a row are not.
#[must_use]
pub fn free() -> u16 {
    for _ in 0..100 {
        let port = rand::rng().random_range(RANGE);
        let at = ("127.0.0.1", port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return port;
        }
    }
    give_up("a hundred random ports on loopback are taken")
}

/// An address of its own in 127.0.0.0/8 for a node whose services need well-known ports. Linux has all of that
/// network on loopback.
#[must_use]
pub fn node_address() -> IpAddr {
    let mut rng = rand::rng();
    IpAddr::V4(Ipv4Addr::new(
        127,
        rng.random_range(1..255),
        rng.random_range(1..255),
        rng.random_range(1..255),
    ))
}
