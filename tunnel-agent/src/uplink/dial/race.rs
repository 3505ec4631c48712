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
mod tests;
