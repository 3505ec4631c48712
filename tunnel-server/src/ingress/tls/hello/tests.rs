use super::*;

/// A ClientHello with these extensions, in records of at most `record` bytes.
pub(in crate::ingress::tls) fn hello(extensions: &[(u16, Vec<u8>)], record: usize) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([1, 9]);
    // GREASE (RFC 8701) among the cipher suites.
    body.extend([0, 4, 0x0a, 0x0a, 0x13, 0x01]);
    body.extend([1, 0]);
    let mut all = Vec::new();
    for (kind, data) in extensions {
        all.extend(kind.to_be_bytes());
        all.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        all.extend(data);
    }
    body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
    body.extend(all);
    records(&body, record)
}

fn records(body: &[u8], record: usize) -> Vec<u8> {
    let mut message = vec![CLIENT_HELLO];
    message.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    message.extend(body);
    let mut raw = Vec::new();
    for part in message.chunks(record) {
        raw.extend([HANDSHAKE, 3, 1]);
        raw.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        raw.extend(part);
    }
    raw
}

pub(in crate::ingress::tls) fn sni(name: &[u8]) -> (u16, Vec<u8>) {
    let length = u16::try_from(name.len()).unwrap();
    let mut data = (length + 3).to_be_bytes().to_vec();
    data.push(HOST_NAME);
    data.extend(length.to_be_bytes());
    data.extend(name);
    (SERVER_NAME, data)
}

fn look(raw: &[u8]) -> Progress {
    Hello::default().look(raw)
}

fn named(host: &str) -> Progress {
    Progress::Hello(Name::Host(host.parse().unwrap()))
}

#[test]
fn a_hello_is_read_byte_by_byte_and_over_any_records() {
    let grease = (0x1a1a, vec![0]);
    let key_share = (51, vec![5; 1300]);
    let extensions = [grease, key_share, sni(b"Edge-1.Example"), (0xfafa, vec![])];
    for record in [1, 2, 3, 100, RECORD_MAX] {
        let raw = hello(&extensions, record);
        assert_eq!(look(&raw), named("edge-1.example"), "records of {record}");
        let mut gathering = Hello::default();
        for end in 0..raw.len() {
            assert_eq!(
                gathering.look(&raw[..end]),
                Progress::Incomplete,
                "{end} of {}",
                raw.len()
            );
        }
        assert_eq!(gathering.look(&raw), named("edge-1.example"));
    }
}

#[test]
fn bytes_behind_the_hello_do_not_matter() {
    let mut raw = hello(&[sni(b"edge-1")], RECORD_MAX);
    raw.extend([20, 3, 3, 0, 1, 1]);
    assert_eq!(look(&raw), named("edge-1"));
}

#[test]
fn names() {
    assert_eq!(
        look(&hello(&[(10, vec![0, 2, 0, 29])], 500)),
        Progress::Hello(Name::Missing)
    );
    assert_eq!(look(&hello(&[], 500)), Progress::Hello(Name::Missing));
    assert_eq!(look(&hello(&[sni(b"edge-1.")], 500)), named("edge-1"));
    assert_eq!(look(&hello(&[sni(b"192.0.2.1")], 500)), named("192.0.2.1"));
    for bad in [
        b"".as_slice(),
        b"edge_1",
        b"a\0b",
        b"\xff",
        b"edge-1:443",
        "ä".as_bytes(),
    ] {
        assert_eq!(
            look(&hello(&[sni(bad)], 500)),
            Progress::Hello(Name::Unusable),
            "{bad:?}"
        );
    }
}

#[test]
fn without_extensions_at_all() {
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 47, 1, 0]);
    assert_eq!(look(&records(&body, 500)), Progress::Hello(Name::Missing));
}

#[test]
fn malformed_hellos_are_refused_and_nothing_panics() {
    let (kind, mut two) = sni(b"a");
    two[1] += 4;
    two.extend([HOST_NAME, 0, 1, b'b']);
    let cases = [
        hello(&[sni(b"a"), sni(b"b")], 500),
        hello(&[(kind, two)], 500),
        hello(&[(kind, vec![])], 500),
        hello(&[(kind, vec![0, 9, 0, 0, 1, b'a'])], 500),
        hello(&[(kind, vec![0, 4, 1, 0, 1, b'a'])], 500),
        records(&[3, 3], 500),
    ];
    for case in cases {
        assert!(matches!(look(&case), Progress::Bad(_)), "{case:?}");
    }
    // Every byte of a good one changed to every value, each cut anywhere: it ends, in some answer.
    let good = hello(&[sni(b"ab")], 30);
    for at in 0..good.len() {
        for value in 0..=255 {
            let mut changed = good.clone();
            changed[at] = value;
            look(&changed);
            look(&changed[..at]);
        }
    }
}

#[test]
fn what_is_no_tls_is_told_apart() {
    assert_eq!(look(b""), Progress::Incomplete);
    assert_eq!(look(b"GET / HTTP/1.1\r\n"), Progress::PlainText);
    for bad in [
        b"\x80\x2e\x01".as_slice(),
        b"get",
        &[21, 3, 3, 0, 2, 1, 0],
        &[22, 2, 0, 0, 1],
        &[22, 3, 1, 0, 0],
    ] {
        assert!(matches!(look(bad), Progress::Bad(_)), "{bad:?}");
    }
    assert!(matches!(look(&[22, 3, 1, 0x40, 1]), Progress::Bad(_)));
    assert!(matches!(
        look(&[22, 3, 1, 0, 4, 2, 0, 0, 0]),
        Progress::Bad(_)
    ));
    assert!(matches!(
        look(&[22, 3, 1, 0, 4, 1, 1, 0, 0]),
        Progress::Bad(_)
    ));
}

/// What a real client sends, with its post-quantum key share.
#[test]
fn rustls_own_hello_is_read() {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "Edge-1.example".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut raw = Vec::new();
    client.write_tls(&mut raw).unwrap();
    assert!(raw.len() > 1200, "{}", raw.len());
    assert_eq!(look(&raw), named("edge-1.example"));
}
