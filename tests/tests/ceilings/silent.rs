//! A target that does not answer, and the rest of its node.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::fleet::Fleet;
use edge_tunnel_tests::service::{Service, Silent};
use edge_tunnel_tests::wait::{give_up, within};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{house, started};

/// How many streams are wanted.
const WANTED: usize = 5000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_streams_to_a_silent_target_leave_room_for_the_others() {
    for scheme in ["tls://", "quic://"] {
        let dials: fn(usize) -> &'static str = if scheme == "tls://" {
            |_| "tls://"
        } else {
            |_| "quic://"
        };
        let Some((server, mut fleet)) = house(&["--dial-timeout", "8s"], 1).await else {
            return;
        };
        started(&mut fleet, &server, 1, dials).await;
        let (service, silent) = (Service::start().await, Silent::start().await);
        let node = Fleet::name(0);
        let mut wanted = JoinSet::new();
        let began = Instant::now();
        for number in 0..WANTED {
            let (uds, at) = (server.uds(), format!("{node}:{}", silent.port()));
            wanted.spawn(async move {
                let refused = caller::uds(&uds, &at).await.map(drop);
                (number, began.elapsed(), refused)
            });
        }
        let mut longest = Duration::ZERO;
        let at = format!("{node}:{}", service.port());
        let live = async {
            while began.elapsed() < Duration::from_secs(7) {
                let asked = Instant::now();
                let mut io = caller::uds(&server.uds(), &at).await.unwrap();
                caller::say(&mut io, "echo").await.unwrap();
                caller::echo(&mut io, "hello").await.unwrap();
                longest = longest.max(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within("the live target", Duration::from_secs(60), live).await;
        let (mut timed_out, mut at_once) = (0, 0);
        while let Some(done) = wanted.join_next().await {
            let (number, _, refused) = done.unwrap();
            let refused = refused.expect_err("a silent target answers nobody");
            match refused.status {
                504 => timed_out += 1,
                503 if refused.phrase.contains(&node) => at_once += 1,
                _ => give_up(format!("{number}: {refused:?}")),
            }
        }
        println!(
            "{scheme}: {timed_out} timed out, {at_once} were refused; a live target took {longest:?} at the most"
        );
        assert_eq!(timed_out + at_once, WANTED);
        assert!(at_once >= WANTED - 2000, "{at_once}");
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    }
}
