//! The steps towards one server: its name, its port, the handshakes.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::transport::{HandshakeError, Transport};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::enrolment::{Believes, Handshake};
use super::{Outcome, Report};
use crate::config::ServerAddress;
use crate::uplink::dial::{Attempt, Dialer, resolve};

/// How long a TCP connect may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long after its handshake a connection is watched: in TLS 1.3 the server judges the node's certificate only after
/// the node holds the handshake for done (RFC 8446, section 4.4.4).
const JUDGED: Duration = Duration::from_secs(1);

/// Memory that is promised to the server; no stream is opened.
const BUDGET: usize = 1024 * 1024;

pub(super) async fn check_server(
    server: &ServerAddress,
    handshake: &Handshake,
    report: &mut Report<impl Write>,
) -> io::Result<()> {
    let name = &server.address;
    let addresses = match resolve(server).await {
        Ok(addresses) => addresses,
        Err(error) => {
            let remedy = "look for a typing error in --server, and at this node's DNS (/etc/resolv.conf); an address works too";
            return report.add(
                format!("{name} resolve"),
                Outcome::failed(error.to_string(), remedy),
            );
        }
    };
    let shown = addresses
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    report.add(format!("{name} resolve"), Outcome::Passed(shown))?;

    let (tls, quic) = (server.transports.tls(), server.transports.quic());
    let tcp = match tls {
        true => tcp(&addresses).await,
        false => Outcome::Skipped("quic:// uses no TCP".to_owned()),
    };
    let tls = match (&tcp, tls) {
        (_, false) => Outcome::Skipped("quic:// allows only QUIC".to_owned()),
        (Outcome::Failed(_), true) => {
            Outcome::Skipped("there is no TCP connection to try it on".to_owned())
        }
        (_, true) => shake(Transport::Tls, server, &addresses, handshake).await,
    };
    let quic = match quic {
        true => shake(Transport::Quic, server, &addresses, handshake).await,
        false => Outcome::Skipped("tls:// allows only TLS".to_owned()),
    };
    // One transport that works is enough.
    let (tls_works, quic_works) = (works(&tls), works(&quic));
    let steps = [
        ("tcp", tcp, quic_works),
        ("tls", tls, quic_works),
        ("quic", quic, tls_works),
    ];
    for (step, outcome, dispensable) in steps {
        let outcome = if dispensable {
            outcome.dispensable()
        } else {
            outcome
        };
        report.add(format!("{name} {step}"), outcome)?;
    }
    Ok(())
}

fn works(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Passed(_) | Outcome::Warning(_))
}

/// What became of all addresses of a name, in their order: one that works is enough.
async fn survey<E: Display>(
    addresses: &[SocketAddr],
    attempt: impl AsyncFn(SocketAddr) -> Result<String, E>,
    remedy: impl Fn(&E) -> String,
) -> Outcome {
    let (mut reached, mut failures) = (Vec::new(), Vec::new());
    for address in addresses {
        match attempt(*address).await {
            Ok(found) => reached.push(format!("{address} {found}")),
            Err(error) => failures.push((*address, error)),
        }
    }
    let unreached: Vec<_> = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    let unreached = unreached.join("; ");
    match failures.first() {
        None => Outcome::Passed(reached.join(", ")),
        Some((_, first)) if reached.is_empty() => Outcome::failed(unreached, remedy(first)),
        Some((_, first)) => {
            let what = format!("{}, but not {unreached}", reached.join(", "));
            Outcome::warning(
                what,
                format!("the agent uses the others; for these: {}", remedy(first)),
            )
        }
    }
}

async fn tcp(addresses: &[SocketAddr]) -> Outcome {
    let connect = async |address| {
        let began = Instant::now();
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(connected) => {
                connected.map(|_stream| format!("in {} ms", began.elapsed().as_millis()))
            }
            Err(_elapsed) => {
                let what = format!("no answer within {} s", CONNECT.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, what))
            }
        }
    };
    let remedy = |error: &io::Error| {
        String::from(match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "the machine is there but nothing listens on this port: is the server (or the balancer's listener) up, and \
                 is this the port of its --agents-listen?"
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                "there is no way from here to there: look at this node's routes and uplink"
            }
            _ => "let TCP to this port out of the site's firewall, and into the balancer",
        })
    };
    survey(addresses, connect, remedy).await
}

async fn shake(
    transport: Transport,
    server: &ServerAddress,
    addresses: &[SocketAddr],
    handshake: &Handshake,
) -> Outcome {
    let dialer = Dialer {
        budget: Budget::new(BUDGET),
        tasks: TaskTracker::new(),
    };
    let connect = async |address| {
        let began = Instant::now();
        let attempt = dialer
            .attempt(transport, server, address, Arc::clone(&handshake.config))
            .await;
        let took = began.elapsed().as_millis();
        let error = match attempt {
            Ok(dialled) => {
                let lane = dialled.connected.lane;
                return match tokio::time::timeout(JUDGED, lane.closed()).await {
                    Ok(closed) => Err(Failure::Judged(closed.to_string())),
                    Err(_still_open) => Ok(format!("in {took} ms, and it is the right server")),
                };
            }
            Err(Attempt::Connect { error, .. }) => error,
            Err(other) => return Err(Failure::Other(other.to_string())),
        };
        match handshake.believes {
            // It got as far as the server's certificate.
            Believes::Nothing(pin) if error.to_string().contains(&pin.to_string()) => Ok(format!(
                "in {took} ms; whether it is the right server is not known before enrolment"
            )),
            _ => Err(Failure::Handshake(error)),
        }
    };
    let remedy = |failure: &Failure| failure.remedy(transport, server, handshake.believes);
    let outcome = survey(addresses, connect, remedy).await;
    dialer.tasks.close();
    outcome
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Handshake(HandshakeError),
    #[error("the server took the connection and ended it again: {0}")]
    Judged(String),
    #[error("{0}")]
    Other(String),
}

impl Failure {
    fn remedy(&self, transport: Transport, server: &ServerAddress, believes: Believes) -> String {
        let port = server.address.port;
        match (self, transport) {
            (Self::Judged(_), _) => {
                "the server says why; a node that was revoked or replaced needs a new join token (--token-file, or \
                 EDGE_TUNNEL_TOKEN)"
                    .to_owned()
            }
            (Self::Handshake(HandshakeError::Timeout(_)), Transport::Quic) => {
                format!("let UDP port {port} out of the site's firewall, and into the balancer; without it TLS is used")
            }
            (Self::Handshake(HandshakeError::Timeout(_)), Transport::Tls) => format!(
                "something takes the connection and says nothing: is port {port} the server's --agents-listen, and does the \
                 server expect a PROXY protocol header that the balancer does not send?"
            ),
            (Self::Handshake(HandshakeError::Io(error)), _) if !is_tls(error) => format!(
                "something hung up during the handshake: has the balancer a live server behind port {port}, and does a \
                 firewall between inspect TLS?"
            ),
            _ => {
                let not = match believes {
                    Believes::Bundle => "not the server that this node knows",
                    Believes::Token => "not the server that the join token is of",
                    Believes::Nothing(_) => "no edge-tunnel server",
                };
                format!(
                    "what answers there is {not}: compare with `edge-tunnel-server ca show`; a firewall that inspects \
                     TLS must leave this address alone"
                )
            }
        }
    }
}

/// Whether it was TLS that failed, and not the connection under it.
fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
}
