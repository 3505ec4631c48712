//! Judges the raw head of an HTTP/1 request before anything acts on it. Whatever two parsers could read in
//! two ways is refused: that is what request smuggling is made of (RFC 9112, 11.2).

use httparse::{EMPTY_HEADER, Error, Request, Status};

/// The most header lines of a request.
const HEADERS_MAX: usize = 100;

/// Why a head is refused, in words.
pub(super) type Violation = &'static str;

/// What a TLS connection begins with: the record of a handshake, of any version (RFC 8446, 5.1).
const TLS: [u8; 2] = [0x16, 0x03];

/// What is said to TLS. Its caller may see no word of it; whoever reads the log does.
const TLS_CAME: Violation = "TLS came to a port that speaks plain HTTP; come without TLS (http://), or to the way in that \
                             takes it: --connect-listen, or --tls-listen for a node's own TLS";

/// Finds the end of a head as its bytes come, and refuses at once what shifts line ends about.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    after_cr: bool,
    /// Bytes of the line at hand.
    line: usize,
    /// Lines that said something.
    lines: usize,
    empty_lines: usize,
    /// All that came so far is the first byte of TLS.
    maybe_tls: bool,
}

impl Scanner {
    /// How many of these next `bytes` belong to the head, once it ends among them.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        for (at, byte) in bytes.iter().enumerate() {
            let maybe_tls = std::mem::take(&mut self.maybe_tls);
            match byte {
                _ if maybe_tls && *byte == TLS[1] => return Err(TLS_CAME),
                b'\n' if !self.after_cr => return Err("a line ends without a carriage return"),
                b'\n' => {
                    self.after_cr = false;
                    if self.line > 0 {
                        self.lines += 1;
                        self.line = 0;
                    } else if self.lines > 0 {
                        return Ok(Some(at + 1));
                    } else {
                        // One empty line before a request is forgiven (RFC 9112, 2.2).
                        self.empty_lines += 1;
                        if self.empty_lines > 1 {
                            return Err("empty lines come before the request");
                        }
                    }
                }
                _ if self.after_cr => return Err("a carriage return stands alone"),
                b'\r' => self.after_cr = true,
                0 => return Err("there is a NUL"),
                b' ' | b'\t' if self.line == 0 => return Err("a line begins with a blank"),
                _ => {
                    self.maybe_tls = *byte == TLS[0] && self.is_new();
                    self.line += 1;
                }
            }
        }
        Ok(None)
    }

    const fn is_new(&self) -> bool {
        self.line == 0 && self.lines == 0 && self.empty_lines == 0
    }
}

/// How many bytes follow a head as its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many.
    Length(u64),
    /// Chunks say so themselves.
    Chunked,
}

/// A head that reads one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) framing: Framing,
    /// Whether it asks to leave HTTP behind.
    pub(super) upgrade: bool,
}

/// Judges a whole head, as [`Scanner`] found it.
pub(super) fn judge(head: &[u8]) -> Result<Head<'_>, Violation> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err("the head is not whole"),
        Err(Error::HeaderName) => {
            return Err("a header's name has a character that no name has, or a blank after it");
        }
        Err(Error::HeaderValue) => return Err("a header's value has a control character"),
        Err(Error::TooManyHeaders) => return Err("it has more than 100 header lines"),
        Err(Error::Version) => return Err("the version is not HTTP/1.0 or HTTP/1.1"),
        Err(_) => return Err("the request line is not: method, target, version"),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err("the request line is not whole");
    };
    // Whoever judged the path before may have read it to its end, or to here.
    if target.contains('#') {
        return Err("its target has a fragment, which stays with the one who asks");
    }
    let framing = framing(request.headers, version == 0)?;
    let count = |name| values(request.headers, name).count();
    match count("host") {
        0 if version == 1 => return Err("it has no Host, which HTTP/1.1 demands"),
        0 | 1 => {}
        _ => return Err("it has more than one Host"),
    }
    Ok(Head {
        method,
        target,
        framing,
        upgrade: method == "CONNECT" || count("upgrade") > 0,
    })
}

/// RFC 9112, 6.3, without its lenient branches.
fn framing(headers: &[httparse::Header<'_>], http_1_0: bool) -> Result<Framing, Violation> {
    let (mut lengths, mut encodings) = (
        values(headers, "content-length"),
        values(headers, "transfer-encoding"),
    );
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(value), None) => Some(number(value).ok_or("its Content-Length is no number")?),
        (Some(_), Some(_)) => return Err("it has more than one Content-Length"),
    };
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(Framing::Length(length.unwrap_or(0))),
        (Some(_), _) if length.is_some() => Err("it has both Content-Length and Transfer-Encoding"),
        (Some(_), _) if http_1_0 => Err("HTTP/1.0 has no Transfer-Encoding"),
        (Some(value), None) if value.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(_), _) => Err("its Transfer-Encoding is something else than one \"chunked\""),
    }
}

fn values<'a>(
    headers: &'a [httparse::Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// Digits without leading zeros, which some take for octal.
fn number(value: &[u8]) -> Option<u64> {
    let digits = match value {
        [] => false,
        [b'0', _, ..] => false,
        value => value.iter().all(u8::is_ascii_digit),
    };
    digits
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::shapes::HEADS;

    fn read(text: &str) -> Result<(usize, Head<'_>), Violation> {
        let mut scanner = Scanner::default();
        // Byte by byte finds what all at once finds.
        let mut end = None;
        for at in 0..text.len() {
            if let Some(one) = scanner.scan(&text.as_bytes()[at..=at])? {
                end = Some(at + one);
                break;
            }
        }
        assert_eq!(Scanner::default().scan(text.as_bytes()), Ok(end));
        let end = end.ok_or("no end")?;
        judge(&text.as_bytes()[..end]).map(|head| (end, head))
    }

    #[test]
    fn what_reads_two_ways_is_refused() {
        for shape in HEADS {
            let text = shape.replace("{}", "POST /x");
            assert!(read(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_plain_request_is_read() {
        let head =
            "\r\nPOST /x HTTP/1.1\r\nhost: a\r\nContent-length: 12\r\nX:\r\nY: \u{e9}\r\n\r\n";
        let text = format!("{head}body");
        let (end, read) = read(&text).unwrap();
        assert_eq!(end, head.len());
        let expected = Head {
            method: "POST",
            target: "/x",
            framing: Framing::Length(12),
            upgrade: false,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn framing_and_upgrades() {
        let chunked = read("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n")
            .unwrap()
            .1;
        assert_eq!(
            (chunked.framing, chunked.upgrade),
            (Framing::Chunked, false)
        );
        let none = read("GET / HTTP/1.0\r\n\r\n").unwrap().1;
        assert_eq!((none.framing, none.upgrade), (Framing::Length(0), false));
        assert!(
            read("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
                .unwrap()
                .1
                .upgrade
        );
        assert!(
            read("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap()
                .1
                .upgrade
        );
    }

    #[test]
    fn tls_is_told_from_a_request_that_is_damaged() {
        // The beginning of a ClientHello, whole or cut behind what tells it.
        for hello in ["\x16\x03\x01\0\x05\x01\0\0\x01\x03", "\x16\x03"] {
            let said = read(hello).unwrap_err();
            assert!(said.starts_with("TLS came to a port"), "{said}");
        }
        for other in [
            "\x16",
            "\x16GET / HTTP/1.1\r\n\r\n",
            "\x03\x16\x03",
            "\r\n\x16\x03\0",
            "G\x16\x03\0",
        ] {
            let said = read(other).unwrap_err();
            assert!(!said.contains("TLS"), "{other:?}: {said}");
        }
    }

    #[test]
    fn header_lines_are_bounded() {
        let lines = "X: y\r\n".repeat(HEADERS_MAX);
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        assert!(read(&text).unwrap_err().contains("more than 100"));
    }
}
