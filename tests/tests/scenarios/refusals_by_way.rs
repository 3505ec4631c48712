//! The same refusal on every way in: each says what failed, where, and what to do, in its own form.

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::{Service, Silent};
use edge_tunnel_tests::stranger::{Door, Rude, hello};
use edge_tunnel_tests::wait::{SOON, until};
use edge_tunnel_tests::{logs, ports};

/// A refusal that is the same whatever way one came.
struct Case {
    node: &'static str,
    /// The port over HTTP, and the one over TLS with its listener.
    http: u16,
    tls: (u16, u16),
    status: u16,
    alert: u8,
    reason: &'static str,
    words: Vec<&'static str>,
}

/// A key's text for the TLS ports.
fn listeners(cases: &[Case]) -> String {
    let entry = |case: &Case| format!("{}={}", case.tls.0, case.tls.1);
    cases.iter().map(entry).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_refusal_says_the_same_on_every_way_in() {
    let server = Server::start(&["--dial-timeout", "1s"]).await;
    let silent = [Silent::start().await, Silent::start().await];
    let denied = [Service::start().await, Service::start().await];
    let rules: Vec<String> = denied
        .iter()
        .map(|service| format!("loopback:{}", service.port()))
        .collect();
    let deny = ["--deny", &rules[0], "--deny", &rules[1]];
    let mut here = Node::new("by-way", &server.agents()).flags(&deny);
    here.enrol(&server).await;
    let mut away = Node::join("by-way-away", &server).await;
    away.stop().await;
    let mut revoked = Node::join("by-way-out", &server).await;
    revoked.stop().await;
    server.must(&["nodes", "revoke", "by-way-out"]).await;

    let case = |node, http, tls, status, alert, reason, words: &[&'static str]| Case {
        node,
        http,
        tls: (tls, ports::free()),
        status,
        alert,
        reason,
        words: words.to_vec(),
    };
    let free = ports::free;
    let cases = [
        case(
            "by-way-nobody",
            free(),
            free(),
            503,
            112,
            "unknown_node",
            &["node by-way-nobody is unknown", "token create --node"],
        ),
        case(
            "by-way-away",
            free(),
            free(),
            503,
            80,
            "not_connected",
            &[
                "node by-way-away is not connected",
                "it left",
                " ago, at 20",
                "(the agent left)",
                "it came from 127.0.0.1:",
                "agent's log",
            ],
        ),
        case(
            "by-way-out",
            free(),
            free(),
            503,
            80,
            "revoked",
            &["node by-way-out was revoked", " ago, at 20", "join token"],
        ),
        case(
            "by-way",
            free(),
            free(),
            502,
            80,
            "connection_refused",
            &["connection refused", "by-way"],
        ),
        case(
            "by-way",
            silent[0].port(),
            silent[1].port(),
            504,
            80,
            "timed_out",
            &["did not answer within 1", "by-way"],
        ),
        case(
            "by-way",
            denied[0].port(),
            denied[1].port(),
            403,
            49,
            "not_allowed",
            &["is denied on node by-way by its agent's rule"],
        ),
    ];
    let http: Vec<String> = cases.iter().map(|case| case.http.to_string()).collect();
    server.key("http-proxy-ports", &http.join(","));
    server.key("https-proxy-ports", &listeners(&cases));
    let open = async || {
        let metrics = server.metrics().await;
        let open = metrics.sum("ingress_port_listeners", &["state=\"listening\""]);
        (open > 5.5)
            .then_some(())
            .ok_or(format!("{open} listeners"))
    };
    until("the listeners are there", SOON, open).await;
    let client = server.issue_client("by-way", &[]).await;

    for case in &cases {
        let at = format!("{}:{}", case.node, case.http);
        let shown = format!("{at} {}", case.reason);
        let said = |way: &str, status: u16, text: &str| {
            assert_eq!(status, case.status, "{way} {shown}: {text}");
            for word in &case.words {
                assert!(text.contains(word), "{way} {shown}: {word:?} in {text:?}");
            }
            assert!(!text.contains(char::is_control), "{way} {shown}: {text:?}");
        };
        let refused = caller::uds(&server.uds(), &at).await.map(drop).unwrap_err();
        said("connect socket", refused.status, &refused.phrase);
        let refused = caller::mtls(server.connect(), &client, &at)
            .await
            .map(drop)
            .unwrap_err();
        said("connect", refused.status, &refused.phrase);
        let answer = caller::http(server.http(), get("/", &at)).await.unwrap();
        said("http", answer.status, answer.text().trim_end());

        let listener = Door::Tcp(([127, 0, 0, 1], case.tls.1).into());
        let heard = Rude::says(hello(case.node)).at(&listener).await.unwrap();
        assert_eq!(heard, [21, 3, 3, 0, 2, 2, case.alert], "tls {shown}");
        let at = format!("destination={}:{}", case.node, case.tls.0);
        let reason = format!("reason=\"{}\"", case.reason);
        let lines = logs::with(&["way=\"tls\"", &at, &reason]);
        assert_eq!(lines.len(), 1, "tls {shown}: {lines:?}");
        for word in &case.words {
            assert!(lines[0].contains(word), "tls {shown}: {}", lines[0]);
        }
    }
}

#[tokio::test]
async fn what_names_no_destination_is_told_so_and_what_names_one_leads_there() {
    let service = Service::start().await;
    let port = service.port();
    let server = Server::with_keys(&[("http-proxy-ports", &port.to_string())]).await;
    let node = Node::join("by-form", &server).await;
    let client = server
        .issue_client("by-form", &["--ports", &format!("22,{port}")])
        .await;
    let long = format!("{}:22", "x".repeat(300));
    let many = format!("{}:22", vec!["x".repeat(60); 5].join("."));
    for (target, status, words) in [
        ("by-form", 400, "\"by-form\" names no port: write name:port"),
        ("by-form:", 400, "names no port"),
        ("by-form:0", 400, "\"0\" is no port: use a number"),
        ("by-form:65536", 400, "\"65536\" is no port"),
        ("by-form:22x", 400, "\"22x\" is no port"),
        ("by-form:-1", 400, "\"-1\" is no port"),
        (":22", 400, "no destination is named"),
        ("[::1]", 400, "\"[::1]\" names no port"),
        ("[::1]:", 400, "names no port"),
        ("[::1]:0", 400, "is no port"),
        ("[::1]:22", 503, "[::1]:22 is no node"),
        ("[::1]22", 400, "is no host:port"),
        ("[::1", 400, "is no host:port"),
        ("::1:22", 400, "is no host:port"),
        ("[by-form]:22", 400, "is no host:port"),
        ("[fe80::1%25eth0]:22", 400, "is no host:port"),
        (
            "[::ffff:192.0.2.1]:22",
            503,
            "192.0.2.1:22: no node has this address",
        ),
        ("192.0.2.1:22", 503, "use the node's name"),
        ("192.0.2.1.:22", 400, "is no node name"),
        ("0x7f.1:22", 503, "node 0x7f.1 is unknown"),
        ("by_form:22", 400, "is no node name: use lower-case"),
        ("-by-form:22", 400, "is no node name"),
        ("by-form..:22", 400, "is no node name"),
        ("../state:22", 400, "is no node name"),
        ("user@by-form:22", 400, "is no node name"),
        ("xn--bcher-kva:22", 503, "node xn--bcher-kva is unknown"),
        ("http://by-form:22/", 400, "is no"),
        (&long, 400, "is no node name"),
        (&many, 400, "is no node name"),
    ] {
        for refused in [
            caller::uds(&server.uds(), target).await.map(drop),
            caller::mtls(server.connect(), &client, target)
                .await
                .map(drop),
        ] {
            let refused = refused.unwrap_err();
            // A certificate that is not for all nodes says so before the node is looked for.
            assert_eq!(refused.status, status, "{target}: {refused:?}");
            assert!(refused.phrase.contains(words), "{target}: {refused:?}");
        }
    }
    for raw in ["n\u{f6}de:22", "a b:22", "a\u{1b}[31m:22", "", "a\tb:22"] {
        let asks = format!("CONNECT {raw} HTTP/1.1\r\nHost: x\r\n\r\n");
        let heard = Rude::says(asks)
            .at(&Door::Unix(server.uds()))
            .await
            .unwrap();
        let heard = String::from_utf8(heard).unwrap();
        assert!(
            heard.starts_with("HTTP/1.1 400 not a request that can be served: "),
            "{raw:?}: {heard}"
        );
        let steers = |c: char| c.is_control() && c != '\r' && c != '\n';
        assert!(!heard.contains(steers), "{raw:?}: {heard:?}");
    }
    // A final dot and capitals are the same name.
    for target in [
        format!("by-form.:{port}"),
        format!("BY-Form:{port}"),
        node.at(port),
    ] {
        for io in [
            caller::uds(&server.uds(), &target).await.map(drop),
            caller::mtls(server.connect(), &client, &target)
                .await
                .map(drop),
        ] {
            io.unwrap_or_else(|refused| panic!("{target}: {refused:?}"));
        }
    }
}

#[tokio::test]
async fn http_destinations_that_are_none_and_two_that_disagree() {
    let web = edge_tunnel_tests::web::Web::start("web").await;
    let port = web.port();
    let server = Server::with_keys(&[("http-proxy-ports", &port.to_string())]).await;
    let node = Node::join("by-host", &server).await;
    let ask = async |asks: String| {
        let heard = Rude::says(asks)
            .at(&Door::Tcp(server.http()))
            .await
            .unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    };
    for (host, status, words) in [
        ("by-host:0", 400, "is no port"),
        ("by-host:", 400, "names no port"),
        ("by-host:99999", 400, "is no port"),
        ("[::1]:80", 503, "[::1]:80 is no node"),
        ("[::1]", 503, "[::1]:80 is no node"),
        ("::1", 400, "is no host:port"),
        ("by host", 400, "is no node name"),
        ("n\u{f6}de", 400, "no plain text"),
        ("", 400, "no destination is named"),
        ("user@by-host:80", 400, "is no node name"),
    ] {
        let asks = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let heard = ask(asks).await;
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {status} ")) && heard.contains(words),
            "{host:?}: {heard}"
        );
    }
    // What a proxy is asked for is what counts (RFC 9112, 3.2.2), and the node is told no other Host.
    let at = node.at(port);
    for host in ["somebody-else:1", "by-host:1", ""] {
        let asks =
            format!("GET http://{at}/head HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let heard = ask(asks).await;
        assert!(
            heard.starts_with("HTTP/1.1 200 ") && heard.contains(&format!("host: {at}\n")),
            "{host}: {heard}"
        );
    }
    let asks = format!("GET https://{at}/ HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    let heard = ask(asks).await;
    assert!(
        heard.starts_with("HTTP/1.1 400 ") && heard.contains("use CONNECT"),
        "{heard}"
    );
}

#[tokio::test]
async fn what_is_known_of_a_node_that_is_away_outlives_the_server() {
    let mut server = Server::start(&[]).await;
    let mut node = Node::join("long-gone", &server).await;
    let session = server.session("long-gone", |_| true).await.session.unwrap();
    let from = session.remote.to_string();
    node.stop().await;
    let left = async || {
        let node = server.node("long-gone").await.unwrap();
        match (node.last_seen, node.last_end) {
            (Some(seen), Some(end)) => Ok((seen, node.last_remote, end)),
            other => Err(format!("{other:?}")),
        }
    };
    let ((seen, remote, end), _) = until("it is away", SOON, left).await;
    assert_eq!(
        (remote, end.as_str()),
        (Some(session.remote), "the agent left")
    );
    server.stop().await;
    server.start_again().await;
    let again = server.node("long-gone").await.unwrap();
    assert_eq!((again.last_seen, again.last_remote), (Some(seen), remote));
    let table = server.must(&["nodes"]).await;
    let line = table
        .lines()
        .find(|line| line.starts_with("long-gone"))
        .unwrap();
    assert!(
        line.contains("away for ") && line.contains(&from) && line.ends_with("the agent left"),
        "{table}"
    );
    let refused = caller::uds(&server.uds(), "long-gone:22")
        .await
        .map(drop)
        .unwrap_err();
    for words in [
        "it has not come since this server started",
        "it left",
        "(the agent left)",
        &from,
        "agent's log",
    ] {
        assert!(refused.phrase.contains(words), "{words}: {refused:?}");
    }
    // What is forgotten, or damaged, is no reason not to start.
    server.stop().await;
    std::fs::write(server.state_dir().join("visits"), "{\"half").unwrap();
    server.start_again().await;
    let refused = caller::uds(&server.uds(), "long-gone:22")
        .await
        .map(drop)
        .unwrap_err();
    assert!(
        refused.phrase.contains("no session of it is known since"),
        "{refused:?}"
    );
}
