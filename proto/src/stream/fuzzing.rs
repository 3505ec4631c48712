//! The decoders of streams: whole frames, and an open stream's bytes.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead as _, ReadBuf};

use super::{Frame, Framed, Stream, StreamError};
use crate::code::Code;
use crate::codec::{self, DATA_MAX, HEADER, Header, Kind};
use crate::message::Abort;
use crate::mux;
use crate::testing::{Decoder, pieces, said};
use crate::transport::LaneStream;

/// Whole frames, as control streams, enrolments and the beginning of every stream are read.
pub(crate) const FRAMES: Decoder = Decoder {
    name: "frames",
    check: frames,
    samples,
};

/// What an open stream is made of.
pub(crate) const STREAM: Decoder = Decoder {
    name: "stream",
    check: stream,
    samples,
};

/// All frames at the front of `inbox`, and what ended them.
fn take_all(inbox: &mut BytesMut, frames: &mut Vec<Frame>) -> Option<StreamError> {
    loop {
        match Frame::take(inbox) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

fn frames(bytes: &[u8]) {
    if let Ok(Some(header)) = Header::peek(bytes) {
        // Before any of the payload is there.
        assert!(header.length <= DATA_MAX, "{header:?}");
    }
    let (mut whole, mut inbox) = (Vec::new(), BytesMut::from(bytes));
    let error = take_all(&mut inbox, &mut whole);
    let mut again = BytesMut::new();
    for frame in &whole {
        // Panics above the cap.
        codec::put(&mut again, frame.kind, &frame.payload);
    }
    assert!(bytes.starts_with(&again), "frames change on the way");
    if let Some(error) = &error {
        said(error);
    } else {
        assert_eq!(&bytes[again.len()..], &inbox[..], "bytes are lost");
    }

    let (mut cut, mut inbox) = (Vec::new(), BytesMut::new());
    let error_in_pieces = pieces(bytes).find_map(|piece| {
        inbox.extend_from_slice(piece);
        take_all(&mut inbox, &mut cut)
    });
    assert_eq!((cut, error_in_pieces), (whole, error), "pieces differ");
}

/// What comes out of a stream into which these bytes go, and how it ends.
fn read(parts: &[&[u8]]) -> (Vec<u8>, Result<(), StreamError>) {
    let fed = LaneStream::Mux(mux::fuzzing::fed(parts));
    let mut stream = Stream::new(Framed::new(fed));
    let (mut all, mut room) = (Vec::new(), [0; 256]);
    let cx = &mut Context::from_waker(Waker::noop());
    let end = loop {
        let mut buf = ReadBuf::new(&mut room);
        match Pin::new(&mut stream).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => break Ok(()),
            Poll::Ready(Ok(())) => all.extend_from_slice(buf.filled()),
            Poll::Ready(Err(error)) => break Err(StreamError::of(&error)),
            Poll::Pending => unreachable!("the transport has ended"),
        }
    };
    if end.is_ok() {
        // Behind the end there may be an `Abort`, and nothing else.
        let _ = stream.poll_broken(cx);
    }
    (all, end)
}

fn stream(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(mux::INITIAL_WINDOW as usize)];
    let whole = read(&[bytes]);
    let parts: Vec<_> = pieces(bytes).collect();
    assert_eq!(read(&parts), whole, "pieces differ");

    // The same, by the letter of the protocol.
    let (mut expected, mut rest) = (Vec::new(), bytes);
    let clean = loop {
        let Ok(Some(Header { kind, length })) = Header::peek(rest) else {
            break false;
        };
        rest.advance(HEADER);
        match kind {
            Kind::Data => {
                let there = length.min(rest.len());
                expected.extend_from_slice(&rest[..there]);
                rest.advance(there);
            }
            Kind::End => break true,
            _ => break false,
        }
    };
    assert_eq!((&whole.0, whole.1.is_ok()), (&expected, clean));
    if let Err(error) = whole.1 {
        said(&error);
    }
}

fn samples() -> Vec<Vec<u8>> {
    let mut ended = BytesMut::new();
    codec::put(&mut ended, Kind::Data, b"GET / HTTP/1.1\r\n\r\n");
    codec::put(&mut ended, Kind::Data, &[7; 300]);
    codec::put(&mut ended, Kind::End, &[]);
    let mut broken = BytesMut::new();
    codec::put(&mut broken, Kind::Data, b"half");
    codec::put_message(&mut broken, Kind::Abort, &Abort::new(Code::Reset, "gone"));
    let mut opening = BytesMut::new();
    codec::put(&mut opening, Kind::Accepted, &[]);
    codec::put(&mut opening, Kind::Opened, &[]);
    codec::put(&mut opening, Kind::Data, b"x");
    codec::put(&mut opening, Kind::Unknown(200), b"a later version's");
    [ended, broken, opening].map(Vec::from).into()
}
