//! Live keys that change while the server runs.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};
use edge_tunnel_tests::web::Web;
use edge_tunnel_tests::{metrics, ports};
use tokio::net::TcpStream;

async fn status(server: &Server, at: &str) -> Result<u16, String> {
    let answer = caller::http(server.http(), get("/name", at)).await;
    answer
        .map(|answer| answer.status)
        .map_err(|error| error.to_string())
}

async fn comes_to(server: &Server, at: &str, wanted: u16) {
    let look = async || match status(server, at).await {
        Ok(status) if status == wanted => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until(&format!("{at} is answered with {wanted}"), SOON, look).await;
}

#[tokio::test]
async fn an_http_port_opens_and_closes() {
    let server = Server::start(&[]).await;
    let node = Node::join("live-http", &server).await;
    let web = Web::start("web").await;
    let at = node.at(web.port());
    assert_eq!(status(&server, &at).await, Ok(403));
    server.key("http-proxy-ports", &format!("9100,\n {}\n", web.port()));
    comes_to(&server, &at, 200).await;
    // A connection that is open is held to the key as well.
    let mut kept = caller::Session::new(server.http()).await.unwrap();
    assert_eq!(kept.ask(get("/name", &at)).await.unwrap().status, 200);
    server.key("http-proxy-ports", "9100");
    comes_to(&server, &at, 403).await;
    assert_eq!(kept.ask(get("/name", &at)).await.unwrap().status, 403);
    std::fs::remove_file(server.config_dir().join("http-proxy-ports")).unwrap();
    comes_to(&server, &node.at(9100), 403).await;
}

#[tokio::test]
async fn an_https_port_opens_and_closes_its_own_listener() {
    let server = Server::start(&[]).await;
    let node = Node::join("live-https", &server).await;
    let service = Service::tls(([127, 0, 0, 1], 0).into(), node.name()).await;
    let root = service.certificate().unwrap();
    let listener = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    TcpStream::connect(listener)
        .await
        .expect_err("nothing listens yet");
    server.key(
        "https-proxy-ports",
        &format!("{}={}", service.port(), listener.port()),
    );
    let opens = async || {
        let opened = caller::sni(listener, node.name(), root).await;
        opened.map_err(|error| error.to_string())
    };
    let (mut io, _) = until("the listener is there", SOON, opens).await;
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();

    // Moved, and then closed: what is open stays open.
    let moved = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    server.key(
        "https-proxy-ports",
        &format!("{}={}", service.port(), moved.port()),
    );
    let opens = async || {
        let opened = caller::sni(moved, node.name(), root).await;
        opened.map(drop).map_err(|error| error.to_string())
    };
    until("the listener has moved", SOON, opens).await;
    server.key("https-proxy-ports", "");
    for closed in [listener, moved] {
        let closes = async || match TcpStream::connect(closed).await {
            Err(_) => Ok(()),
            Ok(_) => Err("it listens".to_owned()),
        };
        until("the listener is gone", SOON, closes).await;
    }
    caller::echo(&mut io, "still here").await.unwrap();
}

#[tokio::test]
async fn an_https_port_whose_listener_is_taken_is_its_own_problem_alone() {
    let server = Server::start(&[]).await;
    let node = Node::join("live-taken", &server).await;
    let service = Service::tls(([127, 0, 0, 1], 0).into(), node.name()).await;
    let root = service.certificate().unwrap();
    let (taken, free) = (ports::free(), ports::free());
    let holder = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let other = ports::free();
    server.key(
        "https-proxy-ports",
        &format!("{other}={taken}, {}={free}", service.port()),
    );
    let listener = SocketAddr::from(([127, 0, 0, 1], free));
    let opens = async || {
        let opened = caller::sni(listener, node.name(), root).await;
        opened.map(drop).map_err(|error| error.to_string())
    };
    until("the good one is there", SOON, opens).await;
    let counted = async |state: &str| {
        let label = format!("state=\"{state}\"");
        server
            .metrics()
            .await
            .sum("ingress_port_listeners", &[&label])
    };
    assert!((counted("failed").await - 1.0).abs() < 0.1);
    let page = metrics::page(server.admin(), "/").await.unwrap().text();
    let shown = format!("port {other}: cannot listen on 127.0.0.1:{taken} (https-proxy-ports)");
    assert!(page.contains(&shown), "{page}");
    drop(holder);
    let comes = async || match counted("failed").await {
        failed if failed < 0.5 => Ok(()),
        failed => Err(failed.to_string()),
    };
    until("the other is tried again", SOON, comes).await;
}

/// The kubelet's way with a mounted ConfigMap (kubernetes `pkg/volume/util/atomic_writer.go`).
fn mount(dir: &Path, generation: &str, key: &str, text: &str) {
    let folder = dir.join(generation);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(key), text).unwrap();
    symlink(generation, dir.join("..data_tmp")).unwrap();
    std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    let link = dir.join(key);
    if !link.exists() {
        symlink(Path::new("..data").join(key), link).unwrap();
    }
}

#[tokio::test]
async fn a_mounted_configmap_is_followed_through_its_swaps() {
    let server = Server::start(&[]).await;
    let node = Node::join("live-mount", &server).await;
    let web = Web::start("web").await;
    let at = node.at(web.port());
    let dir = server.config_dir();
    mount(&dir, "..2026_01_01", "http-proxy-ports", "9100");
    assert_eq!(status(&server, &at).await, Ok(403));
    mount(
        &dir,
        "..2026_01_02",
        "http-proxy-ports",
        &web.port().to_string(),
    );
    std::fs::remove_dir_all(dir.join("..2026_01_01")).unwrap();
    comes_to(&server, &at, 200).await;
    mount(&dir, "..2026_01_03", "http-proxy-ports", "9100");
    std::fs::remove_dir_all(dir.join("..2026_01_02")).unwrap();
    comes_to(&server, &at, 403).await;
}

#[tokio::test]
async fn bad_entries_are_skipped_counted_and_shown() {
    let server = Server::start(&[]).await;
    let node = Node::join("live-bad", &server).await;
    let web = Web::start("web").await;
    let at = node.at(web.port());
    server.key(
        "http-proxy-ports",
        &format!("ninety, {}, 70000", web.port()),
    );
    server.key("nodes", "live-bad 192.0.2.1\nUPPER 192.0.2.2\n");
    comes_to(&server, &at, 200).await;
    let counted = async || {
        let metrics = server.metrics().await;
        let bad = |key: &str| metrics.sum("config_bad_entries", &[&format!("key=\"{key}\"")]);
        let counted = (bad("http-proxy-ports"), bad("nodes"), bad("callers"));
        if counted == (2.0, 1.0, 0.0) {
            Ok(())
        } else {
            Err(format!("{counted:?}"))
        }
    };
    until("the bad entries are counted", SOON, counted).await;
    let page = metrics::page(server.admin(), "/").await.unwrap().text();
    for word in ["ninety", "70000", "UPPER"] {
        assert!(
            page.contains(word),
            "{word} is not on the status page: {page}"
        );
    }
    server.key("http-proxy-ports", &web.port().to_string());
    server.key("nodes", "live-bad 192.0.2.1\n");
    let settled = async || match server.metrics().await.sum("config_bad_entries", &[]) {
        bad if bad < 0.5 => Ok(()),
        bad => Err(bad.to_string()),
    };
    until("they are mended", SOON, settled).await;
}

#[tokio::test]
async fn the_older_pairs_open_ports_on_both_ways_in() {
    let server = Server::start(&[]).await;
    let node = Node::join("live-dnat", &server).await;
    let web = Web::start("web").await;
    let at = node.at(web.port());
    let service = Service::tls(([127, 0, 0, 1], ports::free()).into(), node.name()).await;
    let (http, tls) = (server.http().port(), server.tls().port());
    // A node port of its own: without `=listen` in https-proxy-ports the listener has the node port's number, which the
    // service has here.
    server.key("https-proxy-ports", "");
    server.key(
        "dnat-ports-pair",
        &format!("{}={http}, {}={tls}, 9000=1", web.port(), service.port()),
    );
    comes_to(&server, &at, 200).await;
    let answer = caller::http(server.http(), get("/", &node.at(service.port())))
        .await
        .unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("TLS"), "{}", answer.text());
    let bad = server
        .metrics()
        .await
        .sum("config_bad_entries", &["key=\"dnat-ports-pair\""]);
    assert!((bad - 1.0).abs() < 0.1, "{bad}");
}

#[tokio::test]
async fn a_nodes_address_leads_to_it_as_its_line_says() {
    let server = Server::start(&[]).await;
    let node = Node::join("live-nodes", &server).await;
    // No address of this machine, and the agent says so: the question has come to it.
    let address = "192.0.2.10:9100";
    let refused = async || {
        caller::uds(&server.uds(), address)
            .await
            .map(drop)
            .unwrap_err()
    };
    let unknown = refused().await;
    assert_eq!(unknown.status, 503, "{unknown:?}");
    server.key("nodes", "live-nodes 192.0.2.10 zone=shop\n");
    let says = async |status: u16, words: &str| {
        let look = async || match refused().await {
            refused if refused.status == status && refused.phrase.contains(words) => Ok(()),
            refused => Err(format!("{refused:?}")),
        };
        until(words, SOON, look).await;
    };
    says(403, "no address of node live-nodes itself").await;
    server.key("nodes", "live-nodes 192.0.2.10\nother 192.0.2.10\n");
    says(503, "other").await;
    drop(node);
}
