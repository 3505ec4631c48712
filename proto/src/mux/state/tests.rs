use super::pair::{MIB, carry, deliver, state};
use super::*;
use crate::mux::{INITIAL_WINDOW, OUTBOUND_MAX, OpenError, STREAM_WINDOW_MAX};

fn pair() -> (State, State) {
    (state(Side::Client, 100), state(Side::Server, 100))
}

fn accepted(state: &mut State) -> Key {
    state.accept().unwrap().expect("a stream has arrived").0
}

/// Moves bytes both ways until neither side has more to say.
fn settle(client: &mut State, server: &mut State) {
    for _ in 0..4 {
        carry(client, server).unwrap();
        carry(server, client).unwrap();
    }
}

#[test]
fn streams_may_be_written_to_in_another_order_than_they_were_opened_in() {
    let (mut client, mut server) = pair();
    let (mut one, mut two) = (client.open().unwrap(), client.open().unwrap());
    client.try_write(&mut two, b"two").unwrap().unwrap();
    client.try_write(&mut one, b"one").unwrap().unwrap();
    carry(&mut client, &mut server).unwrap();
    for expected in [b"two", b"one"] {
        let key = accepted(&mut server);
        assert_eq!(server.try_read(key, 10).unwrap().unwrap(), expected);
    }
}

#[test]
fn an_opened_stream_is_invisible_until_it_is_written_to_or_ended() {
    let (mut client, mut server) = pair();
    let quiet = client.open().unwrap();
    client.release(quiet, Code::Cancelled);
    let mut ended = client.open().unwrap();
    client.finish(&mut ended).unwrap();
    settle(&mut client, &mut server);
    let key = accepted(&mut server);
    assert_eq!(server.try_read(key, 10), Some(Ok(Vec::new())));
    assert!(server.accept().unwrap().is_none());
    assert_eq!((client.streams(), server.streams()), (1, 1));
}

#[test]
fn what_was_written_before_the_end_survives_a_drop_and_what_was_not_ended_is_an_error() {
    let (mut client, mut server) = pair();
    for end in [true, false] {
        let mut key = client.open().unwrap();
        client.try_write(&mut key, b"last").unwrap().unwrap();
        carry(&mut client, &mut server).unwrap();
        let far = accepted(&mut server);
        if end {
            client.finish(&mut key).unwrap();
        }
        client.release(key, Code::Reset);
        carry(&mut client, &mut server).unwrap();
        if end {
            assert_eq!(server.try_read(far, 10).unwrap().unwrap(), b"last");
            assert_eq!(server.try_read(far, 10), Some(Ok(Vec::new())));
        }
        let broken = Some(Err(Broken::Reset(Code::Reset)));
        let (mut write, read) = (far, server.try_read(far, 10));
        assert_eq!(server.try_write(&mut write, b"x"), broken);
        assert_eq!(read.is_some_and(|read| read.is_err()), !end);
        server.release(far, Code::Cancelled);
    }
    assert_eq!((client.promised(), server.promised()), (0, 0));
}

#[test]
fn bulk_streams_take_turns_whoever_is_polled_first() {
    let (mut client, mut server) = pair();
    let mut keys: Vec<_> = (0..8).map(|_| client.open().unwrap()).collect();
    let mut written = vec![0; keys.len()];
    let mut wire = BytesMut::new();
    for _ in 0..80 {
        for (key, written) in keys.iter_mut().zip(&mut written) {
            while let Some(count) = client.try_write(key, &[1; 65536]) {
                *written += count.unwrap();
            }
        }
        client.check();
        client.fill(&mut wire);
        deliver(&mut wire, &mut server).unwrap();
        for id in (1..).step_by(2).take(keys.len()) {
            if server.streams.contains_key(&Key::Wire(id)) {
                while server.try_read(Key::Wire(id), MIB).is_some() {}
            }
        }
        carry(&mut server, &mut client).unwrap();
    }
    let (least, most) = (written.iter().min().unwrap(), written.iter().max().unwrap());
    assert!(least * 2 > *most, "{written:?}");
}

#[test]
fn a_small_write_does_not_queue_behind_bulk_and_cannot_grow_the_queue_without_bound() {
    let (mut client, _) = pair();
    for _ in 0..4 {
        let mut bulk = client.open().unwrap();
        while let Some(count) = client.try_write(&mut bulk, &[1; 65536]) {
            count.unwrap();
        }
    }
    let mut small = client.open().unwrap();
    assert_eq!(client.try_write(&mut small, &[2; 100]), Some(Ok(100)));
    assert_eq!(client.try_write(&mut small, &[2; 100]), None);
    while {
        let mut key = client.open().unwrap();
        client.try_write(&mut key, &[3; 4000]).is_some()
    } {}
    assert!(client.out.len() < 2 * OUTBOUND_MAX + 5000);
}

#[test]
fn a_turn_that_nobody_uses_is_the_next_ones() {
    let (mut client, _) = pair();
    for _ in 0..10 {
        let mut key = client.open().unwrap();
        let _ = client.try_write(&mut key, &[1; 32768]);
    }
    let mut wire = BytesMut::new();
    let mut rounds = 0;
    // Nobody writes any more. The driver asks again as long as it is told to.
    while client.fill(&mut wire) {
        rounds += 1;
        wire.clear();
    }
    assert!((1..10).contains(&rounds), "{rounds}");
    let mut late = client.open().unwrap();
    assert!(client.try_write(&mut late, &[1; 32768]).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_window_grows_for_a_reader_that_keeps_up_and_shrinks_when_memory_is_short() {
    let process = Budget::new(64 * MIB);
    let mut client = state(Side::Client, 100);
    let mut server = State::new(Side::Server, 100, process.child(64 * MIB));
    let mut key = client.open().unwrap();
    let mut far = None;
    let window = |server: &State| server.streams.values().next().unwrap().window;
    let mut push = |client: &mut State, server: &mut State| {
        while client.try_write(&mut key, &[1; 32768]).is_some() {
            carry(client, server).unwrap();
        }
        let far = *far.get_or_insert_with(|| accepted(server));
        while server.try_read(far, MIB).is_some() {}
        server.check();
    };
    for _ in 0..200 {
        push(&mut client, &mut server);
        let mut wire = BytesMut::new();
        server.fill(&mut wire);
        tokio::time::advance(Duration::from_millis(50)).await;
        deliver(&mut wire, &mut client).unwrap();
    }
    assert_eq!(window(&server), STREAM_WINDOW_MAX);
    let crowd = process.reserve(50 * MIB).unwrap();
    for _ in 0..200 {
        push(&mut client, &mut server);
        carry(&mut server, &mut client).unwrap();
    }
    assert_eq!(window(&server), INITIAL_WINDOW);
    drop(crowd);
}

#[test]
fn growth_leaves_room_for_streams_to_come() {
    let process = Budget::new(64 * MIB);
    let mut server = State::new(Side::Server, 2000, process.clone());
    let mut bulk = process.reserve(INITIAL_WINDOW as usize).unwrap();
    while bulk.grow(MIB) {}
    for _ in 0..500 {
        server.open().unwrap();
    }
    while server.open().is_ok() {}
    assert_eq!(server.open(), Err(OpenError::NoMemory));
}

#[test]
fn one_stream_too_many_is_reset_and_the_connection_lives() {
    let (mut client, mut server) = (state(Side::Client, 100), state(Side::Server, 2));
    let mut keys: Vec<_> = (0..3).map(|_| client.open().unwrap()).collect();
    for key in &mut keys {
        client.try_write(key, b"x").unwrap().unwrap();
    }
    settle(&mut client, &mut server);
    let overloaded = Some(Err(Broken::Reset(Code::Overloaded)));
    assert_eq!(client.try_read(keys[2], 1), overloaded);
    assert_eq!(client.try_read(keys[1], 1), None);
    // What the peer has let go of no longer counts, even while this side still holds its handle.
    let held = accepted(&mut server);
    client.release(keys[0], Code::Cancelled);
    let mut next = client.open().unwrap();
    settle(&mut client, &mut server);
    client.try_write(&mut next, b"x").unwrap().unwrap();
    settle(&mut client, &mut server);
    assert_eq!(client.try_read(next, 1), None);
    assert_eq!(
        server.try_read(held, 1),
        Some(Err(Broken::Reset(Code::Cancelled)))
    );
    server.check();
}

#[test]
fn a_stream_that_is_let_go_makes_room_for_the_next_before_that_arrives() {
    let (mut client, mut server) = (state(Side::Client, 100), state(Side::Server, 1));
    for _ in 0..10 {
        let mut key = client.open().unwrap();
        client.try_write(&mut key, b"x").unwrap().unwrap();
        client.release(key, Code::Cancelled);
    }
    let mut last = client.open().unwrap();
    client.try_write(&mut last, b"x").unwrap().unwrap();
    settle(&mut client, &mut server);
    assert_eq!(client.try_read(last, 1), None);
    accepted(&mut server);
}

#[test]
fn the_end_of_the_connection_is_an_error_on_every_stream_and_frees_what_nobody_took() {
    let (mut client, mut server) = pair();
    let mut key = client.open().unwrap();
    client.try_write(&mut key, b"x").unwrap().unwrap();
    carry(&mut client, &mut server).unwrap();
    server.close(Code::Draining, "bye");
    settle(&mut server, &mut client);
    let there = Closed::There {
        code: Code::Draining,
        reason: "bye".to_owned(),
    };
    assert_eq!(client.ended(), Some(there.clone()));
    assert_eq!(
        client.try_read(key, 1),
        Some(Err(Broken::Closed(there.clone())))
    );
    assert_eq!(client.open(), Err(OpenError::Closed(there)));
    client.release(key, Code::Cancelled);
    server.end(&server.closing().unwrap());
    assert_eq!((client.promised(), server.promised()), (0, 0));
}

#[test]
fn stream_numbers_that_are_used_up_end_the_connection_in_order() {
    let (mut client, mut server) = pair();
    client.next_id = Some(u32::MAX);
    let (mut last, mut none) = (client.open().unwrap(), client.open().unwrap());
    assert_eq!(client.try_write(&mut last, b"x"), Some(Ok(1)));
    assert!(matches!(
        client.try_write(&mut none, b"x"),
        Some(Err(Broken::Closed(_)))
    ));
    settle(&mut client, &mut server);
    assert!(matches!(
        server.ended(),
        Some(Closed::There {
            code: Code::Draining,
            ..
        })
    ));
}

#[test]
fn a_quiet_connection_holds_no_buffer() {
    let (mut client, mut server) = pair();
    let mut key = client.open().unwrap();
    client.try_write(&mut key, &[1; 32768]).unwrap().unwrap();
    settle(&mut client, &mut server);
    let far = accepted(&mut server);
    while server.try_read(far, MIB).is_some() {}
    settle(&mut client, &mut server);
    assert_eq!((client.out.capacity(), server.out.capacity()), (0, 0));
    assert_eq!(server.streams[&far].recv.capacity(), 0);
}
