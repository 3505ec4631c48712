//! Every listener, every rudeness, all at once: each stranger gets its answer or its end in the time that is documented,
//! whoever is honest is served beside them, and nothing is left of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::metrics;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::stranger::Door;
use edge_tunnel_tests::wait::{SOON, until, within};
use edge_tunnel_tests::web::Web;
use edge_tunnel_tests::{limits, ports};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use kinds::{Answer, Kind, Spoken};

mod kinds;
mod others;

/// The longest that anybody may hold a place with nothing but rudeness: the times for a head and an answer, and a
/// machine that has other things to do.
const HELD: Duration = Duration::from_secs(60);

/// How many of each kind there are at each listener.
const EACH: usize = 12;

/// Everything that listens.
struct House {
    server: Server,
    proxied: Server,
    node: Node,
    web: Web,
    service: Service,
    client: std::path::PathBuf,
    own_port: u16,
}

impl House {
    async fn new(name: &str) -> Self {
        limits::open_files(16_384);
        let (web, own_port) = (Web::start("web").await, ports::free());
        let service = Service::tls(([127, 0, 0, 1], 0).into(), name).await;
        let server = Server::with_keys(&[
            ("http-proxy-ports", &web.port().to_string()),
            (
                "https-proxy-ports",
                &format!("{}={own_port}", service.port()),
            ),
        ])
        .await;
        let proxied = Server::start(&["--agents-proxy-protocol"]).await;
        let node = Node::join(name, &server).await;
        let client = server
            .issue_client("honest", &["--ports", &web.port().to_string()])
            .await;
        Self {
            server,
            proxied,
            node,
            web,
            service,
            client,
            own_port,
        }
    }

    fn doors(&self) -> Vec<(&'static str, Spoken, Door)> {
        let tcp = Door::Tcp;
        let own = ([127, 0, 0, 1], self.own_port).into();
        let admin_socket = self.server.state_dir().join("admin.sock");
        vec![
            ("agents", Spoken::Tls, tcp(self.server.agents())),
            (
                "agents, proxied",
                Spoken::Proxied,
                tcp(self.proxied.agents()),
            ),
            ("tls", Spoken::Passed, tcp(self.server.tls())),
            ("https-proxy-ports", Spoken::Passed, tcp(own)),
            ("http", Spoken::Http, tcp(self.server.http())),
            ("connect", Spoken::Tls, tcp(self.server.connect())),
            (
                "connect socket",
                Spoken::Connect,
                Door::Unix(self.server.uds()),
            ),
            ("admin", Spoken::Admin, tcp(self.server.admin())),
            ("admin socket", Spoken::Admin, Door::Unix(admin_socket)),
            ("agent's admin", Spoken::Admin, tcp(self.node.admin())),
        ]
    }

    /// Everybody who is honest is served, once each.
    async fn serves(&self, round: usize) -> Result<(), String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let at = self.node.at(self.web.port());
        let answer = caller::http(self.server.http(), get("/name", &at)).await;
        let answer = answer.map_err(|error| text(&error))?;
        if answer.status != 200 {
            return Err(format!("http: {answer:?}"));
        }
        let uds = caller::uds(&self.server.uds(), &at).await;
        uds.map_err(|refused| format!("connect socket: {refused:?}"))?;
        let mtls = caller::mtls(self.server.connect(), &self.client, &at).await;
        mtls.map_err(|refused| format!("connect: {refused:?}"))?;
        let own = ([127, 0, 0, 1], self.own_port).into();
        let root = self.service.certificate().unwrap();
        let mut tls = caller::sni(own, self.node.name(), root)
            .await
            .map_err(|error| text(&error))?;
        caller::say(&mut tls, "echo")
            .await
            .map_err(|error| text(&error))?;
        caller::echo(&mut tls, "hello")
            .await
            .map_err(|error| text(&error))?;
        // Where so many come at once, one that has not asked yet may have to make room: whoever is honest asks again.
        let mut last = Ok(());
        for _attempt in 0..5 {
            last = self.shows().await;
            if last.is_ok() {
                break;
            }
        }
        last.map_err(|error| format!("admin, round {round}: {error}"))
    }

    async fn shows(&self) -> Result<(), String> {
        for admin in [self.server.admin(), self.node.admin()] {
            let page = metrics::page(admin, "/livez").await;
            page.map_err(|error| error.to_string())?;
        }
        self.server.command(&["nodes"]).await.map(drop)
    }

    fn tasks(&self) -> (usize, usize, usize) {
        (self.server.tasks(), self.proxied.tasks(), self.node.tasks())
    }
}

/// One of each kind at a listener, many times.
fn strangers(doors: &[(&'static str, Spoken, Door)]) -> JoinSet<Vec<String>> {
    let mut strangers = JoinSet::new();
    for (name, spoken, door) in doors {
        for kind in Kind::ALL {
            // A connection over `http` may wait for its first request as for any other: five minutes.
            if *spoken == Spoken::Http && kind == Kind::Silent {
                continue;
            }
            for _ in 0..EACH {
                let (name, spoken, door) = (*name, *spoken, door.clone());
                strangers.spawn(async move {
                    let rude = kind.rude();
                    match tokio::time::timeout(HELD, rude.at(&door)).await {
                        Err(_elapsed) => vec![format!("{name}: {kind:?} is there after {HELD:?}")],
                        Ok(Err(error)) => vec![format!("{name}: {kind:?}: {error}")],
                        Ok(Ok(heard)) => {
                            let answer = Answer::of(&heard);
                            let shown = String::from_utf8_lossy(&heard[..heard.len().min(80)]);
                            let wrong = !kind.is_told(spoken, answer);
                            wrong
                                .then(|| format!("{name}: {kind:?} got {answer:?} ({shown:?})"))
                                .into_iter()
                                .collect()
                        }
                    }
                });
            }
        }
    }
    strangers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rudeness_at_every_listener_at_once() {
    let house = Arc::new(House::new("rude-node").await);
    house.serves(0).await.unwrap();
    until("all is quiet", SOON, async || quiet(&house, None).await).await;
    let before = house.tasks();

    let mut strangers = strangers(&house.doors());
    let over = CancellationToken::new();
    let honest = tokio::spawn({
        let (house, over) = (Arc::clone(&house), over.clone());
        async move {
            let mut rounds = 0;
            while !over.is_cancelled() {
                rounds += 1;
                within("the honest are served", SOON, house.serves(rounds))
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            rounds
        }
    });
    // Another node enrols meanwhile and connects, over each transport.
    for transport in ["tls", "quic"] {
        let at = format!("{transport}://{}", house.server.agents());
        let mut other = Node::new(&format!("rude-{transport}"), &at);
        other.enrol(&house.server).await;
        other.stop().await;
    }
    let mut wrong = std::collections::BTreeMap::<String, usize>::new();
    while let Some(told) = strangers.join_next().await {
        for line in told.unwrap() {
            *wrong.entry(line).or_default() += 1;
        }
    }
    over.cancel();
    let rounds = honest.await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rounds >= 3, "{rounds}");

    counted(&house).await;
    until("nothing is left of them", SOON, async || {
        quiet(&house, Some(before)).await
    })
    .await;
}

/// More tasks than this were never there without a stranger: connections to nodes are kept for the next request.
const KEPT: usize = 5;

/// No connection is open, and no task is there that was not before.
async fn quiet(house: &House, before: Option<(usize, usize, usize)>) -> Result<(), String> {
    let open = house.server.metrics().await.sum("ingress_connections", &[]);
    let tasks = house.tasks();
    let back = |now: usize, before: usize| now <= before + KEPT;
    let as_before = before.is_none_or(|before| {
        back(tasks.0, before.0) && back(tasks.1, before.1) && back(tasks.2, before.2)
    });
    if open < 0.5 && as_before {
        Ok(())
    } else {
        Err(format!("{open} connections, {tasks:?} tasks of {before:?}"))
    }
}

/// Whoever got nowhere was counted, as what it was.
async fn counted(house: &House) {
    let metrics = house.server.metrics().await;
    for (way, outcome, least) in [
        ("tls", "hello_timeout", 3),
        ("tls", "bad_hello", 4),
        ("tls", "plain_text", 3),
        ("tls", "unknown_node", 1),
        ("http", "head_timeout", 2),
        ("http", "head_too_large", 1),
        ("http", "bad_request", 3),
        ("connect", "tls_handshake", 8),
        ("connect", "head_timeout", 3),
        ("connect", "bad_request", 3),
        ("connect", "method", 1),
    ] {
        let labels = [format!("way=\"{way}\""), format!("outcome=\"{outcome}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let counted = metrics.sum("ingress_requests_total", &labels);
        assert!(
            counted >= (least * EACH) as f64,
            "{way} {outcome}: {counted}"
        );
    }
    for server in [&house.server, &house.proxied] {
        let failed = server
            .metrics()
            .await
            .sum("handshakes_total", &["outcome=\"failed\""]);
        assert!(failed >= (8 * EACH) as f64, "{failed}");
    }
}
