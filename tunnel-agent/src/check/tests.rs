use std::time::{Duration, SystemTime};

use clap::Parser as _;
use edge_tunnel_proto::telemetry::built;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::admin;
use crate::config::{Cli, Command};

async fn checked(line: &str) -> (bool, String) {
    let words = format!("edge-tunnel-agent check {line}");
    let Command::Check(config) = Cli::try_parse_from(words.split(' ')).unwrap().command else {
        panic!("not check");
    };
    let mut out = Vec::new();
    let passed = check(&config, &mut out).await.unwrap();
    (passed, String::from_utf8(out).unwrap())
}

#[test]
fn a_clock_of_1970_is_warned_of() {
    let right = built() + Duration::from_secs(86_400);
    assert!(matches!(
        local::clock(&Clock::fixed(right)),
        Outcome::Passed(_)
    ));
    let wrong = local::clock(&Clock::fixed(SystemTime::UNIX_EPOCH));
    let Outcome::Warning(advice) = wrong else {
        panic!("{wrong:?}")
    };
    assert!(
        advice.what.contains("1970-01-01T00:00:00Z") && advice.remedy.contains("NTP"),
        "{advice:?}"
    );
}

#[tokio::test]
async fn the_admin_port_is_free_an_agents_or_another_programs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, pages) = (
        CancellationToken::new(),
        admin::Pages {
            health: Default::default(),
            registry: admin::registry(),
        },
    );
    let served = tokio::spawn(admin::serve(listener, pages, stop.clone()));
    let taken = local::admin_port(address).await;
    assert_eq!(
        taken,
        Outcome::Passed(format!("an agent runs on {address} already"))
    );
    stop.cancel();
    served.await.unwrap();
    assert_eq!(
        local::admin_port(address).await,
        Outcome::Passed(format!("{address} is free"))
    );

    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let hangs_up = tokio::spawn(async move { drop(other.accept().await) });
    let taken = local::admin_port(address).await;
    hangs_up.await.unwrap();
    let Outcome::Failed(advice) = taken else {
        panic!("{taken:?}")
    };
    assert!(advice.remedy.contains("--admin-listen"), "{advice:?}");
}

#[tokio::test]
async fn each_server_is_tried_and_a_closed_port_fails_the_check() {
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (open_at, closed_at) = (open.local_addr().unwrap(), closed.local_addr().unwrap());
    drop(closed);
    let (passed, said) = checked(&format!(
        "--admin-listen 127.0.0.1:0 --server {open_at},{closed_at}"
    ))
    .await;
    assert!(!passed);
    assert!(
        said.contains(&format!("ok    {open_at} tcp: {open_at} in ")),
        "{said}"
    );
    assert!(
        said.contains(&format!(
            "FAIL  {closed_at} tcp: {closed_at}: Connection refused"
        )),
        "{said}"
    );
    assert!(
        said.contains("      what to do: the machine is there but nothing listens"),
        "{said}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_ends_that_servers_steps() {
    // RFC 6761: no resolver knows a name under .invalid.
    let (passed, said) = checked("--admin-listen 127.0.0.1:0 --server nowhere.invalid:10262").await;
    assert!(!passed);
    assert!(
        said.contains("FAIL  nowhere.invalid:10262 resolve: "),
        "{said}"
    );
    assert!(
        said.contains("--server") && !said.contains(" tcp:"),
        "{said}"
    );
}
