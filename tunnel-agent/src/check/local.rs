//! The steps that need no network: what this machine itself may have wrong.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Outcome;
use crate::identity::build_date;

/// How long whatever holds the admin port may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Whether the machine's clock can be right: not before this program was built, nor before the node's certificate was
/// issued, where `clock` knows of one.
pub(super) fn clock(clock: &Clock) -> Outcome {
    clock.not_before(build_date());
    // In this order: the machine's time goes on between the two.
    let (earliest, machine) = (clock.now(), clock.machine());
    let shown = rfc3339(machine);
    if machine < earliest {
        // The agent takes the later time instead, which is enough to reach the server, not to see an expiry.
        return Outcome::warning(
            format!(
                "this machine's clock says {shown}, but it cannot be before {}",
                rfc3339(earliest)
            ),
            "set the clock, or let NTP do it (timedatectl set-ntp true); a box without a battery needs it at every start",
        );
    }
    Outcome::Passed(shown)
}

/// Whether the agent can serve its own health, or does so already.
pub(super) async fn admin_port(address: SocketAddr) -> Outcome {
    match TcpListener::bind(address).await {
        Ok(_free) => Outcome::Passed(format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match ask_livez(address).await {
            Ok(true) => Outcome::Passed(format!("an agent runs on {address} already")),
            Ok(false) | Err(_) => Outcome::failed(
                format!("{address} is taken by another program, which is no edge-tunnel agent"),
                "choose another address with --admin-listen, or see who has it: ss -ltnp",
            ),
        },
        Err(error) => Outcome::failed(
            format!("{address} cannot be listened on: {error}"),
            "give --admin-listen an address of this machine, such as 127.0.0.1:10266",
        ),
    }
}

async fn ask_livez(address: SocketAddr) -> io::Result<bool> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\nok\n"))
    };
    tokio::time::timeout(ANSWER, asked).await?
}
