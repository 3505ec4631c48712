//! The steps towards one server: its name, its port.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use edge_tunnel_proto::id::{Destination, Host};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Outcome, Report};
use crate::config::ServerAddress;

/// How long one step may take.
const STEP: Duration = Duration::from_secs(5);

/// The most addresses of one name that are tried.
const ADDRESSES: usize = 8;

pub(super) async fn check_server(
    server: &ServerAddress,
    report: &mut Report<impl Write>,
) -> io::Result<()> {
    let address = &server.address;
    let found = match resolve(address).await {
        Ok(found) => found,
        Err(failed) => return report.add(format!("{address} resolve"), failed),
    };
    let shown = found
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    report.add(format!("{address} resolve"), Outcome::Passed(shown))?;
    let tcp = match server.transports.tls() {
        true => tcp(&found).await,
        false => Outcome::Skipped("quic:// uses no TCP".to_owned()),
    };
    report.add(format!("{address} tcp"), tcp)
}

async fn resolve(address: &Destination) -> Result<Vec<SocketAddr>, Outcome> {
    let port = address.port.get();
    let name = match &address.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => name.as_str(),
    };
    let looked_up = tokio::time::timeout(STEP, tokio::net::lookup_host((name, port))).await;
    let remedy = "look at --server for a typing error, and at this machine's DNS (/etc/resolv.conf); an address works too";
    match looked_up {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.take(ADDRESSES).collect();
            match found.is_empty() {
                true => Err(Outcome::failed(format!("{name} has no address"), remedy)),
                false => Ok(found),
            }
        }
        Ok(Err(error)) => Err(Outcome::failed(
            format!("{name} cannot be resolved: {error}"),
            remedy,
        )),
        Err(_elapsed) => Err(Outcome::failed(
            format!("no DNS server answered within {} s", STEP.as_secs()),
            remedy,
        )),
    }
}

/// Connects to each address in turn; one that answers is enough.
async fn tcp(addresses: &[SocketAddr]) -> Outcome {
    let mut reached = Vec::new();
    let mut failures = Vec::new();
    for address in addresses {
        let began = Instant::now();
        match tokio::time::timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(_stream)) => {
                reached.push(format!("{address} in {} ms", began.elapsed().as_millis()));
            }
            Ok(Err(error)) => failures.push((*address, error)),
            Err(elapsed) => failures.push((*address, elapsed.into())),
        }
    }
    let unreached: Vec<_> = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    let unreached = unreached.join("; ");
    match (reached.is_empty(), failures.first()) {
        (false, None) => Outcome::Passed(reached.join(", ")),
        (false, Some(_)) => Outcome::warning(
            format!("{}, but not {unreached}", reached.join(", ")),
            "the agent uses the others; take the address out of DNS, or repair what is behind it",
        ),
        (true, first) => Outcome::failed(unreached, remedy(first.map(|(_, error)| error.kind()))),
    }
}

fn remedy(failure: Option<io::ErrorKind>) -> &'static str {
    match failure {
        Some(io::ErrorKind::ConnectionRefused) => {
            "the machine is there but nothing listens on this port: is the server (or the balancer's listener) up, and is \
             the port its --agents-listen?"
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            "there is no way from here to there: look at this node's routes and uplink"
        }
        _ => {
            "nothing came back: let TCP to this port out of the site's firewall, and into the balancer"
        }
    }
}
