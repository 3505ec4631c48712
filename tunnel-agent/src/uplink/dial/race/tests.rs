use std::sync::Arc;

use edge_tunnel_proto::sync::Mutex;

use super::*;

/// When which attempt began, in ms, and by which transport.
type Begun = Vec<(u64, String, Transport)>;

/// Races servers whose names take so many milliseconds to resolve, `None` for one that never does; where `wins` the
/// attempts at it succeed after 50 ms, the others fail then. Says when it was over, which attempts had begun, and how
/// many words there were about failures.
async fn run(servers: &[(&str, Option<u64>)], wins: &str) -> (u64, Begun, usize) {
    let (over, begun, failures, _early) = told(servers, wins).await;
    (over, begun, failures)
}

/// As [`run`], and when it was told of failures while the race went on.
async fn told(servers: &[(&str, Option<u64>)], wins: &str) -> (u64, Begun, usize, Vec<u64>) {
    let delays: BTreeMap<String, Option<u64>> = servers
        .iter()
        .map(|(name, delay)| ((*name).to_owned(), *delay))
        .collect();
    let addresses: Vec<ServerAddress> = servers
        .iter()
        .map(|(name, _)| format!("{name}:1").parse().unwrap())
        .collect();
    let name_of = |server: &ServerAddress| server.address.host.to_string();
    let began = Instant::now();
    let now = move || u64::try_from(began.elapsed().as_millis()).unwrap();
    let begun = Arc::new(Mutex::new(Begun::new()));
    let resolve = |server: ServerAddress| {
        let delay = delays[&name_of(&server)];
        async move {
            sleep(Duration::from_millis(delay.unwrap_or(5_000))).await;
            match delay {
                Some(_) => Ok(vec![SocketAddr::from(([192, 0, 2, 1], 1))]),
                None => Err(failure(&server)),
            }
        }
    };
    let attempt = |transport: Transport, server: ServerAddress, _: SocketAddr| {
        let (begun, name, wins) = (Arc::clone(&begun), name_of(&server), wins.to_owned());
        async move {
            begun.lock().push((now(), name.clone(), transport));
            sleep(Duration::from_millis(50)).await;
            if name == wins {
                Ok(())
            } else {
                Err(failure(&server))
            }
        }
    };
    let early = Mutex::new(Vec::new());
    let failed = |_: &Attempt| early.lock().push(now());
    let failures = match race(&addresses, Order::QuicFirst, resolve, attempt, failed).await {
        Ok(()) => 0,
        Err(error) => error.attempts().len(),
    };
    let over = now();
    let (begun, early) = (begun.lock().clone(), early.lock().clone());
    (over, begun, failures, early)
}

fn failure(server: &ServerAddress) -> Attempt {
    Attempt::Resolve {
        server: server.address.to_string(),
        problem: "as the test says".to_owned(),
    }
}

fn at(when: u64, name: &str, transport: Transport) -> (u64, String, Transport) {
    (when, name.to_owned(), transport)
}

use Transport::{Quic, Tls};

#[tokio::test(start_paused = true)]
async fn a_server_that_answered_does_not_wait_for_names_that_do_not_resolve() {
    // It would close the connection for want of an introduction, each time anew.
    let servers = [("192.0.2.1", Some(0)), ("lost-a", None), ("lost-b", None)];
    let (over, begun, _) = run(&servers, "192.0.2.1").await;
    assert_eq!(over, 50);
    assert_eq!(begun, [at(0, "192.0.2.1", Quic)]);
}

#[tokio::test(start_paused = true)]
async fn attempts_begin_in_the_order_of_the_servers_one_after_another() {
    let servers = [("first", Some(100)), ("second", Some(0)), ("third", None)];
    let (over, begun, failures) = run(&servers, "nobody").await;
    assert_eq!(
        begun,
        [
            at(100, "first", Quic),
            at(400, "first", Tls),
            at(700, "second", Quic),
            at(1_000, "second", Tls),
        ]
    );
    assert_eq!((over, failures), (5_000, 5));
}

#[tokio::test(start_paused = true)]
async fn a_slow_name_holds_up_the_next_server_for_a_moment_and_comes_later() {
    let servers = [("slow", Some(2_000)), ("lost", None), ("quick", Some(0))];
    let (over, begun, failures) = run(&servers, "slow").await;
    assert_eq!(
        begun,
        [
            at(300, "quick", Quic),
            at(600, "quick", Tls),
            at(2_000, "slow", Quic),
        ]
    );
    assert_eq!((over, failures), (2_050, 0));
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told_at_once_but_for_the_last_which_ends_the_race() {
    let servers = [("first", Some(0)), ("lost", None)];
    let (over, _, failures, early) = told(&servers, "nobody").await;
    assert_eq!((over, failures), (5_000, 3));
    assert_eq!(early, [50, 350]);
}

#[tokio::test(start_paused = true)]
async fn names_that_all_fail_end_the_race() {
    let (over, begun, failures) = run(&[("a", None), ("b", None)], "nobody").await;
    assert_eq!((over, begun.len(), failures), (5_000, 0, 2));
}
