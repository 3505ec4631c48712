//! The ClientHello, as bytes come from a socket, beside what rustls reads in it.

use std::sync::Arc;

use edge_tunnel_proto::id::Host;
use edge_tunnel_proto::identity::provider;
use edge_tunnel_proto::testing::{Decoder, Mutator, Pieces, now};
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::hello::{Name, Progress, RAW_MAX};
use super::peek;

pub(crate) const HELLO: Decoder = Decoder {
    name: "client-hello",
    check,
    samples,
};

fn check(bytes: &[u8]) {
    let mut io = Pieces::whole(bytes);
    let (whole, raw) = now(peek(&mut io));
    assert!(bytes.starts_with(&raw), "bytes are changed");
    assert_eq!([&raw[..], &io.rest()].concat(), bytes, "bytes are lost");
    let (cut, _) = now(peek(&mut Pieces::cut(bytes)));
    assert_eq!(cut, whole, "pieces differ");
    match whole {
        Progress::Hello(name) => agrees(bytes, &name),
        Progress::Bad(why) => assert!(!why.is_empty()),
        Progress::Incomplete => assert!(bytes.len() < RAW_MAX),
        Progress::PlainText => assert!(bytes[0].is_ascii_uppercase()),
    }
}

/// Whoever else reads the name, reads the same: the node's service, most of all.
fn agrees(bytes: &[u8], name: &Name) {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                match (name, hello.server_name()) {
                    (Name::Host(Host::Name(ours)), theirs) => {
                        let theirs = theirs.map(|name| name.trim_end_matches('.'));
                        assert!(
                            theirs.is_some_and(|theirs| theirs.eq_ignore_ascii_case(ours.as_str())),
                            "{ours} is {theirs:?} for rustls"
                        );
                    }
                    // An address, or what is no name of a node, may be either there.
                    (Name::Host(Host::Ip(_)) | Name::Unusable, _) => {}
                    (Name::Missing, theirs) => assert_eq!(theirs, None),
                }
                return;
            }
            Ok(None) => {}
            Err(_refused) => return,
        }
    }
}

/// What a real client sends, post-quantum key share and all.
pub(super) fn client_hello(name: &'static str, sni: bool) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.enable_sni = sni;
    let name = name.try_into().expect("a server's name");
    let client = ClientConnection::new(Arc::new(config), name);
    let mut raw = Vec::new();
    let written = client.expect("a client").write_tls(&mut raw);
    written.expect("memory takes all");
    raw
}

/// The same message in records that are cut by chance, or at these places.
pub(super) fn recut(raw: &[u8], mut size: impl FnMut() -> usize) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = raw;
    while let Some((&[_, _, _, high, low], behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        message.extend_from_slice(&behind[..length]);
        rest = &behind[length..];
    }
    let mut cut = Vec::new();
    let mut rest = &message[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(size().clamp(1, rest.len()));
        cut.extend_from_slice(&raw[..3]);
        cut.extend_from_slice(
            &u16::try_from(now.len())
                .expect("a record's length")
                .to_be_bytes(),
        );
        cut.extend_from_slice(now);
        rest = later;
    }
    cut
}

fn samples() -> Vec<Vec<u8>> {
    let named = client_hello("edge-1.example", true);
    let mut sizes = Mutator::new(1);
    let cut = recut(&named, || 1 + sizes.below(400));
    vec![
        cut,
        client_hello("192.0.2.1", true),
        client_hello("edge-1.example", false),
        b"GET / HTTP/1.1\r\n".to_vec(),
        named,
    ]
}
