//! Programs that die or stand still: real processes, and real signals.

use std::time::Duration;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::census::{Census, Counted};
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::programs::{Cloud, Edge, Surroundings};
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::traffic::{Door, Fate, Order};
use edge_tunnel_tests::wait::{SOON, give_up, until, within};
use edge_tunnel_tests::web::Web;
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::TRANSPORTS;

/// The longest back-off of an agent whose sessions never last, an attempt, and what a busy machine adds.
const BACK: Duration = Duration::from_secs(120);

struct Place {
    cloud: Cloud,
    edge: Edge,
    service: Service,
    web: Web,
    _link: Link,
}

async fn place(name: &str, transport: &str) -> Option<Place> {
    let (service, web) = (Service::start().await, Web::start("web").await);
    let cloud = Cloud::start(&Surroundings::default(), &["--heartbeat", "1s"]).await?;
    std::fs::write(
        cloud.config_dir().join("http-proxy-ports"),
        web.port().to_string(),
    )
    .unwrap();
    let link = Link::to(cloud.agents()).await;
    let dial = format!("{transport}://{}", link.address());
    let name = format!("{name}-{transport}");
    let (around, flags) = (Surroundings::default(), ["--heartbeat", "1s"]);
    let edge = Edge::start(&name, &cloud, &dial, &around, &flags).await?;
    edge.ready().await;
    Some(Place {
        cloud,
        edge,
        service,
        web,
        _link: link,
    })
}

impl Place {
    fn counted(&self) -> [Counted; 2] {
        [self.cloud.counted(), self.edge.counted()]
    }

    fn order(&self, http: bool, seed: u64) -> Order {
        let (door, port) = if http {
            (Door::Http(self.cloud.http()), self.web.port())
        } else {
            (Door::Uds(self.cloud.uds()), self.service.port())
        };
        Order {
            door,
            at: self.edge.at(port),
            size: 300_000,
            seed,
        }
    }

    async fn works(&self) {
        for http in [false, true] {
            let look = async || match self.order(http, 2).run().await {
                Fate::Whole => Ok(()),
                Fate::Failed(words) => Err(words),
                fate => give_up(format!("{fate:?}")),
            };
            until("a request works", BACK, look).await;
        }
    }
}

/// Requests one after the other, until `stop`; says how many were whole and how many failed.
async fn ask_on(order: impl Fn(u64) -> Order, stop: watch::Receiver<bool>) -> (usize, usize) {
    let (mut whole, mut failed) = (0, 0);
    let mut seed = 0;
    while !*stop.borrow() {
        seed += 1;
        match order(seed).run().await {
            Fate::Whole => whole += 1,
            Fate::Failed(_) => {
                failed += 1;
                sleep(Duration::from_millis(20)).await;
            }
            fate => give_up(format!("request {seed}: {fate:?}")),
        }
    }
    (whole, failed)
}

/// Killed so many times, `apart` of which the node is waited for in between.
async fn killed(transport: &str, times: usize, apart: usize) {
    let Some(mut place) = place("killed", transport).await else {
        return;
    };
    place.works().await;
    let before = Census::settled(&place.counted()).await;
    let first = place.cloud.counted().pid.unwrap();
    for round in 0..times {
        let stop = watch::Sender::new(false);
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..3 {
            let order = place.order(caller == 0, 0);
            let order = move |seed| Order {
                seed,
                ..order.clone()
            };
            callers.spawn(ask_on(order, stop.subscribe()));
        }
        sleep(Duration::from_millis(150)).await;
        place.cloud.kill().await;
        stop.send_replace(true);
        within("every caller is told", SOON, callers.join_all()).await;
        place.cloud.start_again().await;
        if round % apart == apart - 1 {
            place.works().await;
        }
    }
    let now = place.cloud.counted().pid.unwrap();
    let before = before.renamed(first, now);
    before.comes_back(&place.counted()).await;
}

#[tokio::test]
async fn a_server_that_is_killed_under_load_is_come_back_to() {
    tokio::join!(killed("quic", 4, 1), killed("tls", 4, 2));
}

/// The agent's back-off grows all the while, since no session lasts.
#[tokio::test]
#[ignore = "long: make test-long"]
async fn a_server_that_is_killed_20_times_under_load_is_come_back_to() {
    tokio::join!(killed("quic", 20, 5), killed("tls", 20, 5));
}

#[tokio::test]
async fn an_agent_that_stands_still_is_found_out_and_comes_back() {
    let over = async |transport: &str| {
        let Some(mut place) = place("frozen", transport).await else {
            return;
        };
        place.works().await;
        let before = Census::settled(&place.counted()).await;
        place.edge.daemon().signal(Signal::SIGSTOP);
        let began = Instant::now();
        let at = place.edge.at(place.service.port());
        let refused = caller::uds(&place.cloud.uds(), &at).await;
        let refused = refused.map(drop).unwrap_err();
        let took = began.elapsed();
        assert_eq!(refused.status, 503, "{refused:?}");
        // A second of patience and three for the probe, and what a busy machine adds.
        assert!(
            took > Duration::from_secs(2) && took < Duration::from_secs(12),
            "{took:?}"
        );
        // From now on it is known, and nobody waits.
        let at = place.edge.at(place.web.port());
        let asked = caller::http(place.cloud.http(), get("/name", &at));
        let answer = within("an answer", SOON, asked).await.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        place.edge.daemon().signal(Signal::SIGCONT);
        place.works().await;
        before.comes_back(&place.counted()).await;
    };
    tokio::join!(over("quic"), over("tls"));
}

/// The other way round: it is the agent that finds out, by its heartbeat, and has nobody else to go to until then.
#[tokio::test]
async fn a_server_that_stands_still_is_dialled_again_and_comes_back() {
    for transport in TRANSPORTS {
        let Some(mut place) = place("still", transport).await else {
            return;
        };
        place.works().await;
        let before = Census::settled(&place.counted()).await;
        place.cloud.daemon().signal(Signal::SIGSTOP);
        place
            .edge
            .daemon()
            .says(&["the session ended", "did not answer"])
            .await;
        place.cloud.daemon().signal(Signal::SIGCONT);
        place.works().await;
        before.comes_back(&place.counted()).await;
    }
}
