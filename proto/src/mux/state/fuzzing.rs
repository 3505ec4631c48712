//! A connection's whole state under whatever a peer may say.

use bytes::BytesMut;

use super::super::Side;
use super::super::frame::{self, Kind};
use super::pair::{deliver, state};
use super::{Key, State};
use crate::code::Code;
use crate::testing::{pieces, said};

/// So many streams may a peer open here: few, so that the limit is met.
const INBOUND: usize = 4;

/// This side, with one stream that it has opened itself.
fn listening() -> State {
    let mut here = state(Side::Server, INBOUND);
    let mut key = here.open().expect("there is room");
    let written = here.try_write(&mut key, b"x");
    assert_eq!(written, Some(Ok(1)));
    here.fill(&mut BytesMut::new());
    here
}

pub(in crate::mux) fn connection(bytes: &[u8]) {
    let mut whole = listening();
    let mut wire = BytesMut::from(bytes);
    let heard = deliver(&mut wire, &mut whole);
    whole.check();

    let mut cut = listening();
    let mut wire = BytesMut::new();
    let heard_in_pieces = pieces(bytes).try_for_each(|piece| {
        wire.extend_from_slice(piece);
        deliver(&mut wire, &mut cut)
    });
    assert_eq!(heard_in_pieces, heard, "pieces differ");
    assert_eq!(
        (cut.streams(), cut.promised(), cut.out.len()),
        (whole.streams(), whole.promised(), whole.out.len()),
        "pieces differ"
    );
    if let Err(error) = heard {
        said(&error);
    }

    // Nothing that was said keeps this side from going on, or from forgetting all.
    let mut keys = vec![Key::Wire(2)];
    while let Ok(Some((key, _more))) = whole.accept() {
        keys.push(key);
    }
    for mut key in keys {
        while let Some(Ok(read)) = whole.try_read(key, 1000)
            && !read.is_empty()
        {
            whole.check();
        }
        let _ = whole.finish(&mut key);
        whole.fill(&mut BytesMut::new());
        whole.check();
        whole.release(key, Code::Cancelled);
        whole.check();
    }
    assert_eq!((whole.streams(), whole.promised()), (0, 0));
}

pub(in crate::mux) fn samples() -> Vec<Vec<u8>> {
    let code = [0, 0, 0, 9];
    let talk: [&[(Kind, u32, &[u8])]; 4] = [
        &[
            (Kind::Open, 1, b"first"),
            (Kind::Data, 1, b"second"),
            (Kind::Fin, 1, b""),
        ],
        &[
            (Kind::Open, 1, b""),
            (Kind::Open, 3, b"x"),
            (Kind::Window, 1, &[0, 0, 0x80, 0]),
            (Kind::Reset, 3, &code),
        ],
        &[
            (Kind::Ping, 0, &[1; 8]),
            (Kind::Pong, 0, &[2; 8]),
            (Kind::Data, 2, b"to yours"),
            (Kind::Window, 2, &[0, 1, 0, 0]),
            (Kind::Fin, 2, b""),
        ],
        &[(Kind::Open, 1, b"x"), (Kind::Close, 0, b"\0\0\0\x0abye")],
    ];
    let mut all: Vec<_> = talk
        .iter()
        .map(|frames| {
            let mut wire = BytesMut::new();
            for (kind, stream, payload) in *frames {
                frame::put(&mut wire, *kind, *stream, payload);
            }
            wire.to_vec()
        })
        .collect();
    let mut many = BytesMut::new();
    for stream in (1..).step_by(2).take(2 * INBOUND) {
        frame::put(&mut many, Kind::Open, stream, b"x");
    }
    all.push(many.to_vec());
    all
}
