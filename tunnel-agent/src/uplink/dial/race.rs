//! The race: which attempt begins when, and which one wins. Knows no sockets.
//!
//! In come servers, out goes what the first attempt that succeeds came to. All names are resolved at once, and attempts
//! run meanwhile: one that has succeeded is never kept waiting by a name that somebody else's DNS does not answer for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use edge_tunnel_proto::transport::Transport;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::{Attempt, DialError, Order};
use crate::config::ServerAddress;

/// How much earlier one attempt starts than the next (RFC 8305, section 5, calls 250 ms for; a QUIC handshake over
/// a long path takes about as long). A name may hold up the servers after it for as long, so that their order is kept
/// where DNS is well (as section 3 does, between the address families of one name).
const STAGGER: Duration = Duration::from_millis(300);

/// Resolves `servers` and makes attempts at them in `order`, each a little later than the one before. The first that
/// succeeds wins, and what still runs is dropped. What fails while the race goes on is told to `failed`: the rest may
/// take seconds.
///
/// # Errors
/// When none succeeds, with what happened to each.
pub(super) async fn race<T, R, A>(
    servers: &[ServerAddress],
    order: Order,
    resolve: impl Fn(ServerAddress) -> R,
    attempt: impl Fn(Transport, ServerAddress, SocketAddr) -> A,
    failed: impl Fn(&Attempt),
) -> Result<T, DialError>
where
    T: Send + 'static,
    R: Future<Output = Result<Vec<SocketAddr>, Attempt>> + Send + 'static,
    A: Future<Output = Result<T, Attempt>> + Send + 'static,
{
    let mut names = JoinSet::new();
    for (place, server) in servers.iter().enumerate() {
        let resolving = resolve(server.clone());
        names.spawn(async move { (place, resolving.await) });
    }
    let mut attempts = JoinSet::new();
    let mut failures = Vec::new();
    // Servers that were resolved before their turn, by their place.
    let mut resolved = BTreeMap::new();
    let mut turn = 0;
    let mut in_order = true;
    let patience = sleep(STAGGER);
    tokio::pin!(patience);
    let mut start = Instant::now();
    loop {
        tokio::select! {
            Some(joined) = attempts.join_next() => match joined {
                Ok(Ok(won)) => return Ok(won),
                Ok(Err(failure)) => {
                    if !(attempts.is_empty() && names.is_empty()) {
                        failed(&failure);
                    }
                    failures.push(failure);
                }
                // Attempts are not cancelled and do not panic.
                Err(error) => debug!(%error, "an attempt did not finish"),
            },
            Some(joined) = names.join_next() => match joined {
                Ok((place, Ok(addresses))) => {
                    resolved.insert(place, addresses);
                }
                Ok((place, Err(failure))) => {
                    if !(attempts.is_empty() && names.is_empty()) {
                        failed(&failure);
                    }
                    failures.push(failure);
                    resolved.insert(place, Vec::new());
                }
                // Nor do resolvers.
                Err(error) => debug!(%error, "a name was not resolved to the end"),
            },
            () = &mut patience, if in_order && !names.is_empty() => in_order = false,
            else => return Err(DialError(failures)),
        }
        start = start.max(Instant::now());
        while let Some(next) = resolved.first_entry()
            && (*next.key() == turn || !in_order || names.is_empty())
        {
            let (place, addresses) = next.remove_entry();
            turn = place + 1;
            let server = &servers[place];
            for address in addresses {
                for transport in order.transports(server) {
                    let trying = attempt(transport, server.clone(), address);
                    attempts.spawn(async move {
                        sleep_until(start).await;
                        trying.await
                    });
                    start += STAGGER;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
