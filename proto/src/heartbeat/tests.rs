use super::*;

const EVERY: Duration = Duration::from_secs(25);
const QUIET: Traffic = Traffic { heard: 0, said: 0 };

fn sent(beat: Option<Beat>) -> Ping {
    match beat {
        Some(Beat::Send(ping)) => ping,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_is_asked_once_an_interval() {
    let mut heart = Heartbeat::new(EVERY);
    assert_eq!(heart.beat(QUIET, false), None);
    tokio::time::advance(SETTLE).await;
    let ping = sent(heart.beat(QUIET, false));
    assert_eq!(heart.beat(QUIET, false), None);
    tokio::time::advance(Duration::from_millis(40)).await;
    heart.pong(&Pong { nonce: ping.nonce });
    assert_eq!(heart.rtt(), Some(Duration::from_millis(40)));
    assert_eq!(heart.next(), Instant::now() + EVERY);
    tokio::time::advance(EVERY).await;
    assert_eq!(sent(heart.beat(QUIET, false)).rtt_micros, 40_000);
}

#[tokio::test(start_paused = true)]
async fn a_probe_asks_at_once_and_decides_within_its_time() {
    let mut heart = Heartbeat::new(EVERY);
    heart.probe();
    let ping = sent(heart.beat(QUIET, false));
    // A second wish for a probe does not start the time anew.
    tokio::time::advance(Duration::from_secs(2)).await;
    heart.probe();
    assert_eq!(heart.beat(QUIET, false), None);
    // What was asked before is no answer.
    heart.pong(&Pong {
        nonce: ping.nonce ^ 1,
    });
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(heart.beat(QUIET, false), Some(Beat::Dead(PROBE)));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_speaks_is_not_asked() {
    let mut heart = Heartbeat::new(EVERY);
    heart.heard();
    for _ in 0..10 {
        tokio::time::advance(EVERY - Duration::from_secs(1)).await;
        assert_eq!(heart.beat(QUIET, false), None);
        heart.heard();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_late_while_other_bytes_come_but_not_for_ever() {
    let mut heart = Heartbeat::new(EVERY);
    heart.probe();
    let mut traffic = QUIET;
    sent(heart.beat(traffic, true));
    let asked = Instant::now();
    let waited = loop {
        tokio::time::advance(heart.next() - Instant::now()).await;
        traffic.heard += 1;
        if let Some(beat) = heart.beat(traffic, true) {
            assert_eq!(beat, Beat::Dead(asked.elapsed()));
            break asked.elapsed();
        }
    };
    assert_eq!(waited, PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_stop_leave_no_more_than_the_time_of_a_probe() {
    let mut heart = Heartbeat::new(EVERY);
    heart.probe();
    sent(heart.beat(QUIET, true));
    tokio::time::advance(PROBE).await;
    let traffic = Traffic { heard: 1, said: 0 };
    assert_eq!(heart.beat(traffic, true), None);
    tokio::time::advance(PROBE).await;
    assert_eq!(heart.beat(traffic, true), Some(Beat::Dead(PROBE)));
}

/// Drives the heartbeat for a minute; `carry` says what a second adds. Gives the seconds in which it asked.
async fn asked(heart: &mut Heartbeat, carry: Traffic) -> Vec<u64> {
    let (mut traffic, mut asked) = (QUIET, Vec::new());
    for second in 1..=60 {
        tokio::time::advance(Duration::from_secs(1)).await;
        traffic.heard += carry.heard;
        traffic.said += carry.said;
        match heart.beat(traffic, true) {
            Some(Beat::Send(ping)) => {
                asked.push(second);
                heart.pong(&Pong { nonce: ping.nonce });
                traffic.heard += 1;
            }
            Some(dead) => panic!("{dead:?}"),
            None => {}
        }
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_spoken_to_in_vain_is_asked_within_seconds() {
    let mut heart = Heartbeat::new(EVERY);
    heart.heard();
    heart.watch(QUIET);
    let when = asked(&mut heart, Traffic { heard: 0, said: 1 }).await;
    assert_eq!(when[..2], [2, 5]);
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_quiet_or_answered_cost_no_questions() {
    for carry in [QUIET, Traffic { heard: 1, said: 9 }] {
        let mut heart = Heartbeat::new(EVERY);
        heart.heard();
        heart.watch(QUIET);
        assert_eq!(asked(&mut heart, carry).await, [25, 50]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_without_streams_is_not_looked_at() {
    let mut heart = Heartbeat::new(EVERY);
    heart.heard();
    heart.watch(QUIET);
    tokio::time::advance(LOOK).await;
    assert_eq!(heart.beat(QUIET, false), None);
    assert_eq!(heart.next(), Instant::now() + EVERY - LOOK);
}

/// The last answer and the next question fall into one second: that the question came later is not seen in numbers.
#[tokio::test(start_paused = true)]
async fn a_question_that_follows_on_an_answer_is_not_missed() {
    let mut heart = Heartbeat::new(EVERY);
    heart.heard();
    heart.watch(QUIET);
    let mut traffic = QUIET;
    for _ in 0..5 {
        tokio::time::advance(LOOK).await;
        assert_eq!(heart.beat(traffic, true), None);
    }
    traffic = Traffic { heard: 1, said: 1 };
    let mut waited = Duration::ZERO;
    let ping = loop {
        tokio::time::advance(LOOK).await;
        waited += LOOK;
        if let Some(Beat::Send(ping)) = heart.beat(traffic, true) {
            break ping;
        }
        assert!(waited < Duration::from_secs(10), "never asked");
    };
    assert!(waited <= STALLED + 2 * LOOK, "{waited:?}");
    // Answered, it is not asked again, although the question and its answer were bytes as well.
    heart.pong(&Pong { nonce: ping.nonce });
    traffic = Traffic { heard: 2, said: 2 };
    for _ in 0..20 {
        tokio::time::advance(LOOK).await;
        assert_eq!(heart.beat(traffic, true), None);
    }
}

#[tokio::test(start_paused = true)]
async fn questions_of_the_other_side_lead_to_none_of_this_side() {
    let mut heart = Heartbeat::new(EVERY);
    heart.watch(QUIET);
    let mut traffic = QUIET;
    for _ in 0..30 {
        // Its question, and this side's answer.
        heart.heard();
        traffic.heard += 1;
        traffic.said += 1;
        for _ in 0..4 {
            tokio::time::advance(LOOK).await;
            assert_eq!(heart.beat(traffic, true), None);
        }
    }
}
