//! The steps towards one server: its name, its port, the handshakes.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::budget::Budget;
use edge_tunnel_proto::transport::Transport;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::advice::{Kind, Place};
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

/// Tries them all, and says what failed.
pub(super) async fn check_server(
    server: &ServerAddress,
    handshake: &Handshake,
    report: &mut Report<impl Write>,
) -> io::Result<Vec<Kind>> {
    let name = &server.address;
    let addresses = match resolve(server).await {
        Ok(addresses) => addresses,
        Err(error) => {
            let remedy = "look for a typing error in it, and at this node's DNS (/etc/resolv.conf); an address works too";
            let outcome = Outcome::failed(error.to_string(), remedy);
            report.add(format!("{name} resolve"), outcome)?;
            return Ok(Vec::new());
        }
    };
    let shown = addresses
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    report.add(format!("{name} resolve"), Outcome::Passed(shown))?;

    let allowed = server.transports;
    let (tcp, to_tcp) = match allowed.tls() {
        true => {
            let tcp = tcp(server, handshake, &addresses).await;
            let reached = tcp.reached();
            (tcp, Some(reached))
        }
        false => (Tried::skipped("quic:// uses no TCP"), None),
    };
    let tls = match to_tcp {
        None => Tried::skipped("quic:// allows only QUIC"),
        Some(Err(_)) => Tried::skipped("there is no TCP connection to try it on"),
        Some(Ok(())) => shake(Transport::Tls, server, &addresses, handshake, to_tcp).await,
    };
    let quic = match allowed.quic() {
        true => shake(Transport::Quic, server, &addresses, handshake, to_tcp).await,
        false => Tried::skipped("tls:// allows only TLS"),
    };
    // One transport that works is enough.
    let (tls_works, quic_works) = (works(&tls.outcome), works(&quic.outcome));
    let mut kinds = Vec::new();
    let steps = [
        ("tcp", tcp, quic_works),
        ("tls", tls, quic_works),
        ("quic", quic, tls_works),
    ];
    for (step, tried, dispensable) in steps {
        let outcome = match dispensable {
            true => tried.outcome.dispensable(),
            false => tried.outcome,
        };
        kinds.extend(tried.kinds);
        report.add(format!("{name} {step}"), outcome)?;
    }
    Ok(kinds)
}

fn works(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Passed(_) | Outcome::Warning(_))
}

/// What became of one step.
struct Tried {
    outcome: Outcome,
    /// What failed, of each address.
    kinds: Vec<Kind>,
}

impl Tried {
    fn skipped(why: &str) -> Self {
        Self {
            outcome: Outcome::Skipped(why.to_owned()),
            kinds: Vec::new(),
        }
    }

    /// Whether any address was reached; if not, what kept the first one away.
    fn reached(&self) -> Result<(), Kind> {
        match (works(&self.outcome), self.kinds.first()) {
            (false, Some(kind)) => Err(*kind),
            _ => Ok(()),
        }
    }
}

/// What became of all addresses of a name, in their order: one that works is enough.
async fn survey(
    addresses: &[SocketAddr],
    place: &Place,
    attempt: impl AsyncFn(SocketAddr) -> Result<String, (Kind, String)>,
) -> Tried {
    let (mut reached, mut unreached, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for address in addresses {
        match attempt(*address).await {
            Ok(found) => reached.push(format!("{address} {found}")),
            Err((kind, error)) => {
                kinds.push(kind);
                unreached.push(format!("{address}: {error}"));
            }
        }
    }
    let (reached, unreached) = (reached.join(", "), unreached.join("; "));
    let outcome = match kinds.first().map(|kind| kind.remedy(place)) {
        None => Outcome::Passed(reached),
        Some(remedy) if reached.is_empty() => Outcome::failed(unreached, remedy),
        Some(remedy) => Outcome::warning(
            format!("{reached}, but not {unreached}"),
            format!("the agent uses the others; for these: {remedy}"),
        ),
    };
    Tried { outcome, kinds }
}

async fn tcp(server: &ServerAddress, handshake: &Handshake, addresses: &[SocketAddr]) -> Tried {
    let connect = async |address| {
        let began = Instant::now();
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        match connected {
            Ok(Ok(_stream)) => Ok(format!("in {} ms", began.elapsed().as_millis())),
            Ok(Err(error)) => Err((Kind::of_connect(&error), error.to_string())),
            Err(_elapsed) => Err((
                Kind::Silence,
                format!("no answer within {} s", CONNECT.as_secs()),
            )),
        }
    };
    let place = Place {
        transport: Transport::Tls,
        port: server.address.port.get(),
        believes: handshake.believes,
        tcp: None,
    };
    survey(addresses, &place, connect).await
}

async fn shake(
    transport: Transport,
    server: &ServerAddress,
    addresses: &[SocketAddr],
    handshake: &Handshake,
    tcp: Option<Result<(), Kind>>,
) -> Tried {
    let tasks = TaskTracker::new();
    let dialer = Dialer::new(Budget::new(BUDGET), tasks.clone());
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
                    Ok(closed) => Err((
                        Kind::of_end(&closed),
                        format!("the server took the connection and ended it again: {closed}"),
                    )),
                    Err(_still_open) => Ok(format!("in {took} ms, and it is the right server")),
                };
            }
            Err(Attempt::Connect { error, .. }) => error,
            Err(other) => return Err((Kind::Own, other.to_string())),
        };
        match handshake.believes {
            // It got as far as the server's certificate.
            Believes::Nothing(pin) if error.to_string().contains(&pin.to_string()) => Ok(format!(
                "in {took} ms; whether it is the right server is not known before enrolment"
            )),
            _ => Err((Kind::of_handshake(&error), error.to_string())),
        }
    };
    let place = Place {
        transport,
        port: server.address.port.get(),
        believes: handshake.believes,
        tcp,
    };
    let tried = survey(addresses, &place, connect).await;
    tasks.close();
    tried
}
