//! Reads the server name out of a TLS ClientHello without touching a byte of it (RFC 8446, 4.1.2 and 5.1;
//! RFC 6066, 3). Pure: bytes in, [`Progress`] out. What it does not know it skips, since the node's own
//! service, not this server, is the one to judge the handshake.

use edge_tunnel_proto::id::Host;

/// The most bytes of a ClientHello, records included. Post-quantum key shares and session tickets make
/// some kilobytes; Go and rustls stop at 64 KiB of handshake message too.
pub(super) const RAW_MAX: usize = 64 * 1024;
/// The most payload in a record (RFC 8446, 5.1).
const RECORD_MAX: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What is known so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes are needed.
    Incomplete,
    /// The whole ClientHello is here.
    Hello(Name),
    /// It is plain text in capitals, as HTTP's methods are.
    PlainText,
    /// It is no TLS, or broken TLS, for this reason.
    Bad(&'static str),
}

/// Whom a ClientHello asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// Nobody: there is no server name.
    Missing,
    /// Nobody that could be: what it says is no name and no address.
    Unusable,
    /// This name, in small letters; or an address, which RFC 6066 does not want there and some callers send.
    Host(Host),
}

/// Gathers the ClientHello out of its records.
#[derive(Debug, Default)]
pub(super) struct Hello {
    /// The handshake message so far, without record headers.
    message: Vec<u8>,
    /// How many of the caller's bytes are in whole records that were taken in.
    taken: usize,
}

impl Hello {
    /// Looks at all that the caller sent so far. `raw` only grows from call to call.
    pub(super) fn look(&mut self, raw: &[u8]) -> Progress {
        loop {
            if let Some(length) = self.length() {
                match length {
                    Err(bad) => return Progress::Bad(bad),
                    Ok(length) if self.message.len() >= length => {
                        return match server_name(&self.message[4..length]) {
                            Some(name) => Progress::Hello(name),
                            None => Progress::Bad("its ClientHello is malformed"),
                        };
                    }
                    Ok(_) => {}
                }
            }
            let rest = raw.get(self.taken..).unwrap_or_default();
            let Some(&kind) = rest.first() else {
                return Progress::Incomplete;
            };
            if kind != HANDSHAKE {
                let plain = self.taken == 0 && kind.is_ascii_uppercase();
                return if plain {
                    Progress::PlainText
                } else {
                    Progress::Bad("it does not begin with a TLS handshake")
                };
            }
            let Some(&[_, major, _, high, low]) = rest.first_chunk() else {
                return Progress::Incomplete;
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if major != 3 || length == 0 || length > RECORD_MAX {
                return Progress::Bad("its first TLS record is malformed");
            }
            let Some(payload) = rest.get(5..5 + length) else {
                return Progress::Incomplete;
            };
            self.message.extend_from_slice(payload);
            self.taken += 5 + length;
        }
    }

    /// The length of the whole message with its header, once the header is here.
    fn length(&self) -> Option<Result<usize, &'static str>> {
        let &[kind, a, b, c] = self.message.first_chunk()?;
        if kind != CLIENT_HELLO {
            return Some(Err("its first handshake message is no ClientHello"));
        }
        let length = 4 + u32::from_be_bytes([0, a, b, c]) as usize;
        Some(if length > RAW_MAX {
            Err("its ClientHello is larger than 64 KiB")
        } else {
            Ok(length)
        })
    }
}

/// The server name in the body of a ClientHello; `None` for a malformed one.
fn server_name(body: &[u8]) -> Option<Name> {
    let mut body = Reader(body);
    body.take(2 + 32)?;
    body.vector8()?;
    body.vector16()?;
    body.vector8()?;
    if body.0.is_empty() {
        // TLS before 1.3 may come without any extension.
        return Some(Name::Missing);
    }
    let mut extensions = Reader(body.vector16()?);
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vector16()?;
        if kind == SERVER_NAME && name.replace(host_name(data)?).is_some() {
            return None;
        }
    }
    body.0.is_empty().then(|| name.unwrap_or(Name::Missing))
}

/// The one host name in the extension. RFC 6066 allows one name of a kind, and knows one kind.
fn host_name(data: &[u8]) -> Option<Name> {
    let mut outer = Reader(data);
    let mut list = Reader(outer.vector16()?);
    let kind = list.take(1)?[0];
    let name = list.vector16()?;
    if kind != HOST_NAME || !list.0.is_empty() || !outer.0.is_empty() {
        return None;
    }
    let host = std::str::from_utf8(name)
        .ok()
        .and_then(|name| name.parse().ok());
    Some(host.map_or(Name::Unusable, Name::Host))
}

/// TLS's vectors, each with its length before it (RFC 8446, 3.4).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
pub(super) mod tests {
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
}
