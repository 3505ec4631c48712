use std::collections::BTreeSet;

use tokio::time::{advance, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn node(number: usize) -> NodeName {
    format!("edge-{number}").parse().unwrap()
}

/// How many begin of so many.
fn begin(pace: &Pace, count: usize) -> usize {
    (0..count).filter(|_| pace.begin()).count()
}

#[tokio::test(start_paused = true)]
async fn handshakes_keep_to_twice_the_pace_after_half_a_second_at_once() {
    let pace = Pace::new(10);
    assert!(!pace.is_busy());
    assert_eq!(begin(&pace, 6), 6);
    assert!(pace.is_busy());
    assert_eq!(begin(&pace, 1000), 4);
    for _ in 0..10 {
        advance(SECOND / 10).await;
        assert_eq!(begin(&pace, 1000), 2);
    }
    // What was not used is not saved up for longer than that.
    advance(100 * SECOND).await;
    assert!(!pace.is_busy());
    assert_eq!(begin(&pace, 1000), 10);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_come_back_gets_in_at_its_time_and_the_pace_is_kept() {
    let pace = Pace::new(10);
    let mut waits = BTreeSet::new();
    for number in 0..100 {
        match pace.turn(&node(number), false) {
            Turn::Now => assert!(number < 10),
            Turn::In(wait) => {
                assert!(number >= 10 && waits.insert((wait, number)), "{wait:?}");
            }
        }
    }
    assert_eq!(waits.first().unwrap().0, SECOND);
    assert_eq!(waits.last().unwrap().0, 10 * SECOND - SECOND / 10);
    let began = Instant::now();
    for (wait, number) in waits {
        sleep(wait - began.elapsed()).await;
        assert_eq!(pace.turn(&node(number), false), Turn::Now, "{wait:?}");
    }
    assert!(pace.0.lock().queue.places.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_comes_early_keeps_its_place_and_who_comes_late_as_well() {
    let pace = Pace::new(1);
    assert_eq!(pace.turn(&node(0), false), Turn::Now);
    assert_eq!(pace.turn(&node(1), false), Turn::In(SECOND));
    assert_eq!(pace.turn(&node(2), false), Turn::In(2 * SECOND));
    advance(SECOND / 2).await;
    assert_eq!(pace.turn(&node(2), false), Turn::In(SECOND * 3 / 2));
    assert_eq!(pace.turn(&node(1), false), Turn::In(SECOND / 2));
    advance(30 * SECOND).await;
    // Meanwhile others took the room, which is not held against those who were promised theirs.
    assert_eq!(pace.turn(&node(3), false), Turn::Now);
    assert_eq!(pace.turn(&node(1), false), Turn::Now);
    assert_eq!(pace.turn(&node(2), false), Turn::Now);
    // But against whoever comes next.
    assert_eq!(pace.turn(&node(4), false), Turn::In(SECOND));
    advance(SECOND).await;
    assert!(matches!(pace.turn(&node(5), false), Turn::In(_)));
}

#[tokio::test(start_paused = true)]
async fn room_that_its_holders_leave_unused_is_others() {
    let pace = Pace::new(1);
    assert_eq!(pace.turn(&node(0), false), Turn::Now);
    for number in 1..20 {
        assert_ne!(pace.turn(&node(number), false), Turn::Now);
    }
    advance(SECOND).await;
    assert_eq!(pace.turn(&node(100), false), Turn::Now);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_connected_does_not_wait() {
    let pace = Pace::new(1);
    assert_eq!(pace.turn(&node(0), false), Turn::Now);
    for number in 1..10 {
        assert_eq!(pace.turn(&node(number), true), Turn::Now);
    }
    // One that was told to wait and has come in by another server's word meanwhile, or by a second link.
    assert_ne!(pace.turn(&node(20), false), Turn::Now);
    assert_eq!(pace.turn(&node(20), true), Turn::Now);
    assert!(pace.0.lock().queue.places.is_empty());
    // It is made up for, and not for longer than two seconds.
    assert_ne!(pace.turn(&node(30), false), Turn::Now);
    advance(2 * SECOND).await;
    assert_eq!(pace.turn(&node(31), false), Turn::Now);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_a_minute_and_nobody_is_remembered_for_ever() {
    let pace = Pace::new(10);
    for number in 0..2000 {
        if let Turn::In(wait) = pace.turn(&node(number), false) {
            assert!(SECOND <= wait && wait <= LATEST, "{wait:?}");
        }
    }
    advance(LATEST + KEPT + 2 * SECOND).await;
    let mut number = 2000;
    while pace.turn(&node(number), false) == Turn::Now {
        number += 1;
    }
    let state = pace.0.lock();
    assert_eq!((state.queue.places.len(), state.queue.given.len()), (1, 1));
}
