//! Reads the server name out of a TLS ClientHello without touching a byte of it (RFC 8446, 4.1.2 and 5.1;
//! RFC 6066, 3). Pure: bytes in, [`Progress`] out. What it does not know it skips, since the node's own
//! service, not this server, is the one to judge the handshake.

use edge_tunnel_proto::id::Host;

#[cfg(test)]
pub(super) mod tests;

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
