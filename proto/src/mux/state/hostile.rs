//! A peer that breaks the protocol, in every way that there is a rule against.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use super::super::Side;
use super::super::frame::{self, FrameError, Kind, PAYLOAD_MAX};
use super::pair::{carry, deliver, state};
use super::remote::PROVOKED_MAX;
use super::*;

/// A frame: kind, stream, payload.
type Frame<'a> = (Kind, u32, &'a [u8]);

/// What a server makes of these frames.
fn server_hears(frames: &[Frame<'_>]) -> Result<State, FrameError> {
    let mut server = state(Side::Server, 100);
    let mut wire = BytesMut::new();
    for (kind, id, payload) in frames {
        frame::put(&mut wire, *kind, *id, payload);
    }
    deliver(&mut wire, &mut server)?;
    server.check();
    Ok(server)
}

#[test]
fn what_breaks_a_rule_ends_the_connection() {
    let full = vec![0; PAYLOAD_MAX];
    let most = u32::MAX.to_be_bytes();
    let code = [0, 0, 0, 1];
    let open: Frame<'_> = (Kind::Open, 1, b"");
    let cases: [(&[Frame<'_>], FrameError); 14] = [
        (
            &[open, (Kind::Data, 1, &full), (Kind::Data, 1, b"x")],
            FrameError::WindowExceeded(1),
        ),
        (&[(Kind::Open, 2, b"")], FrameError::Stream(Kind::Open, 2)),
        (&[(Kind::Open, 0, b"")], FrameError::Stream(Kind::Open, 0)),
        (&[open, open], FrameError::Stream(Kind::Open, 1)),
        (
            &[(Kind::Open, 5, b""), (Kind::Open, 3, b"")],
            FrameError::Stream(Kind::Open, 3),
        ),
        (&[(Kind::Data, 1, b"x")], FrameError::Stream(Kind::Data, 1)),
        (&[(Kind::Data, 2, b"x")], FrameError::Stream(Kind::Data, 2)),
        (&[(Kind::Data, 0, b"x")], FrameError::Stream(Kind::Data, 0)),
        (&[(Kind::Fin, 3, b"")], FrameError::Stream(Kind::Fin, 3)),
        (
            &[(Kind::Reset, 2, &code)],
            FrameError::Stream(Kind::Reset, 2),
        ),
        (
            &[open, (Kind::Window, 3, &code)],
            FrameError::Stream(Kind::Window, 3),
        ),
        (
            &[open, (Kind::Window, 1, &most)],
            FrameError::WindowOverflow(1),
        ),
        (
            &[open, (Kind::Fin, 1, b""), (Kind::Data, 1, b"x")],
            FrameError::Stream(Kind::Data, 1),
        ),
        (
            &[open, (Kind::Reset, 1, &code), (Kind::Data, 1, b"x")],
            FrameError::Stream(Kind::Data, 1),
        ),
    ];
    for (frames, error) in cases {
        assert_eq!(server_hears(frames).map(|_| ()), Err(error), "{frames:?}");
    }
}

#[test]
fn a_stream_that_this_side_has_not_announced_cannot_be_touched() {
    let mut server = state(Side::Server, 1);
    server.open().unwrap();
    let mut wire = BytesMut::new();
    frame::put(&mut wire, Kind::Reset, 2, &[0; 4]);
    assert_eq!(
        deliver(&mut wire, &mut server),
        Err(FrameError::Stream(Kind::Reset, 2))
    );
}

#[test]
fn what_an_honest_peer_may_do_late_or_twice_is_no_error() {
    let code = [0, 0, 0, 1];
    let server = server_hears(&[
        (Kind::Open, 7, b"x"),
        (Kind::Fin, 7, b""),
        (Kind::Reset, 7, &code),
        (Kind::Reset, 7, &code),
        (Kind::Window, 7, &code),
        // 5 was never opened, or was opened and forgotten: one cannot tell.
        (Kind::Data, 5, b"late"),
        (Kind::Fin, 5, b""),
        (Kind::Pong, 0, &[0; 8]),
    ])
    .unwrap();
    assert_eq!(server.streams(), 1);
}

#[test]
fn opens_over_the_limit_are_answered_until_there_are_too_many_answers_that_nobody_reads() {
    let mut server = state(Side::Server, 10);
    let mut wire = BytesMut::new();
    let mut ids = (1..).step_by(2);
    for id in ids.by_ref().take(10 + 10_000) {
        frame::put(&mut wire, Kind::Open, id, &[0; 100]);
    }
    deliver(&mut wire, &mut server).unwrap();
    assert_eq!(server.streams(), 10);
    server.check();
    for id in ids.take(PROVOKED_MAX / frame::HEADER) {
        frame::put(&mut wire, Kind::Open, id, b"");
    }
    assert_eq!(
        deliver(&mut wire, &mut server),
        Err(FrameError::FloodedWithOpens)
    );
    server.check();
}

#[test]
fn streams_that_come_and_go_while_the_peer_does_not_read_do_not_pile_up() {
    // What this side does with each: nothing, or ends it in order.
    for ends in [false, true] {
        let mut server = state(Side::Server, 10);
        let mut wire = BytesMut::new();
        let flooded = (1..).step_by(2).take(1_000_000).find_map(|id| {
            frame::put(&mut wire, Kind::Open, id, b"x");
            frame::put(&mut wire, Kind::Fin, id, b"");
            if let Err(error) = deliver(&mut wire, &mut server) {
                return Some(error);
            }
            let (mut key, _) = server.accept().unwrap().unwrap();
            if ends {
                let _ = server.finish(&mut key);
            }
            server.release(key, Code::Cancelled);
            server.check();
            None
        });
        assert_eq!(flooded, Some(FrameError::FloodedWithOpens), "ends: {ends}");
    }
}

#[test]
fn pings_are_answered_once_at_a_time() {
    let mut server = state(Side::Server, 10);
    let mut wire = BytesMut::new();
    for nonce in 0..100_000_u64 {
        frame::put(&mut wire, Kind::Ping, 0, &nonce.to_be_bytes());
    }
    deliver(&mut wire, &mut server).unwrap();
    server.fill(&mut wire);
    // The answer, and a ping of its own.
    assert!(wire.len() <= 2 * (frame::HEADER + 8), "{}", wire.len());
}

#[test]
fn a_closing_side_takes_no_new_streams() {
    let (mut client, mut server) = (state(Side::Client, 10), state(Side::Server, 10));
    server.close(Code::Draining, "bye");
    let mut key = client.open().unwrap();
    client.try_write(&mut key, b"x").unwrap().unwrap();
    carry(&mut client, &mut server).unwrap();
    assert!(server.accept().unwrap().is_none());
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut errors = 0;
    for _ in 0..500 {
        let mut server = state(Side::Server, 20);
        let mut local = server.open().unwrap();
        server.try_write(&mut local, b"x").unwrap().unwrap();
        let mut wire = BytesMut::new();
        for _ in 0..100 {
            let kinds = [
                Kind::Data,
                Kind::Open,
                Kind::Fin,
                Kind::Reset,
                Kind::Window,
                Kind::Ping,
                Kind::Pong,
                Kind::Close,
            ];
            let kind = kinds[rng.random_range(0..kinds.len())];
            let length = match kind {
                Kind::Fin => 0,
                Kind::Reset | Kind::Window => 4,
                Kind::Ping | Kind::Pong => 8,
                Kind::Close => rng.random_range(4..50),
                Kind::Data | Kind::Open => rng.random_range(0..2000),
            };
            let mut payload = vec![0; length];
            rng.fill_bytes(&mut payload);
            if kind == Kind::Window {
                payload[0] &= 0x0f;
            }
            frame::put(&mut wire, kind, rng.random_range(0..12), &payload);
        }
        // Now and then what is no frame at all.
        if rng.random_bool(0.5) {
            let at = rng.random_range(0..wire.len());
            wire[at] = rng.random();
        }
        errors += usize::from(deliver(&mut wire, &mut server).is_err());
        while let Ok(Some((key, _))) = server.accept() {
            let _ = server.try_read(key, 5000);
            server.check();
            server.release(key, Code::Cancelled);
        }
        server.fill(&mut wire);
        server.check();
    }
    assert!(errors > 250, "{errors}");
}
