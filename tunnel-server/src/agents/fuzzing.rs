//! The decoder of what a balancer says before TLS.

use std::net::SocketAddr;

use edge_tunnel_proto::testing::{Decoder, pieces, said};
use ppp::{v1, v2};

use super::proxy_protocol::{MAX, parse};

pub(crate) const PROXY_PROTOCOL: Decoder = Decoder {
    name: "proxy-protocol",
    check,
    samples,
};

fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MAX)];
    // Looked at as the bytes come, it finds what it finds in all of them.
    let mut seen = 0;
    let in_pieces = pieces(bytes).find_map(|piece| {
        seen += piece.len();
        parse(&bytes[..seen]).transpose()
    });
    let whole = parse(bytes);
    match (&whole, &in_pieces) {
        (Ok(Some(found)), Some(Ok(in_pieces))) => assert_eq!(found, in_pieces),
        (Ok(None), None) | (Err(_), Some(Err(_))) => {}
        _ => unreachable!("whole: {whole:?}, in pieces: {in_pieces:?}"),
    }
    match whole {
        Ok(Some((length, source))) => {
            assert!(length <= bytes.len());
            let header = &bytes[..length];
            assert_eq!(parse(header).ok().flatten(), Some((length, source)));
            let local = header.get(12).is_some_and(|byte| byte & 15 == 0);
            assert!(header.starts_with(b"PROXY ") || !local || source.is_none());
        }
        Ok(None) => assert!(bytes.len() < MAX, "it waits for ever"),
        Err(error) => said(&error),
    }
}

fn samples() -> Vec<Vec<u8>> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let v4 = (address("192.0.2.7:5000"), address("198.51.100.1:10262"));
    let v6 = (
        address("[2001:db8::7]:5000"),
        address("[2001:db8::1]:10262"),
    );
    let mut all = vec![b"PROXY UNKNOWN\r\n".to_vec()];
    for (from, to) in [v4, v6] {
        let text = v1::Addresses::from((from, to)).to_string();
        all.push([text.as_bytes(), b"\x16\x03\x01"].concat());
        for command in [v2::Command::Proxy, v2::Command::Local] {
            let binary = v2::Builder::with_addresses(
                v2::Version::Two | command,
                v2::Protocol::Stream,
                (from, to),
            );
            let binary = binary.write_tlv(v2::Type::UniqueId, b"a balancer's own");
            let bytes = binary.and_then(v2::Builder::build);
            all.push(bytes.expect("it is short"));
        }
    }
    all
}
