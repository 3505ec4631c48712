use super::*;
use crate::ingress::answer;
use crate::ingress::shapes::HEADS;

#[tokio::test]
async fn connections_are_kept_and_used_again_on_both_sides() {
    let fake = node(|head, number| ok(&format!("{number} {}", head.lines().next().unwrap())));
    let http = server(fake.clone(), settings());
    let mut client = dial(&http);
    for path in ["/a", "/b"] {
        client
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: edge-1:9100\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let answer = read_until(&mut client, "HTTP/1.1").await;
        let answer = if answer == "HTTP/1.1" {
            read_until(&mut client, "HTTP/1.1").await
        } else {
            answer
        };
        assert!(
            answer.contains(" 200 OK\r\n") && answer.ends_with(&format!("0 GET {path} HTTP/1.1")),
            "{answer}"
        );
        while http.context.metrics.idle_node_connections.get() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(fake.destinations(), ["edge-1:9100"]);
    assert_eq!(http.context.metrics.requests(Way::Http, "opened"), 2);
    // Another target is another connection, to the same node or not.
    let other = ask(
        &http,
        "GET / HTTP/1.1\r\nHost: edge-1:80\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(other.contains("\r\n\r\n1 GET /"), "{other}");
}

#[tokio::test]
async fn the_node_sees_a_plain_request_of_its_own() {
    let http = server(node(|head, _| ok(head)), settings());
    let seen = ask(
        &http,
        "GET http://edge-1:9100/m?q=1 HTTP/1.1\r\nHost: other:1\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\
         X-Tunnel-Proxy-Host: edge-1\r\nX-Forwarded-For: 203.0.113.1\r\nAccept: a\r\n\r\n",
    )
    .await;
    let (_, seen) = seen.split_once("\r\n\r\n").unwrap();
    assert!(seen.starts_with("GET /m?q=1 HTTP/1.1\r\n"), "{seen}");
    for line in [
        "host: edge-1:9100",
        "accept: a",
        "x-forwarded-for: 203.0.113.1, 192.0.2.9",
        "x-forwarded-proto: http",
    ] {
        assert!(
            seen.contains(&format!("\r\n{line}\r\n")),
            "{line} is not in {seen}"
        );
    }
    for gone in ["x-hop", "x-tunnel", "connection"] {
        assert!(
            !seen.contains(&format!("\r\n{gone}")),
            "{gone} is in {seen}"
        );
    }
    let id = seen
        .split("x-request-id: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    assert!(
        id.parse::<edge_tunnel_proto::id::RequestId>().is_ok(),
        "{id}"
    );
}

#[tokio::test]
async fn an_address_leads_to_its_node() {
    let fake = node(|_, _| ok("x"));
    let http = server(fake.clone(), settings());
    let answer = ask(&http, "GET / HTTP/1.1\r\nHost: x\r\nX-Tunnel-Proxy-Dest: 198.51.100.1:9100\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(fake.destinations(), ["198.51.100.1:9100"]);
}

#[tokio::test]
async fn refusals_are_one_line_that_says_what_to_do() {
    let http = server(Fake::refusing(), settings());
    for (request, status, part) in [
        (
            "GET / HTTP/1.1\r\nHost: edge-1:22",
            "403 ",
            "add it to http-proxy-ports\n",
        ),
        ("GET / HTTP/1.1\r\nHost: edge-1:10250", "403 ", "over TLS"),
        (
            "GET / HTTP/1.1\r\nHost: 198.51.100.9:80",
            "503 ",
            "no node has this address",
        ),
        (
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:10264",
            "503 ",
            "say which is meant, as NODE:PORT",
        ),
        (
            "GET / HTTP/1.1\r\nHost: edge-1:80",
            "503 ",
            "node edge-1 is not connected",
        ),
        ("GET / HTTP/1.1\r\nHost: -", "400 ", "no node name"),
        (
            "GET https://edge-1/ HTTP/1.1\r\nHost: edge-1",
            "400 ",
            "use CONNECT",
        ),
        (
            "GET edge-1 HTTP/1.1\r\nHost: edge-1",
            "400 ",
            "\"edge-1\" is neither a path nor an http:// URL",
        ),
        (
            "CONNECT edge-1:80 HTTP/1.1\r\nHost: edge-1:80",
            "405 ",
            "--connect-listen",
        ),
    ] {
        let answer = ask(&http, &format!("{request}\r\nConnection: close\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
        assert!(
            body.contains(part) && body.ends_with('\n') && body.lines().count() == 1,
            "{request}: {answer}"
        );
        // Of a refusal many tools show nothing but this line.
        let line = head.lines().next().unwrap();
        assert!(
            line.ends_with(&answer::phrase(body.trim_end())),
            "{request}: {answer}"
        );
    }
    assert_eq!(http.context.metrics.requests(Way::Http, "port_not_open"), 2);
    assert_eq!(http.context.metrics.requests(Way::Http, "not_connected"), 1);
    assert_eq!(
        http.context.metrics.requests(Way::Http, "bad_destination"),
        3
    );
}

#[tokio::test]
async fn off_loopback_only_allowed_sources_are_served() {
    for (allow, status) in [
        (vec![], "403 "),
        (vec!["198.51.100.0/24"], "403 "),
        (vec!["192.0.2.0/24"], "200 "),
    ] {
        let networks = allow
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let http = server(
            node(|_, _| ok("x")),
            Settings::new("0.0.0.0:10264".parse().unwrap(), networks),
        );
        let answer = ask(
            &http,
            "GET / HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{allow:?}: {answer}"
        );
        assert_eq!(answer.contains("--http-allow-from"), status == "403 ");
    }
}

#[tokio::test]
async fn what_reads_two_ways_is_refused_and_nothing_behind_it_served() {
    let good = "GET /good HTTP/1.1\r\nHost: edge-1\r\n\r\n";
    for shape in HEADS {
        let fake = node(|head, _| ok(head.lines().next().unwrap()));
        let http = server(fake.clone(), settings());
        let bad = shape.replace("{}", "POST /bad");
        let answer = ask(&http, &format!("{bad}{good}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?}: {answer}");
        let (_, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            text.starts_with("not a request that can be served: ") && text.lines().count() == 1,
            "{bad:?}: {answer}"
        );
        assert_eq!(http.context.metrics.requests(Way::Http, "bad_request"), 1);
        assert!(fake.destinations().is_empty(), "{bad:?}");
        // Behind a good request, in the same bytes and in others.
        let answer = ask(&http, &format!("{good}{bad}{good}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 400 "),
            "{bad:?}: {answer}"
        );
        assert_eq!(answer.matches("200 OK").count(), 1, "{bad:?}: {answer}");
        let mut client = dial(&http);
        for byte in bad.bytes() {
            // It closes as soon as it knows.
            if client.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?}: {answer}");
        assert_eq!(fake.destinations().len(), 1, "{bad:?}");
    }
}

/// The first connection answers one request, then takes another and closes without a word.
fn flaky() -> Fake {
    node(
        |head, number| match (number, head.starts_with("GET /first")) {
            (0, false) => String::new(),
            _ => ok(&format!("from {number}")),
        },
    )
}

#[tokio::test]
async fn a_waiting_connection_that_died_costs_nothing_where_once_is_as_good_as_twice() {
    for (request, status, end) in [
        ("GET / HTTP/1.1\r\nHost: edge-1", "200", "from 1"),
        ("DELETE / HTTP/1.1\r\nHost: edge-1", "200", "from 1"),
        ("POST / HTTP/1.1\r\nHost: edge-1", "502", "\n"),
        (
            "PUT / HTTP/1.1\r\nHost: edge-1\r\nContent-Length: 1",
            "502",
            "\n",
        ),
    ] {
        let fake = flaky();
        let http = server(fake.clone(), settings());
        ask(
            &http,
            "GET /first HTTP/1.1\r\nHost: edge-1\r\nConnection: close\r\n\r\n",
        )
        .await;
        while http.context.metrics.idle_node_connections.get() == 0 {
            tokio::task::yield_now().await;
        }
        let answer = ask(&http, &format!("{request}\r\nConnection: close\r\n\r\nx")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(end),
            "{request}: {answer}"
        );
        assert_eq!(
            fake.destinations().len(),
            if status == "200" { 2 } else { 1 },
            "{request}"
        );
    }
}
