//! A target that does not answer, and the rest of its node.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::fleet::Fleet;
use edge_tunnel_tests::service::{Service, Silent};
use edge_tunnel_tests::wait::{give_up, within};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{house, started};

/// How many streams are wanted.
const WANTED: usize = 5000;

/// A connection to the unix socket. Linux has no queue for those who find the listener's full, and says so at once
/// (EAGAIN of connect(2)).
async fn reached(socket: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(socket).await {
            Ok(io) => return io,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => give_up(error),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_streams_to_a_silent_target_leave_room_for_the_others() {
    let schemes: [fn(usize) -> &'static str; 2] = [|_| "tls://", |_| "quic://"];
    for scheme in schemes {
        let Some((server, mut fleet)) = house(&["--dial-timeout", "8s"], 1).await else {
            return;
        };
        started(&mut fleet, &server, 1, scheme).await;
        let (service, silent) = (Service::start().await, Silent::start().await);
        let node = Fleet::name(0);
        let mut wanted = JoinSet::new();
        let began = Instant::now();
        for number in 0..WANTED {
            let (uds, at) = (server.uds(), format!("{node}:{}", silent.port()));
            wanted.spawn(async move {
                let refused = caller::connect(reached(&uds).await, &at).await.map(drop);
                (number, began.elapsed(), refused)
            });
        }
        let mut longest = Duration::ZERO;
        let at = format!("{node}:{}", service.port());
        let live = async {
            while began.elapsed() < Duration::from_secs(7) {
                let asked = Instant::now();
                let mut io = caller::connect(reached(&server.uds()).await, &at)
                    .await
                    .unwrap();
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
            "{} {timed_out} timed out, {at_once} were refused; a live target took {longest:?} at the most",
            scheme(0)
        );
        assert_eq!(timed_out + at_once, WANTED);
        assert!(at_once >= WANTED - 2000, "{at_once}");
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    }
}
