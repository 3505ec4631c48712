//! What is no tunnelled node's, dialled by the server itself: webhooks, aggregated APIs and Services that live beside it
//! (`--connect-unmatched direct`). Never loopback, link-local, a metadata service, or this server's own listeners: whoever may have something
//! dialled may not have what trusts this machine.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::id::{Destination, Host};
use edge_tunnel_proto::interfaces;
use edge_tunnel_proto::splice::Socket;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use super::metrics::Account;
use crate::refusal::{Kind, Refusal};
use crate::route::nodes::names_nobody;

/// How many addresses of one name are tried.
const ADDRESSES: usize = 8;

/// As long as it has another address to try, an unanswered one is given up after this time (RFC 8305, 5: no more than 2 s).
const NEXT: Duration = Duration::from_secs(2);

/// A peer that vanished is found after two minutes.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Connects to `destination` in `limit`, but to none of this machine's own addresses at one of `own` ports.
pub(super) async fn dial(
    destination: &Destination,
    own: &BTreeSet<u16>,
    limit: Duration,
) -> Result<TcpStream, Refusal> {
    let deadline = Instant::now() + limit;
    let addresses = addresses(destination, limit).await?;
    let (good, barred): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| {
        !(names_nobody(address.ip()) || own.contains(&address.port()) && ours(address.ip()))
    });
    let mut last = match barred.first() {
        Some(address) => refusal(
            Kind::Forbidden,
            Code::NotAllowed,
            destination,
            &format!(
                "{address} is loopback, link-local, a metadata service, or a listener of this server, which nobody has dialled here"
            ),
        ),
        None => refusal(
            Kind::BadGateway,
            Code::Unreachable,
            destination,
            "the name has no address",
        ),
    };
    for (index, address) in good.iter().enumerate().take(ADDRESSES) {
        let more = index + 1 < good.len().min(ADDRESSES);
        let until = if more {
            deadline.min(Instant::now() + NEXT)
        } else {
            deadline
        };
        match timeout_at(until, connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                let (kind, code) = classify(&error);
                last = refusal(kind, code, destination, &format!("{address}: {error}"));
            }
            Err(_elapsed) => {
                let words = format!("{address} did not answer");
                last = refusal(Kind::Timeout, Code::TimedOut, destination, &words);
            }
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    Err(last)
}

/// The addresses of a destination: its own, or what the name resolves to here.
pub(super) async fn addresses(
    destination: &Destination,
    limit: Duration,
) -> Result<Vec<SocketAddr>, Refusal> {
    let port = destination.port.get();
    let name = match &destination.host {
        Host::Ip(address) => return Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => name,
    };
    match timeout(limit, lookup_host((name.as_str(), port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => {
            let words = format!("no node has this name, and it cannot be resolved here: {error}");
            Err(refusal(
                Kind::BadGateway,
                Code::Unreachable,
                destination,
                &words,
            ))
        }
        Err(_elapsed) => {
            let words = "no node has this name, and this server's DNS did not answer in time";
            Err(refusal(Kind::Timeout, Code::TimedOut, destination, words))
        }
    }
}

/// Copies both ways, half-closes included. A failure of one side is a reset of the other.
pub(super) async fn splice<C: Socket>(mut caller: C, mut target: TcpStream, mut account: Account) {
    // Should this be broken off, neither may take what it got for the whole.
    caller.reset();
    target.reset();
    account.ended(Code::Draining.name());
    match tokio::io::copy_bidirectional(&mut caller, &mut target).await {
        Ok((sent, received)) => {
            account.carried(sent, received);
            account.ended("clean");
            caller.end();
            target.end();
        }
        Err(error) => {
            account.ended(Code::Reset.name());
            tracing::debug!(%error, "a connection that was dialled directly broke off");
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
    Ok(stream)
}

/// Whether this machine has the address. Where that cannot be told it has.
fn ours(address: IpAddr) -> bool {
    interfaces::addresses().map_or(true, |own| own.contains(&address.to_canonical()))
}

fn classify(error: &io::Error) -> (Kind, Code) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (Kind::BadGateway, Code::ConnectionRefused),
        io::ErrorKind::TimedOut => (Kind::Timeout, Code::TimedOut),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (Kind::BadGateway, Code::Unreachable)
        }
        // EMFILE and ENFILE, which std has no kind for.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => {
            (Kind::Unavailable, Code::TooManyOpenFiles)
        }
        _ => (Kind::BadGateway, Code::Internal),
    }
}

fn refusal(kind: Kind, code: Code, destination: &Destination, why: &str) -> Refusal {
    let words =
        format!("{destination}, which is no tunnelled node's, dialled by the server itself: {why}");
    Refusal::new(kind, code.name(), words)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    async fn dialled(to: &str, own: &[u16]) -> Result<TcpStream, Refusal> {
        dial(&to.parse().unwrap(), &own.iter().copied().collect(), LIMIT).await
    }

    #[tokio::test]
    async fn loopback_and_its_like_are_never_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in [
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "169.254.169.254",
            "localhost",
        ] {
            let refusal = dialled(&format!("{host}:{port}"), &[]).await.unwrap_err();
            assert_eq!(
                (refusal.kind.status(), refusal.reason),
                (403, "not_allowed"),
                "{host}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_said() {
        let refusal = dialled("nobody.invalid:443", &[]).await.unwrap_err();
        assert!(
            refusal.message.contains("no node has this name"),
            "{refusal}"
        );
    }

    #[test]
    fn this_machines_addresses_are_known() {
        assert!(ours("127.0.0.1".parse().unwrap()));
        assert!(!ours("192.0.2.1".parse().unwrap()));
    }
}
