//! What the admin socket and the admin pages are told that makes no sense: an answer that says so, and nothing changed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::stranger::{Door, Rude};
use edge_tunnel_tests::wait::{SOON, within};

async fn ask(door: &Door, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut asks = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    asks.extend_from_slice(body);
    let rude = Rude::says(asks);
    let heard = within("an answer", SOON, rude.at(door)).await.unwrap();
    let heard = String::from_utf8_lossy(&heard).into_owned();
    let status = heard
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    (status, heard)
}

fn below(folder: &Path) -> BTreeSet<(PathBuf, Option<Vec<u8>>)> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Written in its own time, as nodes come and go.
        if path.ends_with("visits") || path.to_string_lossy().contains(".tmp-") {
            continue;
        }
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.insert((path.clone(), fs::read(path).ok()));
    }
    found
}

#[tokio::test]
async fn what_makes_no_sense_on_the_admin_socket_is_told_so_and_changes_nothing() {
    let server = Server::start(&[]).await;
    let node = Node::join("admin-input", &server).await;
    let door = Door::Unix(server.state_dir().join("admin.sock"));
    let before = below(&server.state_dir());
    let new = |subject: &str| format!("{{\"subject\":{subject},\"ttl\":3600}}");
    let named = |name: &str| {
        new(&format!(
            "{{\"node\":{{\"name\":{name:?},\"replace\":true}}}}"
        ))
    };
    let deep = "[".repeat(10_000);
    let long = format!("\"{}\"", "x".repeat(10_000));
    let tokens: Vec<(u16, Vec<u8>)> = vec![
        (400, Vec::new()),
        (400, b"{".to_vec()),
        (400, b"\xff\xfe\0".to_vec()),
        (400, b"null".to_vec()),
        (400, deep.into()),
        (400, long.into()),
        (400, vec![b' '; 17 * 1024]),
        (400, vec![b'x'; 2_000_000]),
        (400, named("../../etc/passwd").into()),
        (400, named("..").into()),
        (400, named("a/b").into()),
        (400, named("a\0b").into()),
        (400, named("").into()),
        (400, new("{\"node\":{\"name\":\"a\"}}").into()),
        (400, new("{\"nobody\":{}}").into()),
        (400, new("{\"pattern\":{\"pattern\":\"*\",\"uses\":0}}").into()),
        (400, new("{\"pattern\":{\"pattern\":\"*\",\"uses\":-1}}").into()),
        (400, new("{\"pattern\":{\"pattern\":\"*\",\"uses\":99999999999}}").into()),
        (400, new("{\"pattern\":{\"pattern\":\"../*\",\"uses\":1}}").into()),
        (400, b"{\"subject\":{\"node\":{\"name\":\"a\",\"replace\":false}},\"ttl\":0}".to_vec()),
        (400, b"{\"subject\":{\"node\":{\"name\":\"a\",\"replace\":false}},\"ttl\":18446744073709551615}".to_vec()),
    ];
    for (wanted, body) in tokens {
        let (status, said) = ask(&door, "POST", "/v1/tokens", &body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        // What is closed with bytes unread is reset, which may overtake the answer.
        let may_be_lost = body.len() > 100_000 && status == 0;
        assert!(status == wanted || may_be_lost, "{shown}: {said}");
        assert!(
            status == 0 || said.contains("{\"error\":\""),
            "{shown}: {said}"
        );
    }
    for (method, path, wanted) in [
        ("POST", "/v1/nodes/../../etc/revoke", 404),
        ("POST", "/v1/nodes/..%2f..%2fca/revoke", 400),
        ("POST", "/v1/nodes/%00/revoke", 400),
        ("POST", "/v1/nodes//revoke", 400),
        ("POST", "/v1/nodes/nobody/revoke", 404),
        ("GET", "/v1/nodes/admin-input/revoke", 404),
        ("DELETE", "/v1/tokens/../ca", 404),
        ("DELETE", "/v1/tokens/..%2fca", 400),
        ("DELETE", "/v1/tokens/", 400),
        ("POST", "/v1/ca/rotate/backwards", 400),
        ("PUT", "/v1/tokens", 404),
        ("POST", "/", 404),
        ("POST", "/v2/tokens", 404),
        ("PATCH", "/v1/nodes", 404),
    ] {
        let (status, said) = ask(&door, method, path, b"").await;
        assert_eq!(status, wanted, "{method} {path}: {said}");
        assert!(said.contains("{\"error\":\""), "{method} {path}: {said}");
    }
    assert_eq!(below(&server.state_dir()), before);
    // A field that this version does not know is a later one's, and no reason to refuse.
    let body = b"{\"subject\":{\"node\":{\"name\":\"later\",\"replace\":false,\"x\":1}},\"ttl\":60,\"y\":[]}";
    let (status, said) = ask(&door, "POST", "/v1/tokens", body).await;
    assert_eq!(status, 200, "{said}");
    assert!(server.node(node.name()).await.unwrap().session.is_some());
}

#[tokio::test]
async fn many_commands_at_once_are_each_answered() {
    let server = Server::start(&[]).await;
    let mut asked = tokio::task::JoinSet::new();
    let door = Door::Unix(server.state_dir().join("admin.sock"));
    for number in 0..40 {
        let door = door.clone();
        asked.spawn(async move {
            let subject = format!("{{\"node\":{{\"name\":\"n{number}\",\"replace\":false}}}}");
            let body = format!("{{\"subject\":{subject},\"ttl\":60}}");
            ask(&door, "POST", "/v1/tokens", body.as_bytes()).await.0
        });
    }
    assert_eq!(asked.join_all().await, [200; 40]);
    let said = server.must(&["token", "list"]).await;
    assert_eq!(said.lines().count(), 41, "{said}");
}

#[tokio::test]
async fn the_pages_take_nothing_whoever_asks() {
    let server = Server::start(&[]).await;
    let node = Node::join("admin-pages", &server).await;
    let before = below(&server.state_dir());
    for door in [Door::Tcp(server.admin()), Door::Tcp(node.admin())] {
        for method in [
            "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT",
        ] {
            let (status, said) = ask(&door, method, "/metrics", b"x").await;
            assert!(matches!(status, 400 | 405), "{method}: {said}");
            // A page in a browser of this machine learns nothing of them either.
            assert!(
                !said.to_ascii_lowercase().contains("access-control-"),
                "{said}"
            );
        }
        for path in [
            "/v1/nodes",
            "/v1/ca",
            "/v1/tokens",
            "/../state/ca",
            "//",
            "/%2e%2e/ca",
        ] {
            let (status, said) = ask(&door, "GET", path, b"").await;
            assert_eq!(status, 404, "{path}: {said}");
        }
    }
    assert_eq!(below(&server.state_dir()), before);
}

#[tokio::test]
async fn a_certificate_is_written_over_nothing_that_is_there() {
    let server = Server::start(&[]).await;
    let precious = server.spare("precious");
    fs::write(&precious, "precious").unwrap();
    let out = |name: &str| server.spare(name);
    for (name, file) in [("a", "client.crt"), ("b", "client.key"), ("c", "ca.crt")] {
        for link in [false, true] {
            let folder = out(&format!("{name}-{link}"));
            fs::create_dir(&folder).unwrap();
            let path = folder.join(file);
            if link {
                symlink(&precious, &path).unwrap();
            } else {
                fs::write(&path, "precious").unwrap();
            }
            let out = folder.display().to_string();
            let error = server
                .command(&["issue-client", "me", "--out", &out])
                .await
                .unwrap_err();
            assert!(
                error.contains(&path.display().to_string()) && error.contains("exists already"),
                "{error}"
            );
            assert_eq!(fs::read(&path).unwrap(), b"precious");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{folder:?}");
        }
    }
    // Where nothing can be written, nothing is issued.
    let file = precious.display().to_string();
    let error = server
        .command(&["issue-client", "me", "--out", &file])
        .await
        .unwrap_err();
    assert!(error.contains(&file), "{error}");
    for name in ["..", "a/b", "", "a b", "unix-socket\n"] {
        let out = out("never").display().to_string();
        let said = server
            .command(&["issue-client", name, "--out", &out])
            .await
            .unwrap_err();
        assert!(!Path::new(&out).exists(), "{said}");
    }
}
