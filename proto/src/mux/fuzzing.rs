//! The decoders of the mux, and a stream of a connection that exists in memory alone.

use bytes::BytesMut;

use super::frame::{self, HEADER, Header, Kind};
use super::{Limits, Mux, MuxStream, Side, state};
use crate::budget::Budget;
use crate::testing::{Decoder, now, said};

/// Single frames.
pub(crate) const FRAMES: Decoder = Decoder {
    name: "mux-frame",
    check: frames,
    samples: state::fuzzing::samples,
};

/// Everything that a peer says on a connection.
pub(crate) const CONNECTION: Decoder = Decoder {
    name: "mux",
    check: state::fuzzing::connection,
    samples: state::fuzzing::samples,
};

fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        match Header::peek(rest) {
            Ok(None) => return assert!(rest.len() < HEADER),
            Err(error) => return said(&error),
            Ok(Some(header)) => {
                assert!(header.length <= frame::PAYLOAD_MAX);
                let Some(payload) = rest.get(HEADER..HEADER + header.length) else {
                    return;
                };
                let mut again = BytesMut::new();
                frame::put(&mut again, header.kind, header.stream, payload);
                assert_eq!(again, rest[..again.len()], "a frame changes on the way");
                rest = &rest[again.len()..];
            }
        }
    }
}

/// A stream on which the peer has sent these parts, and then ended its direction. No more than the first window.
pub(crate) fn fed(parts: &[&[u8]]) -> MuxStream {
    let limits = Limits {
        inbound: 1,
        outbound: 1,
    };
    let (mux, _no_driver) = Mux::new(
        tokio::io::empty(),
        Side::Server,
        limits,
        &Budget::new(super::CONNECTION_WINDOW_MAX),
    );
    let hear = |kind, payload: &[u8]| {
        let header = Header {
            kind,
            length: payload.len(),
            stream: 1,
        };
        let heard = mux.shared.state.lock().receive(header, payload);
        heard.expect("an honest peer's frame");
    };
    hear(Kind::Open, &[]);
    let stream = now(mux.accept()).expect("it was opened just now");
    parts.iter().for_each(|part| hear(Kind::Data, part));
    hear(Kind::Fin, &[]);
    // The mux closes here; what has come stays to be read.
    stream
}
