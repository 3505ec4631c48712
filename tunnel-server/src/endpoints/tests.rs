use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::{Bundle, Live, TrustDomain};
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::kubernetes::testing::Api as Memory;

const SERVICES: &str = "/api/v1/namespaces/edge-tunnel/services";
const MAPS: &str = "/api/v1/namespaces/edge-tunnel/configmaps";
const MAP: &str = "/api/v1/namespaces/edge-tunnel/configmaps/edge-tunnel-endpoints";

/// Longer than anything here waits before it tries again.
const LONG: Duration = Duration::from_secs(3600);

fn bundle() -> Bundle {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).unwrap();
    Bundle::new([certificate.der().clone()]).unwrap()
}

fn trust() -> Trust {
    Trust {
        bundle: Live::new(bundle()),
        trust_domain: TrustDomain::default(),
        clock: Clock::system(),
    }
}

/// A replica that publishes what is reached at these Services.
fn replica(api: &Memory, services: &[&str], trust: &Trust) -> JoinHandle<()> {
    let endpoints = Endpoints {
        client: api.client(),
        services: services.iter().map(ToString::to_string).collect(),
        tunnelled: "edge=true;far=yes".parse().unwrap(),
        trust: trust.clone(),
    };
    tokio::spawn(endpoints.run())
}

fn balanced(api: &Memory, name: &str, protocol: &str, ip: &str) {
    let ports = json!([{"port": 10262, "protocol": protocol}]);
    let status = json!({"loadBalancer": {"ingress": [{"ip": ip}]}});
    api.put(
        &format!("{SERVICES}/{name}"),
        json!({"spec": {"ports": ports}, "status": status}),
    );
}

fn data(api: &Memory) -> Value {
    api.get(MAP).unwrap_or_default()["data"].clone()
}

/// Waits until this is what agents read.
async fn servers(api: &Memory, expected: &str) {
    until(&format!("servers are {expected:?}"), api, || {
        data(api)["servers"] == expected
    })
    .await;
}

async fn until(what: &str, api: &Memory, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = timeout(LONG, waiting).await;
    assert!(
        waited.is_ok(),
        "{what}: {:?} {:?}",
        data(api),
        api.requests()
    );
}

/// How often the ConfigMap was written, well or not.
fn writes(api: &Memory) -> usize {
    let asked = api.requests();
    let writes = asked.iter().filter(|asked| {
        ["PUT", "POST"]
            .iter()
            .any(|method| asked.starts_with(method))
            && asked.contains(MAPS)
    });
    writes.count()
}

#[tokio::test(start_paused = true)]
async fn what_the_services_come_to_is_published_and_follows_them() {
    let (api, trust) = (Memory::new(), trust());
    balanced(&api, "a", "TCP", "192.0.2.1");
    let _replica = replica(&api, &["a", "b"], &trust);
    servers(&api, "tls://192.0.2.1:10262\n").await;
    assert_eq!(data(&api)["ca.crt"], trust.bundle.get().to_pem());
    balanced(&api, "b", "UDP", "192.0.2.2");
    servers(&api, "quic://192.0.2.2:10262\ntls://192.0.2.1:10262\n").await;
    balanced(&api, "a", "TCP", "192.0.2.2");
    servers(&api, "192.0.2.2:10262\n").await;
    // Without a Service nobody knows better than what was published.
    let written = writes(&api);
    api.delete(&format!("{SERVICES}/a"));
    api.delete(&format!("{SERVICES}/b"));
    sleep(LONG).await;
    assert_eq!(
        (data(&api)["servers"].as_str(), writes(&api)),
        (Some("192.0.2.2:10262\n"), written)
    );
}

#[tokio::test(start_paused = true)]
async fn the_bundle_is_published_as_it_is_now_and_what_others_keep_there_stays() {
    let (api, trust) = (Memory::new(), trust());
    api.put(
        MAP,
        json!({"metadata": {"labels": {"kept": "yes"}}, "data": {"other": "kept"}}),
    );
    let _replica = replica(&api, &["a"], &trust);
    let first = trust.bundle.get().to_pem();
    until("the bundle is there", &api, || {
        data(&api)["ca.crt"] == first
    })
    .await;
    assert!(data(&api)["servers"].is_null(), "there is no Service");
    trust.bundle.set(bundle());
    let second = trust.bundle.get().to_pem();
    assert_ne!(first, second);
    until("the new bundle is there", &api, || {
        data(&api)["ca.crt"] == second
    })
    .await;
    let map = api.get(MAP).unwrap();
    assert_eq!(
        (&map["data"]["other"], &map["metadata"]["labels"]["kept"]),
        (&json!("kept"), &json!("yes"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_map_that_goes_is_made_again_and_one_that_a_person_writes_stays_until_something_changes()
{
    let (api, trust) = (Memory::new(), trust());
    balanced(&api, "a", "TCP", "192.0.2.1");
    let _replica = replica(&api, &["a"], &trust);
    servers(&api, "tls://192.0.2.1:10262\n").await;
    api.delete(MAP);
    servers(&api, "tls://192.0.2.1:10262\n").await;
    api.put(MAP, json!({}));
    servers(&api, "tls://192.0.2.1:10262\n").await;
    let pem = trust.bundle.get().to_pem();
    api.put(
        MAP,
        json!({"data": {"servers": "lb.example:1\n", "ca.crt": pem}}),
    );
    sleep(LONG).await;
    servers(&api, "lb.example:1\n").await;
    balanced(&api, "a", "TCP", "192.0.2.3");
    servers(&api, "tls://192.0.2.3:10262\n").await;
}

#[tokio::test(start_paused = true)]
async fn replicas_that_see_the_same_write_it_once_and_those_that_do_not_write_no_more_than_once_each()
 {
    let (api, trust) = (Memory::new(), trust());
    balanced(&api, "a", "TCP", "192.0.2.1");
    balanced(&api, "b", "TCP", "192.0.2.2");
    let first = replica(&api, &["a"], &trust);
    let same: Vec<_> = (0..3).map(|_| replica(&api, &["a"], &trust)).collect();
    servers(&api, "tls://192.0.2.1:10262\n").await;
    sleep(LONG).await;
    let written = writes(&api);
    // The bundle, the servers, and what was tried at the same moment.
    assert!(written <= 8, "{written}");
    balanced(&api, "a", "TCP", "192.0.2.7");
    servers(&api, "tls://192.0.2.7:10262\n").await;
    sleep(LONG).await;
    let tried = writes(&api) - written;
    assert!((1..=4).contains(&tried), "{tried}");
    for replica in same {
        replica.abort();
    }

    // One that is told of another Service than the rest.
    let written = writes(&api);
    let _other = replica(&api, &["b"], &self::trust());
    servers(&api, "tls://192.0.2.2:10262\n").await;
    sleep(24 * LONG).await;
    let fought = writes(&api) - written;
    assert!(fought <= 3, "they have written {fought} times");
    assert!(!first.is_finished());
}

#[tokio::test(start_paused = true)]
async fn node_ports_are_published_at_the_nodes_that_anybody_can_dial() {
    let (api, trust) = (Memory::new(), trust());
    let node = |name: &str, labels: Value, ip: &str| {
        let addresses =
            json!([{"type": "Hostname", "address": name}, {"type": "ExternalIP", "address": ip}]);
        api.put(
            &format!("/api/v1/nodes/{name}"),
            json!({"metadata": {"labels": labels}, "status": {"addresses": addresses}}),
        );
    };
    node("cloud-1", json!({"edge": "false"}), "192.0.2.1");
    node("edge-1", json!({"edge": "true"}), "192.0.2.8");
    node("edge-2", json!({"far": "yes", "edge": "no"}), "192.0.2.9");
    let ports = json!([{"port": 10262, "nodePort": 30262}, {"port": 10262, "protocol": "UDP", "nodePort": 30262}]);
    api.put(
        &format!("{SERVICES}/a"),
        json!({"spec": {"type": "NodePort", "ports": ports}}),
    );
    let _replica = replica(&api, &["a"], &trust);
    servers(&api, "192.0.2.1:30262\n").await;
    node("cloud-2", json!({}), "192.0.2.2");
    servers(&api, "192.0.2.1:30262\n192.0.2.2:30262\n").await;
    let asked = api.requests();
    let lists = asked.iter().filter(|asked| asked.contains("/api/v1/nodes"));
    for list in lists {
        assert!(
            list.contains("labelSelector=edge%21%3Dtrue%2Cfar%21%3Dyes"),
            "{list}"
        );
    }
    // Those that have a balancer never ask for them.
    balanced(&api, "a", "TCP", "192.0.2.7");
    servers(&api, "tls://192.0.2.7:10262\n").await;
    let asked = |api: &Memory| {
        api.requests()
            .iter()
            .filter(|asked| asked.contains("/nodes"))
            .count()
    };
    let before = asked(&api);
    sleep(LONG).await;
    assert_eq!(asked(&api), before);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_or_forbids_is_asked_again_and_nothing_is_lost() {
    let (api, trust) = (Memory::new(), trust());
    balanced(&api, "a", "TCP", "192.0.2.1");
    api.away(true);
    let running = replica(&api, &["a"], &trust);
    sleep(LONG / 10).await;
    assert!(!api.requests().is_empty() && !running.is_finished());
    api.away(false);
    servers(&api, "tls://192.0.2.1:10262\n").await;

    for (method, what) in [(Method::PUT, MAPS), (Method::GET, SERVICES)] {
        let written = data(&api);
        api.forbid(method.clone(), what, true);
        // Ends the watches, too, which then are refused.
        api.expire();
        let ip = if method == Method::PUT {
            "192.0.2.2"
        } else {
            "192.0.2.3"
        };
        balanced(&api, "a", "TCP", ip);
        let before = api.requests().len();
        sleep(LONG / 10).await;
        let tried = api.requests().len() - before;
        assert!(
            (2..1000).contains(&tried),
            "{method} was tried {tried} times in 6 minutes"
        );
        assert_eq!(data(&api), written, "{method}");
        api.forbid(method, what, false);
        servers(&api, &format!("tls://{ip}:10262\n")).await;
    }
    assert!(!running.is_finished());
}

#[test]
fn trouble_is_said_once_until_it_is_another_or_over() {
    let mut said = Said::default();
    let mut says = |words: &str| {
        let before = said.0.clone();
        said.trouble("the Nodes", words);
        said.0 != before
    };
    assert!(says("away") && !says("away") && says("forbidden"));
    said.well("the Nodes");
    assert!(said.0.is_empty());
}
