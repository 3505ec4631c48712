//! Follows the messages of a caller's connection beside hyper, which reads some heads leniently that two
//! parsers could read in two ways and shows nothing of it afterwards (a `Content-Length` beside a
//! `Transfer-Encoding` is gone when the request is seen). This finds each head, judges it
//! ([`head::judge`]), and follows its body only to find the next one.

use crate::ingress::head::{self, Framing, Scanner, Violation};

/// The largest head, in bytes; hyper is told the same and answers 431 itself.
pub(super) const HEAD_MAX: usize = 64 * 1024;
/// The most bytes of a chunk's size line, and of all trailers.
const CHUNK_LINE_MAX: usize = 1024;
const TRAILERS_MAX: usize = 16 * 1024;

/// Why a connection may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// A head is bad; so many of the bytes at hand come before it.
    Head(usize, Violation),
    /// A body is bad.
    Body(Violation),
}

#[derive(Debug)]
enum State {
    Head(Scanner),
    Length(u64),
    /// Digits so far, and the size they say.
    ChunkSize(usize, u64),
    /// Bytes of the line so far, and the chunk's size.
    ChunkExtension(usize, u64),
    /// The line's end is due.
    ChunkSizeEnd(u64),
    ChunkData(u64),
    /// How much of the line end after the data has come.
    ChunkDataEnd(bool),
    Trailers {
        total: usize,
        line: usize,
        after_cr: bool,
    },
    /// The head asked to leave HTTP: what follows may be anything, and no second head is taken from it.
    Open,
}

/// Where in its messages a connection is.
#[derive(Debug)]
pub(super) struct Framer {
    state: State,
    /// The head so far.
    head: Vec<u8>,
}

impl Default for Framer {
    fn default() -> Self {
        Self {
            state: State::Head(Scanner::default()),
            head: Vec::new(),
        }
    }
}

impl Framer {
    /// Whether a head has begun and not ended.
    pub(super) fn mid_head(&self) -> bool {
        matches!(self.state, State::Head(_)) && !self.head.is_empty()
    }

    /// Whether a body has begun and not ended.
    pub(super) fn mid_body(&self) -> bool {
        !matches!(self.state, State::Head(_) | State::Open)
    }

    /// Takes in the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut at = 0;
        while at < bytes.len() {
            let begun = at;
            at += match self.step(&bytes[at..]) {
                Ok(taken) => taken,
                Err(why) if matches!(self.state, State::Head(_)) => {
                    return Err(Stop::Head(begun, why));
                }
                Err(why) => return Err(Stop::Body(why)),
            };
        }
        Ok(())
    }

    /// Takes at least one byte of a rest that is not empty, and says how many.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Violation> {
        let first = rest[0];
        let (taken, next) = match &mut self.state {
            State::Open => return Ok(rest.len()),
            State::Head(scanner) => {
                let Some(end) = scanner.scan(rest)? else {
                    self.head.extend_from_slice(rest);
                    if self.head.len() > HEAD_MAX {
                        // hyper is at its answer already.
                        self.state = State::Open;
                    }
                    return Ok(rest.len());
                };
                self.head.extend_from_slice(&rest[..end]);
                let head = head::judge(&self.head)?;
                let next = match head.framing {
                    _ if head.upgrade => State::Open,
                    Framing::Length(length) => after(length, State::Length),
                    Framing::Chunked => State::ChunkSize(0, 0),
                };
                self.head.clear();
                (end, next)
            }
            State::Length(left) => {
                let (taken, left) = take(*left, rest);
                (taken, after(left, State::Length))
            }
            State::ChunkSize(digits, size) => match (char::from(first).to_digit(16), first) {
                (Some(digit), _) if *digits < 16 => (
                    1,
                    State::ChunkSize(*digits + 1, *size << 4 | u64::from(digit)),
                ),
                (None, b'\r') if *digits > 0 => (1, State::ChunkSizeEnd(*size)),
                (None, b';') if *digits > 0 => (1, State::ChunkExtension(0, *size)),
                _ => return Err("a chunk's size is no number"),
            },
            State::ChunkExtension(line, size) => match first {
                b'\r' => (1, State::ChunkSizeEnd(*size)),
                b'\t' | b' '..=b'~' | 0x80.. if *line < CHUNK_LINE_MAX => {
                    (1, State::ChunkExtension(*line + 1, *size))
                }
                _ => return Err("a chunk's extension is too long or has a control character"),
            },
            State::ChunkSizeEnd(size) => match (first, *size) {
                (b'\n', 0) => (
                    1,
                    State::Trailers {
                        total: 0,
                        line: 0,
                        after_cr: false,
                    },
                ),
                (b'\n', size) => (1, State::ChunkData(size)),
                _ => return Err("a chunk's size line has a carriage return alone"),
            },
            State::ChunkData(left) => {
                let (taken, left) = take(*left, rest);
                (
                    taken,
                    if left == 0 {
                        State::ChunkDataEnd(false)
                    } else {
                        State::ChunkData(left)
                    },
                )
            }
            State::ChunkDataEnd(after_cr) => match (first, *after_cr) {
                (b'\r', false) => (1, State::ChunkDataEnd(true)),
                (b'\n', true) => (1, State::ChunkSize(0, 0)),
                _ => return Err("a chunk is longer than its size"),
            },
            State::Trailers { total, .. } if *total >= TRAILERS_MAX => {
                return Err("the trailers are too large");
            }
            State::Trailers {
                total,
                line,
                after_cr,
            } => {
                let total = *total + 1;
                match (first, *after_cr) {
                    (b'\n', true) if *line == 0 => (1, State::default()),
                    (b'\n', true) => (
                        1,
                        State::Trailers {
                            total,
                            line: 0,
                            after_cr: false,
                        },
                    ),
                    (b'\r', false) => (
                        1,
                        State::Trailers {
                            total,
                            line: *line,
                            after_cr: true,
                        },
                    ),
                    (b'\n', false) | (_, true) => return Err("a trailer's line end is not CR LF"),
                    (_, false) => (
                        1,
                        State::Trailers {
                            total,
                            line: *line + 1,
                            after_cr: false,
                        },
                    ),
                }
            }
        };
        self.state = next;
        Ok(taken)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Scanner::default())
    }
}

/// `state` with what is left of a body, or the next head.
fn after(left: u64, state: impl Fn(u64) -> State) -> State {
    if left == 0 {
        State::default()
    } else {
        state(left)
    }
}

/// How many bytes of `rest` are among the next `left`, and how many of those are left after them.
fn take(left: u64, rest: &[u8]) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
    (taken, left - taken as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &str = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn feed(parts: &[&str]) -> Result<Framer, Stop> {
        let mut framer = Framer::default();
        for part in parts {
            framer.feed(part.as_bytes())?;
        }
        Ok(framer)
    }

    #[test]
    fn heads_are_found_behind_bodies_of_every_kind() {
        let length = "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET / HTTP/9";
        let none = "GET /c HTTP/1.1\r\nHost: a\r\n\r\n";
        let chunks = "5;x=y\r\n\n\r\n\r\n\r\n10\r\nGET / HTTP/9.9\r\n\r\n0\r\n";
        let all = format!(
            "{length}{none}{CHUNKED}{chunks}\r\n{none}{CHUNKED}{chunks}T: v\r\n\r\n{length}"
        );
        assert!(!feed(&[&all]).unwrap().mid_head());
        let bytes: Vec<String> = all.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert!(!feed(&bytes).unwrap().mid_head());
        // A bad head behind it is seen as one: so every body ended where it should.
        let bad = "GET / HTTP/9.9\r\n\r\n";
        assert!(
            matches!(feed(&[&format!("{all}{bad}")]), Err(Stop::Head(at, _)) if at == all.len())
        );
    }

    #[test]
    fn a_head_in_parts_is_one_head() {
        let framer = feed(&["GET / HTTP/1.1\r\nHo"]).unwrap();
        assert!(framer.mid_head());
        assert!(matches!(
            feed(&["GET / HTTP/1.1\r\nHo", "st: a\n"]),
            Err(Stop::Head(0, _))
        ));
    }

    #[test]
    fn bodies_that_read_two_ways_are_refused() {
        let bad = "\r\n|x\r\n|-1\r\n| 1\r\na\r\n|1 \r\na\r\n|0x1\r\na\r\n|1\na\r\n|1\r\rna|1\r\nab\r\n|1\r\na\n|\
                   1\r\na\r\r|11111111111111111\r\n|1;\x01\r\n|0\r\n\n|0\r\nT: v\n\r\n|0\r\nT: v\r\r\n";
        for body in bad.split('|') {
            assert!(
                matches!(feed(&[CHUNKED, body]), Err(Stop::Body(_))),
                "{body:?}"
            );
        }
        let long = format!("1;{}", "x".repeat(CHUNK_LINE_MAX + 1));
        assert!(matches!(feed(&[CHUNKED, &long]), Err(Stop::Body(_))));
        let long = format!("0\r\n{}", "T: v\r\n".repeat(TRAILERS_MAX / 6 + 1));
        assert!(matches!(feed(&[CHUNKED, &long]), Err(Stop::Body(_))));
    }

    #[test]
    fn after_an_upgrade_anything_goes() {
        let upgrade =
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        assert!(
            !feed(&[upgrade, "\0\0\n\n", "GET / HTTP/9.9\r\n\r\n"])
                .unwrap()
                .mid_head()
        );
    }
}
