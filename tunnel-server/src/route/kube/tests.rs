//! The cluster's objects through watches, as an API server of the tests' own serves them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::id::Port;
use edge_tunnel_proto::sync::Mutex;
use edge_tunnel_proto::telemetry::health::Health;
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::kubernetes::testing::Api as Cluster;
use crate::route::Unmatched;
use crate::route::index::Settings as Told;
use crate::route::keys::Key;
use crate::route::nodes::{Claim, Nodes};
use crate::route::table::Table;

const MAP: &str = "/api/v1/namespaces/kube-system/configmaps/edge-tunnel-server-cfg";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/kube-system/events";
/// Generous: the machine may be busy, and a watch that was broken off waits for its back-off.
const TIME: Duration = Duration::from_secs(60);

/// A server's view of a cluster.
struct View {
    routes: Routes,
    health: Health,
    registered: Arc<Mutex<HashMap<NodeName, RegistrationId>>>,
    shutdown: CancellationToken,
}

impl View {
    async fn open(cluster: &Cluster, state: &Path) -> Self {
        let settings = Settings {
            config_map: "kube-system/edge-tunnel-server-cfg".parse().unwrap(),
            tunnelled: "edge=true".parse().unwrap(),
            via: Selectors::default(),
            kept: state.join("cluster.json"),
        };
        let health = Health::default();
        let registered = Arc::new(Mutex::default());
        let taken = Arc::clone(&registered);
        let (source, routes) = Source::open(
            cluster.client(),
            settings,
            Index::new(Told {
                unmatched: Unmatched::Direct,
                ..Told::default()
            }),
            Metrics::default(),
            health.register("cluster", "starting"),
            Box::new(move |all| *taken.lock() = all),
        )
        .await;
        let shutdown = CancellationToken::new();
        tokio::spawn(source.run(shutdown.clone()));
        Self {
            routes,
            health,
            registered,
            shutdown,
        }
    }

    /// Waits for a table in which this holds.
    async fn until(&self, holds: impl Fn(&Table) -> bool) {
        let mut watch = self.routes.watch();
        let waiting = timeout(TIME, watch.wait_for(|table| holds(table)));
        waiting.await.expect("no such table in time").unwrap();
    }

    async fn nodes(&self, holds: impl Fn(&Nodes) -> bool) {
        self.until(|table| holds(table.nodes())).await;
    }

    async fn until_report(&self, holds: impl Fn(&str) -> bool) -> String {
        let waiting = async {
            loop {
                let report = self.health.report(false).text;
                if holds(&report) {
                    return report;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waiting = timeout(TIME, waiting).await;
        waiting.unwrap_or_else(|_| panic!("still {}", self.health.report(false).text))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

fn node(edge: bool, address: &str) -> Value {
    json!({
        "metadata": {"labels": {"edge": edge.to_string()}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    })
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn of(nodes: &Nodes, address: &str) -> Option<String> {
    match nodes.claim(address.parse().unwrap()) {
        Claim::One(node) => Some(node.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn nodes_come_change_lose_their_label_and_go() {
    let (cluster, state) = (Cluster::new(), tempfile::tempdir().unwrap());
    cluster.put(&path("edge-1"), node(true, "192.0.2.1"));
    cluster.put(&path("cloud-1"), node(false, "198.51.100.1"));
    let view = View::open(&cluster, state.path()).await;
    view.nodes(|nodes| of(nodes, "192.0.2.1").as_deref() == Some("edge-1"))
        .await;
    view.nodes(|nodes| nodes.named(&name("cloud-1")) == Claim::Plain)
        .await;
    view.until_report(|report| report == "ready\n").await;

    cluster.put(&path("edge-1"), node(true, "192.0.2.7"));
    view.nodes(|nodes| of(nodes, "192.0.2.7").is_some() && of(nodes, "192.0.2.1").is_none())
        .await;
    cluster.put(&path("edge-2"), node(true, "192.0.2.7"));
    view.until(|table| table.problems().count(Key::Nodes) == 1)
        .await;
    assert!(
        view.routes
            .table()
            .nodes()
            .tunnelled()
            .contains(&name("edge-2"))
    );
    cluster.put(&path("edge-2"), node(false, "192.0.2.7"));
    view.nodes(|nodes| nodes.claim("192.0.2.7".parse().unwrap()) == Claim::Plain)
        .await;
    cluster.delete(&path("edge-2"));
    view.nodes(|nodes| of(nodes, "192.0.2.7").as_deref() == Some("edge-1"))
        .await;
}

#[tokio::test]
async fn a_node_made_anew_is_another_registration() {
    let (cluster, state) = (Cluster::new(), tempfile::tempdir().unwrap());
    let uid = |last: u8| format!("6ba7b810-9dad-11d1-80b4-00c04fd430{last:02x}");
    let with_uid = |last| {
        let mut node = node(true, "192.0.2.1");
        node["metadata"]["uid"] = uid(last).into();
        node
    };
    cluster.put(&path("edge-1"), with_uid(1));
    let view = View::open(&cluster, state.path()).await;
    let until = async |last: Option<u8>| {
        let expected = last.map(|last| uid(last).replace('-', "").parse().unwrap());
        let waiting = async {
            while view.registered.lock().get(&name("edge-1")).copied() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(TIME, waiting)
            .await
            .expect("not registered in time");
    };
    until(Some(1)).await;
    cluster.delete(&path("edge-1"));
    until(None).await;
    cluster.put(&path("edge-1"), with_uid(2));
    until(Some(2)).await;
    // Also where nobody watched meanwhile.
    cluster.away(true);
    cluster.delete(&path("edge-1"));
    cluster.put(&path("edge-1"), with_uid(3));
    cluster.expire();
    cluster.away(false);
    until(Some(3)).await;
}

#[tokio::test]
async fn what_went_while_the_watch_was_too_old_is_gone() {
    let (cluster, state) = (Cluster::new(), tempfile::tempdir().unwrap());
    for index in 0..1200 {
        let address = format!("10.0.{}.{}", index / 250, index % 250 + 1);
        cluster.put(&path(&format!("edge-{index}")), node(true, &address));
    }
    let view = View::open(&cluster, state.path()).await;
    // In twelve pages.
    view.nodes(|nodes| nodes.tunnelled().len() == 1200).await;
    let lists = cluster
        .requests()
        .iter()
        .filter(|request| request.contains("/nodes?") && request.contains("limit=100"))
        .count();
    assert_eq!(lists, 12);
    for index in 0..600 {
        cluster.delete(&path(&format!("edge-{index}")));
    }
    cluster.expire();
    view.nodes(|nodes| nodes.tunnelled().len() == 600).await;
    assert_eq!(of(view.routes.table().nodes(), "10.0.0.1"), None);
}

#[tokio::test]
async fn an_api_server_that_is_away_changes_nothing() {
    let (cluster, state) = (Cluster::new(), tempfile::tempdir().unwrap());
    cluster.put(&path("edge-1"), node(true, "192.0.2.1"));
    cluster.put(MAP, json!({"data": {"http-proxy-ports": "9100"}}));
    let knows =
        |table: &Table| of(table.nodes(), "192.0.2.1").is_some() && table.ports().http(port(9100));
    let view = View::open(&cluster, state.path()).await;
    view.until(knows).await;
    cluster.away(true);
    let report = view
        .until_report(|report| report.contains("by what was last known"))
        .await;
    assert!(
        report.contains("the Nodes cannot be watched") && report.ends_with("ready\n"),
        "{report}"
    );
    assert!(knows(&view.routes.table()));
    // What an earlier start has kept serves the next one.
    let kept = state.path().join("cluster.json");
    timeout(TIME, async {
        while !std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("9100")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("nothing was kept");
    drop(view);
    let next = View::open(&cluster, state.path()).await;
    assert!(knows(&next.routes.table()));
    assert_eq!(next.registered.lock().len(), 1);
    next.until_report(|report| report.contains("cannot be watched") && report.ends_with("ready\n"))
        .await;
    // A start that knows nothing is not ready, and says why.
    let empty = tempfile::tempdir().unwrap();
    let ignorant = View::open(&cluster, empty.path()).await;
    let report = ignorant
        .until_report(|report| report.contains("cannot be watched"))
        .await;
    assert!(!report.ends_with("ready\n"), "{report}");
    // Who is a node is not known: nobody is taken for none.
    assert_eq!(*ignorant.routes.table().unmatched(), Unmatched::Refuse);
    cluster.away(false);
    ignorant.until(knows).await;
    assert_eq!(*ignorant.routes.table().unmatched(), Unmatched::Direct);
    ignorant.until_report(|report| report == "ready\n").await;
    next.until_report(|report| report == "ready\n").await;
}

#[tokio::test]
async fn a_kept_file_that_is_none_is_as_good_as_none() {
    let (cluster, state) = (Cluster::new(), tempfile::tempdir().unwrap());
    cluster.put(&path("edge-1"), node(true, "192.0.2.1"));
    for text in ["", "{}", "\u{0}", "{\"nodes\": 1, \"keys\": {}}"] {
        std::fs::write(state.path().join("cluster.json"), text).unwrap();
        let view = View::open(&cluster, state.path()).await;
        view.nodes(|nodes| of(nodes, "192.0.2.1").is_some()).await;
    }
}

#[tokio::test]
async fn the_config_map_is_live_and_without_it_the_defaults_hold() {
    let (cluster, state) = (Cluster::new(), tempfile::tempdir().unwrap());
    let view = View::open(&cluster, state.path()).await;
    let http = |number: u16| move |table: &Table| table.ports().http(port(number));
    view.until(http(10255)).await;
    cluster.put(
        MAP,
        json!({"data": {"http-proxy-ports": "9100, x", "localhost-proxy-ports": ""}}),
    );
    view.until(http(9100)).await;
    assert!(!view.routes.table().ports().localhost(port(10266)));
    // An Event says what is wrong.
    let event = timeout(TIME, async {
        loop {
            let found = cluster
                .requests()
                .iter()
                .any(|request| request.starts_with("POST") && request.contains(EVENTS));
            if found {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    event.await.expect("no Event in time");
    cluster.delete(MAP);
    view.until(|table| !http(9100)(table) && table.ports().localhost(port(10266)))
        .await;
    assert_eq!(view.routes.table().problems().total(), 0);
}

#[tokio::test]
async fn a_verb_that_is_not_granted_is_named_and_the_rest_runs() {
    let (cluster, state) = (Cluster::new(), tempfile::tempdir().unwrap());
    cluster.put(&path("edge-1"), node(true, "192.0.2.1"));
    cluster.forbid(
        Method::GET,
        "/api/v1/namespaces/kube-system/configmaps",
        true,
    );
    let view = View::open(&cluster, state.path()).await;
    view.nodes(|nodes| of(nodes, "192.0.2.1").is_some()).await;
    let report = view
        .until_report(|report| report.contains("ConfigMap"))
        .await;
    assert!(
        report.contains("kube-system/edge-tunnel-server-cfg cannot be watched"),
        "{report}"
    );
    assert!(
        report.contains("forbidden") && report.contains("grant it"),
        "{report}"
    );
    assert!(report.ends_with("ready\n"), "{report}");
    cluster.put(MAP, json!({"data": {"http-proxy-ports": "9100"}}));
    cluster.forbid(
        Method::GET,
        "/api/v1/namespaces/kube-system/configmaps",
        false,
    );
    view.until(|table| table.ports().http(port(9100))).await;
}
