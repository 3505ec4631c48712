//! Follows the messages of a caller's connection beside hyper, which reads some heads leniently that two
//! parsers could read in two ways and shows nothing of it afterwards (a `Content-Length` beside a
//! `Transfer-Encoding` is gone when the request is seen). This finds each head, judges it
//! ([`head::judge`]), and follows its body only to find the next one. A head passes when it is whole and good,
//! and not before: what hyper has a part of, nobody else can answer.

use http::Uri;

use crate::ingress::answer::Unservable;
use crate::ingress::head::{self, Framing, Scanner, Violation};

#[cfg(test)]
mod tests;

/// The largest head, in bytes. hyper is told the same, and never has to say so itself.
pub(super) const HEAD_MAX: usize = 64 * 1024;
/// The most bytes of a chunk's size line, and of all trailers.
const CHUNK_LINE_MAX: usize = 1024;
const TRAILERS_MAX: usize = 16 * 1024;

/// What stands for [`HEAD_MAX`] being passed.
const TOO_LARGE: Violation = "the head is too large";

/// Why a connection may not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The next head is no request.
    Head(Unservable),
    /// A body is bad.
    Body(Violation),
}

/// What passes of the bytes at hand.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Comes first: the beginning of a head that was kept back, and is whole now.
    pub(super) kept: Vec<u8>,
    /// So many of the bytes come then.
    pub(super) count: usize,
    /// Nothing comes after them.
    pub(super) stop: Option<Stop>,
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
    /// The head so far, kept back.
    head: Vec<u8>,
    /// What was kept back of a head that is whole now.
    kept: Vec<u8>,
}

impl Default for Framer {
    fn default() -> Self {
        Self {
            state: State::Head(Scanner::default()),
            head: Vec::new(),
            kept: Vec::new(),
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

    /// Takes in the next bytes. After a [`Stop`] it takes in no more.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Passed {
        let mut passed = Passed::default();
        let mut at = 0;
        while at < bytes.len() {
            match self.step(&bytes[at..]) {
                Ok(taken) => at += taken,
                Err(why) => {
                    passed.stop = Some(self.stop(why));
                    break;
                }
            }
            if !self.mid_head() {
                passed.count = at;
            }
        }
        passed.kept = std::mem::take(&mut self.kept);
        passed
    }

    fn stop(&self, why: Violation) -> Stop {
        match self.state {
            State::Head(_) if why == TOO_LARGE => Stop::Head(Unservable::head_too_large(HEAD_MAX)),
            State::Head(_) => Stop::Head(Unservable::bad(why)),
            _ => Stop::Body(why),
        }
    }

    /// Takes at least one byte of a rest that is not empty, and says how many.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Violation> {
        let first = rest[0];
        let (taken, next) = match &mut self.state {
            State::Open => return Ok(rest.len()),
            State::Head(scanner) => {
                let kept = self.head.len();
                let room = HEAD_MAX - kept;
                // No further: what is wrong with a head must not depend on how much of it comes at once.
                let Some(end) = scanner.scan(&rest[..rest.len().min(room)])? else {
                    if rest.len() >= room {
                        return Err(TOO_LARGE);
                    }
                    self.head.extend_from_slice(rest);
                    return Ok(rest.len());
                };
                if kept == 0 {
                    (end, behind(&rest[..end])?)
                } else {
                    self.head.extend_from_slice(&rest[..end]);
                    let next = behind(&self.head)?;
                    self.head.truncate(kept);
                    self.kept = std::mem::take(&mut self.head);
                    (end, next)
                }
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

/// What follows this head, if it is a good one.
fn behind(head: &[u8]) -> Result<State, Violation> {
    let head = head::judge(head)?;
    // hyper would answer this one itself, without a word.
    if head.target.parse::<Uri>().is_err() {
        return Err("its target is neither a path nor a URL");
    }
    Ok(match head.framing {
        _ if head.upgrade => State::Open,
        Framing::Length(length) => after(length, State::Length),
        Framing::Chunked => State::ChunkSize(0, 0),
    })
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
