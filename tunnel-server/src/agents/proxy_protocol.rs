//! The PROXY protocol (versions 1 and 2): a balancer's word on where a TCP connection comes from, before its first
//! byte. Believed only where the operator says that a balancer stands in front.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The longest header that is read, in bytes: a version 2 header with addresses and a few attributes.
pub(super) const MAX: usize = 1024;

/// The longest header of version 1, in bytes, its line end included.
const LINE_MAX: usize = 107;

/// How soon an incomplete header is looked at again.
const AGAIN: Duration = Duration::from_millis(10);

/// Reads the header and gives the address that it names; `peer`'s own where the balancer speaks for itself (a health
/// check). The caller bounds the time.
pub(super) async fn read(tcp: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
    let mut buffer = [0; MAX];
    loop {
        // Looked at, not taken: what follows the header belongs to TLS.
        let seen = tcp.peek(&mut buffer).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((length, source)) = parse(&buffer[..seen])? {
            tcp.read_exact(&mut buffer[..length]).await?;
            return Ok(source.unwrap_or(peer));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The header's length and the source in it; `None` while it is not whole.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Option<(usize, Option<SocketAddr>)>> {
    let may_be = |start: &[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    // A text header is a line. The reader below takes one that was cut in front of its last port for a bad one, and waits
    // for the rest of what is none.
    if may_be(b"PROXY ") && bytes.len() < LINE_MAX && !bytes.contains(&b'\n') {
        return Ok(None);
    }
    let header = HeaderResult::parse(bytes);
    if may_be(v2::PROTOCOL_PREFIX) && header.is_incomplete() && bytes.len() < MAX {
        return Ok(None);
    }
    match header {
        HeaderResult::V1(Ok(header)) => {
            let source = match header.addresses {
                v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
                v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
                v1::Addresses::Unknown => None,
            };
            Ok(Some((header.header.len(), source)))
        }
        HeaderResult::V2(Ok(header)) => {
            let source = match header.addresses {
                // Whatever addresses stand there then are to be ignored (PROXY protocol, 2.2).
                _ if header.command == v2::Command::Local => None,
                v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
                v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
            };
            Ok(Some((header.header.len(), source)))
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no PROXY protocol header; either the balancer does not send one, or something else connects here \
             (--agents-proxy-protocol)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_name_the_source() {
        let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 10262\r\n\x16\x03\x01";
        let (length, source) = parse(text).unwrap().unwrap();
        assert_eq!(
            (length, source),
            (text.len() - 3, Some("192.0.2.7:5000".parse().unwrap()))
        );
        let addresses: v2::Addresses = (
            "192.0.2.7:5000".parse::<SocketAddr>().unwrap(),
            "198.51.100.1:10262".parse::<SocketAddr>().unwrap(),
        )
            .into();
        let mut binary = v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Proxy,
            v2::Protocol::Stream,
            addresses,
        )
        .build()
        .unwrap();
        let whole = binary.len();
        assert_eq!(parse(&binary[..whole - 1]).unwrap(), None);
        binary.push(0x16);
        let (length, source) = parse(&binary).unwrap().unwrap();
        assert_eq!(
            (length, source),
            (whole, Some("192.0.2.7:5000".parse().unwrap()))
        );
    }

    #[test]
    fn a_balancers_own_check_has_no_source() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n").unwrap(), Some((15, None)));
        let addresses: v2::Addresses = (
            "192.0.2.7:5000".parse::<SocketAddr>().unwrap(),
            "198.51.100.1:10262".parse::<SocketAddr>().unwrap(),
        )
            .into();
        let local = v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Local,
            v2::Protocol::Stream,
            addresses,
        );
        let local = local.build().unwrap();
        assert_eq!(parse(&local).unwrap(), Some((local.len(), None)));
    }

    #[test]
    fn a_text_header_may_come_in_any_pieces() {
        let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 10262\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]).unwrap(), None, "{end}");
        }
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; LINE_MAX]].concat();
        for never in [&endless[..], b"P P", b"PROXY \n", b"PROXY TCP4\r\n"] {
            assert!(parse(never).is_err(), "{never:?} would be waited for");
        }
    }

    #[test]
    fn anything_else_is_an_error_that_names_the_flag() {
        let error =
            parse(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaa").unwrap_err();
        assert!(error.to_string().contains("--agents-proxy-protocol"));
        assert!(parse(&[b'P'; MAX]).is_err());
    }
}
