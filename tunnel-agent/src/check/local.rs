//! The steps that need no network: what this machine itself may have wrong.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::advice::{self, Kind, SET_CLOCK};
use super::{Outcome, Running};
use crate::config::{Config, Listen, node_name};
use crate::identity::build_date;
use crate::identity::folder::{self, Found, Lock};
use crate::policy::{file, interfaces};

/// How long whatever holds the admin port may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Whether the machine's clock can be right: not before this program was built, nor before the node's certificate was
/// issued, where `clock` knows of one; and whether it fits the certificates that servers have shown.
pub(super) fn clock(clock: &Clock, shown: &[Kind]) -> Outcome {
    clock.not_before(build_date());
    // In this order: the machine's time goes on between the two.
    let (earliest, machine) = (clock.now(), clock.machine());
    let time = rfc3339(machine);
    if machine < earliest {
        // The agent takes the later time instead, which is enough to reach the server, not to see an expiry.
        let what = format!(
            "this machine's clock says {time}, but it cannot be before {}",
            rfc3339(earliest)
        );
        return Outcome::warning(what, SET_CLOCK);
    }
    let off = [
        (Kind::ClockAhead, "ahead of"),
        (Kind::ClockBehind, "behind"),
    ];
    match off.into_iter().find(|(kind, _)| shown.contains(kind)) {
        Some((_, how)) => {
            let what = format!(
                "this machine's clock says {time}, which is {how} the certificate that a server has shown"
            );
            Outcome::warning(what, SET_CLOCK)
        }
        None => Outcome::Passed(time),
    }
}

/// Whether the state folder is this user's to use, and whether an agent uses it now.
pub(super) fn state_folder(path: &Path) -> (Outcome, Running) {
    let shown = path.display();
    let found = match folder::look(path) {
        Ok(found) => found,
        Err(unusable) => return (advice::folder(&unusable), Running::Unknown),
    };
    let running = match Lock::is_taken(path) {
        true => Running::Here,
        false => Running::Elsewhere,
    };
    let user = folder::user();
    let outcome = match (folder::open_to_others(path), found, running) {
        (Some(danger), ..) => match advice::its_own(&danger, "give it mode 0700") {
            Outcome::Failed(advice) => Outcome::Warning(advice),
            other => other,
        },
        (None, Found::Missing, _) => Outcome::Passed(format!(
            "{shown} is not there yet; run makes it, as user {user}"
        )),
        (None, Found::Usable, Running::Here) => Outcome::Passed(format!(
            "{shown} is user {user}'s to read and to write; an agent runs on it now, and a second one would be refused"
        )),
        (None, Found::Usable, _) => {
            Outcome::Passed(format!("{shown} is user {user}'s to read and to write"))
        }
    };
    (outcome, running)
}

/// Whether the agent can serve its own health, or does so already.
pub(super) async fn admin_port(listen: Listen, running: Running) -> Outcome {
    let Some(address) = listen.0 else {
        return Outcome::Skipped("none switches it off".to_owned());
    };
    match TcpListener::bind(address).await {
        Ok(_free) => Outcome::Passed(format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match ask_livez(address).await {
            Ok(true) if running == Running::Elsewhere => Outcome::failed(
                format!(
                    "an agent has {address} that does not run on this state folder, or is about to end"
                ),
                "give this check the flags of that agent (--state-dir), or another agent its own --admin-listen",
            ),
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

/// What this node is called, by what it was told and by its certificate.
pub(super) fn name(told: Option<&NodeName>, certified: Option<&NodeName>) -> Outcome {
    let by = match (told, certified) {
        (_, Some(_)) => "by its certificate",
        (Some(_), None) => "by --node-name",
        (None, None) => "by the host's name, unless the join token names another",
    };
    match node_name(told.cloned(), certified.cloned()) {
        Ok(name) => Outcome::Passed(format!("{name}, {by}")),
        Err(error) => advice::its_own(&error, "give --node-name"),
    }
}

/// What may be reached through this agent, and by which address the node is meant.
pub(super) async fn policy(config: &Config) -> Outcome {
    let flags = config.policy.rules();
    let rules = match &config.policy.policy_file {
        Some(path) => match file::read(&flags, path).await {
            Ok(rules) => rules,
            Err(error) => return advice::policy(&error),
        },
        None => flags,
    };
    if let Some(strange) = interfaces::stranger(config.node_ip) {
        return Outcome::warning(
            strange,
            "give --node-ip an address of this node, or leave it out; one that something else forwards to it is well, too",
        );
    }
    let (ports, allow, deny) = (&rules.loopback_ports, rules.allow.len(), rules.deny.len());
    Outcome::Passed(format!(
        "the node's own addresses, and on loopback the ports {ports}; allow rules: {allow}, deny rules: {deny}"
    ))
}
