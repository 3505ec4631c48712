//! What strangers do, and what they are told at each kind of listener.

use std::time::Duration;

use edge_tunnel_tests::stranger::{Rude, Then, hello};
use rand::Rng as _;

/// Between the bytes of a slow one: no head is whole before its time is over.
const PACE: Duration = Duration::from_millis(300);

/// What is spoken at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// TLS that ends here.
    Tls,
    /// A PROXY header, then TLS.
    Proxied,
    /// TLS that is passed on by its server name.
    Passed,
    /// HTTP, of our own reading.
    Http,
    /// CONNECT.
    Connect,
    /// HTTP, as hyper reads it.
    Admin,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Nothing,
    Alert(u8),
    Handshake,
    Status(u16),
    Else,
}

impl Answer {
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Nothing,
            [21, 3, _, 0, 2, 2, alert, ..] => Self::Alert(*alert),
            [22, 3, ..] => Self::Handshake,
            [
                b'H',
                b'T',
                b'T',
                b'P',
                b'/',
                b'1',
                b'.',
                _,
                b' ',
                status,
                ..,
            ] if status.is_ascii_digit() => {
                let status = String::from_utf8_lossy(&bytes[9..bytes.len().min(12)]);
                status.parse().map_or(Self::Else, Self::Status)
            }
            _ => Self::Else,
        }
    }
}

/// A rudeness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Silent,
    Ended,
    Left,
    Random,
    Zeros,
    Ones,
    Text,
    HalfHead,
    HalfHello,
    SlowHead,
    SlowHello,
    EndlessLine,
    EndlessHeaders,
    LargestRecord,
    LargeMessage,
    PlainHttp,
    Hello,
}

impl Kind {
    pub(super) const ALL: [Self; 17] = [
        Self::Silent,
        Self::Ended,
        Self::Left,
        Self::Random,
        Self::Zeros,
        Self::Ones,
        Self::Text,
        Self::HalfHead,
        Self::HalfHello,
        Self::SlowHead,
        Self::SlowHello,
        Self::EndlessLine,
        Self::EndlessHeaders,
        Self::LargestRecord,
        Self::LargeMessage,
        Self::PlainHttp,
        Self::Hello,
    ];

    pub(super) fn rude(self) -> Rude {
        let head = "GET / HTTP/1.1\r\nHost: somebody:1\r\n";
        match self {
            Self::Silent => Rude::says([]),
            Self::Ended => Rude::says([]).then(Then::Ends),
            Self::Left => Rude::says("GET / HT").then(Then::Leaves),
            Self::Random => {
                let mut bytes = [0; 200];
                rand::rng().fill_bytes(&mut bytes);
                // By chance it might begin as something that is spoken somewhere.
                bytes[0] = 0x99;
                Rude::says(bytes)
            }
            Self::Zeros => Rude::says([0; 200]),
            Self::Ones => Rude::says([0xff; 200]),
            Self::Text => Rude::says("hello, is anybody there?\r\n\r\n"),
            Self::HalfHead => Rude::says(head),
            Self::HalfHello => Rude::says(&hello("somebody")[..100]),
            Self::SlowHead => Rude::says(head.repeat(100)).slowly(PACE),
            Self::SlowHello => Rude::says(hello("somebody")).slowly(PACE),
            Self::EndlessLine => Rude::says(format!("GET /{}", "x".repeat(2_000_000))),
            Self::EndlessHeaders => {
                Rude::says(format!("{head}{}", "X-Header: x\r\n".repeat(150_000)))
            }
            Self::LargestRecord => {
                let mut record = vec![22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
                record.resize(5 + 0x4000, 0);
                Rude::says(record)
            }
            Self::LargeMessage => {
                // One handshake message of 16 MiB, as its length says, in as many records as it takes.
                let mut record = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
                record.resize(5 + 0x4000, 1);
                let mut more = vec![22, 3, 1, 0x40, 0];
                more.resize(5 + 0x4000, 1);
                record.extend(more.repeat(60));
                Rude::says(record)
            }
            Self::PlainHttp => Rude::says(format!("{head}Connection: close\r\n\r\n")),
            Self::Hello => Rude::says(hello("somebody")),
        }
    }

    /// Whether it stays on behind what it said, so that it is the listener that has to end it.
    const fn is_much(self) -> bool {
        matches!(
            self,
            Self::EndlessLine | Self::EndlessHeaders | Self::LargestRecord | Self::LargeMessage
        )
    }

    /// Whether it is told so at this listener.
    pub(super) fn is_told(self, at: Spoken, answer: Answer) -> bool {
        use Answer::{Alert, Handshake, Nothing, Status};
        if self == Self::Left || self == Self::Ended {
            return true;
        }
        // What is closed with bytes unread is reset, and that may overtake the answer.
        if answer == Nothing && self.is_much() {
            return true;
        }
        let half = matches!(self, Self::HalfHello | Self::SlowHello);
        match at {
            Spoken::Proxied => matches!(answer, Nothing),
            Spoken::Tls => match self {
                Self::Silent | Self::HalfHello | Self::SlowHello => answer == Nothing,
                // Over TLS 1.3 the server speaks first, and then waits for the caller's certificate. On the agents' port it
                // looks for a protocol of ours and finds none.
                Self::Hello => matches!(answer, Handshake | Alert(120)),
                _ => matches!(answer, Alert(_)),
            },
            Spoken::Passed => match self {
                Self::Silent => answer == Nothing,
                _ if half => answer == Nothing,
                Self::HalfHead
                | Self::SlowHead
                | Self::EndlessLine
                | Self::EndlessHeaders
                | Self::PlainHttp => answer == Status(400),
                Self::Hello => answer == Alert(112),
                _ => answer == Alert(50),
            },
            Spoken::Http | Spoken::Connect => match self {
                Self::Silent | Self::HalfHead | Self::SlowHead => answer == Status(408),
                Self::SlowHello => matches!(answer, Status(400 | 408)),
                Self::EndlessLine => answer == Status(431),
                Self::EndlessHeaders => matches!(answer, Status(431 | 400)),
                Self::PlainHttp if at == Spoken::Connect => answer == Status(405),
                Self::PlainHttp => matches!(answer, Status(403 | 503)),
                _ => matches!(answer, Status(400 | 408)),
            },
            Spoken::Admin => match self {
                Self::PlainHttp => matches!(answer, Nothing | Status(200 | 404)),
                _ => matches!(answer, Nothing | Status(400 | 408 | 414 | 431)),
            },
        }
    }
}
