//! Two hosts that hold one identity, as when a disk was cloned.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::logs;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};

struct Place {
    server: Server,
    link: Link,
    first: Node,
    second: Node,
}

/// The first is connected through a link of its own; the second does not run yet.
async fn place(name: &str, transport: &str) -> Place {
    let server = Server::start(&[]).await;
    let link = Link::to(server.agents()).await;
    let name = format!("{name}-{transport}");
    // A first one that was left behind notices when it next speaks.
    let mut first = Node::new(&name, &format!("{transport}://{}", link.address()))
        .flags(&["--heartbeat", "5s"]);
    first.enrol(&server).await;
    let second =
        Node::new(&name, &format!("{transport}://{}", server.agents())).identity_of(&first);
    Place {
        server,
        link,
        first,
        second,
    }
}

#[tokio::test]
async fn the_second_is_refused_while_the_first_lives_and_both_addresses_are_told() {
    let over = async |transport: &str| {
        let mut place = place("twin", transport).await;
        let name = place.first.name().to_owned();
        let service = Service::start().await;
        let at = place.first.at(service.port());
        let mut io = caller::uds(&place.server.uds(), &at).await.unwrap();
        caller::say(&mut io, "echo").await.unwrap();
        let before = place.server.session(&name, |_| true).await.session.unwrap();
        place.second.start().await;
        let first = before.remote.to_string();
        let said = place
            .second
            .says(&["Two hosts hold one identity", &first])
            .await;
        let warned = logs::with(&["Two hosts hold one identity", &name, "WARN"]);
        let told = warned.iter().any(|line| line.contains(&first));
        assert!(told, "{warned:?} {said}");
        let seconds = place.server.metrics().await.sum("second_hosts_total", &[]);
        assert!(seconds > 0.5, "{seconds}");
        // It is sent away for a while, and does not have the first one asked all the time.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let seconds = place.server.metrics().await.sum("second_hosts_total", &[]);
        assert!(
            seconds < 2.5,
            "{transport}: it came {seconds} times in five seconds"
        );
        caller::echo(&mut io, "nothing has happened").await.unwrap();
        let after = place.server.session(&name, |_| true).await.session.unwrap();
        assert_eq!(
            (before.instance, before.since),
            (after.instance, after.since)
        );
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn the_second_takes_over_once_the_first_does_not_answer_and_the_first_is_told() {
    let over = async |transport: &str| {
        let mut place = place("frozen", transport).await;
        let name = place.first.name().to_owned();
        place.link.block();
        place.second.start().await;
        let took = place.second.ready().await;
        assert!(
            took > Duration::from_secs(2),
            "the first was not asked: {took:?}"
        );
        let service = Service::start().await;
        let at = place.second.at(service.port());
        let mut io = caller::uds(&place.server.uds(), &at).await.unwrap();
        caller::say(&mut io, "echo").await.unwrap();
        caller::echo(&mut io, "hello").await.unwrap();

        place.link.unblock();
        // Whether it reads the words or finds the link dead, it dials again, and then it is the second.
        place.first.says(&["Two hosts hold one identity"]).await;
        let ended = async || {
            let ended = place.first.metrics().await.sum("sessions_ended_total", &[]);
            if ended > 0.5 {
                Ok(())
            } else {
                Err(ended.to_string())
            }
        };
        until("the first one's session has ended", SOON, ended).await;
        caller::echo(&mut io, "still here").await.unwrap();
        let started = logs::with(&["session started", &name]);
        assert_eq!(started.len(), 2, "{started:?}");
    };
    tokio::join!(over("quic"), over("tls"));
}
