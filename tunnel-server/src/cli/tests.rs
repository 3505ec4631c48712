use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use clap::Parser as _;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::admin::control::TokenState;
use crate::admin::double::Double;
use crate::admin::socket::{AdminSocket, SocketError};
use crate::config::{Cli, Command};
use crate::identity::Step;

struct Server {
    folder: TempDir,
    control: Arc<Double>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let control = Arc::new(Double::default());
    let stop = CancellationToken::new();
    let socket = AdminSocket::bind(folder.path()).unwrap();
    let served = tokio::spawn(socket.serve(Arc::clone(&control), stop.clone()));
    Server {
        folder,
        control,
        stop,
        served,
    }
}

/// Types a command at the server whose state folder this is.
async fn type_in(state_dir: &Path, line: &str) -> Result<String, String> {
    Ok(answer_and_aside(state_dir, line).await?.0)
}

/// The same, with what is no part of the answer apart.
async fn answer_and_aside(state_dir: &Path, line: &str) -> Result<(String, String), String> {
    let mut words: Vec<&str> = std::iter::once("edge-tunnel-server")
        .chain(line.split(' '))
        .collect();
    let state_dir = state_dir.to_str().unwrap();
    words.extend(["--state-dir", state_dir]);
    let command = Cli::try_parse_from(words)
        .map_err(|error| error.to_string())?
        .command;
    let (mut out, mut aside) = (Vec::new(), Vec::new());
    let done = match command {
        Command::Token(command) => token(&command, &mut out, &mut aside).await,
        Command::Nodes(command) => nodes(&command, &mut out).await,
        Command::IssueClient(command) => issue_client(&command, &mut out).await,
        Command::Ca(command) => ca(&command, &mut out).await,
        other => return Err(format!("{other:?} is no question to a server")),
    };
    done.map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ok((text(out), text(aside)))
}

impl Server {
    async fn type_in(&self, line: &str) -> Result<String, String> {
        type_in(self.folder.path(), line).await
    }
}

#[tokio::test]
async fn nodes_are_listed_and_shut_out() {
    let server = server();
    let table = server.type_in("nodes").await.unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NODE    STATE"), "{table}");
    assert!(
        lines[1].contains("edge-1") && lines[1].contains("quic") && lines[1].contains("12.3 ms"),
        "{table}"
    );
    assert!(
        lines[2].contains("edge-2  away for") && lines[3].contains("edge-3  not seen yet"),
        "{table}"
    );
    assert!(
        lines[4].contains("edge-4  revoked ") && lines[4].contains(" ago  "),
        "{table}"
    );

    let json: serde_json::Value =
        serde_json::from_str(&server.type_in("nodes -o json").await.unwrap()).unwrap();
    assert_eq!(json[0]["session"]["since"], "2026-03-31T12:00:00Z");
    assert_eq!(json[0]["session"]["remote"], "203.0.113.9:40000");
    assert_eq!(json[1]["session"], serde_json::Value::Null);
    assert_eq!(json[2]["revoked"], serde_json::Value::Null);
    assert_eq!(json[3]["revoked"], "2026-03-31T12:00:00Z");

    let said = server.type_in("nodes revoke edge-1").await.unwrap();
    assert!(
        said.contains("its session was closed") && said.contains("token create --node edge-1"),
        "{said}"
    );
    assert_eq!(server.control.revoked.lock().len(), 1);
    assert_eq!(
        server.type_in("nodes revoke edge-9").await.unwrap_err(),
        "no node edge-9 is registered"
    );
}

#[tokio::test]
async fn a_token_is_made_listed_and_revoked() {
    let server = server();
    assert!(
        server
            .type_in("token list")
            .await
            .unwrap()
            .contains("there is no join token")
    );
    let token = server
        .type_in("token create --node edge-2 --ttl 2h")
        .await
        .unwrap();
    assert!(
        token.starts_with("et1.") && token.lines().count() == 1,
        "a token file is made by >: {token}"
    );
    server
        .type_in("token create --pattern shop-* --uses 500")
        .await
        .unwrap();
    // A warning is no part of the token's file.
    let line = "token create --node edge-1";
    let made = answer_and_aside(server.folder.path(), line).await.unwrap();
    assert!(
        made.0.starts_with("et1.") && made.0.lines().count() == 1,
        "{made:?}"
    );
    assert_eq!(made.1, "warning: edge-1 is registered\n");
    server
        .type_in("token create --node edge-1 --replace")
        .await
        .unwrap();

    let table = server.type_in("token list").await.unwrap();
    assert!(
        table.contains("shop-*") && table.contains("500") && table.contains("edge-1 (replaces)"),
        "{table}"
    );
    let used = TokenStatus {
        state: TokenState::Used,
        used_by: vec!["edge-7".parse().unwrap()],
        ..server.control.tokens.lock()[0].clone()
    };
    let table = table::tokens(&[used]);
    assert!(
        table.contains("used by edge-7") && table.trim_end().ends_with(" ago"),
        "{table}"
    );
    let id = server.control.tokens.lock()[0].id;
    assert!(
        server
            .type_in(&format!("token revoke {id}"))
            .await
            .unwrap()
            .contains("no longer")
    );
    assert_eq!(server.control.tokens.lock().len(), 3);
    assert!(
        server
            .type_in(&format!("token revoke {id}"))
            .await
            .unwrap_err()
            .contains("there is no token")
    );
}

#[tokio::test]
async fn a_clients_files_are_its_owners_and_never_overwrite() {
    let server = server();
    let out = server.folder.path().join("ops");
    let line = format!(
        "issue-client ops --nodes shop-* --ports 22,443 --out {}",
        out.display()
    );
    let said = server.type_in(&line).await.unwrap();
    assert!(
        said.contains("client.key") && said.contains("2026-03-31T12:00:00Z"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_to_string(out.join("client.crt")).unwrap(),
        "a certificate\n"
    );
    assert_eq!(
        std::fs::read_to_string(out.join("ca.crt")).unwrap(),
        "a CA\n"
    );
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&out.join("client.key")), mode(&out)), (0o600, 0o700));
    let wanted = server.control.issued.lock()[0].clone();
    assert_eq!((wanted.nodes.as_str(), wanted.ports.len()), ("shop-*", 2));

    let again = server.type_in(&line).await.unwrap_err();
    assert!(again.contains("exists already"), "{again}");
    assert_eq!(
        server.control.issued.lock().len(),
        1,
        "nothing is issued that cannot be kept"
    );
}

#[tokio::test]
async fn the_ca_is_shown_as_a_usable_file() {
    let server = server();
    let shown = server.type_in("ca show").await.unwrap();
    assert!(shown.starts_with("# CN=edge-tunnel CA: pin "), "{shown}");
    assert!(
        shown
            .lines()
            .all(|line| line.starts_with('#') || line.starts_with("-----")),
        "{shown}"
    );
    assert!(
        shown.contains("-----\n") && shown.contains("# next: "),
        "{shown}"
    );
}

#[tokio::test]
async fn no_step_is_taken_that_was_not_named() {
    let server = server();
    let shown = server.type_in("ca rotate").await.unwrap();
    assert!(
        shown.contains("steady\n") && shown.contains("next: `ca rotate introduce`"),
        "{shown}"
    );
    assert!(!shown.contains("-----"), "{shown}");
    assert_eq!(*server.control.steps.lock(), []);
    assert_eq!(
        server.type_in("ca rotate sign").await.unwrap_err(),
        "the disk is full"
    );
    server.type_in("ca rotate sign --now").await.unwrap();
    assert_eq!(
        *server.control.steps.lock(),
        [(Step::Sign, false), (Step::Sign, true)]
    );
    let without = server.type_in("ca rotate --now").await.unwrap_err();
    assert!(without.contains("STEP"), "{without}");
}

#[tokio::test]
async fn a_stopped_server_is_said_to_be_stopped() {
    let server = server();
    let path = server.folder.path().join("admin.sock");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    server.stop.cancel();
    server.served.await.unwrap();
    assert!(!path.exists(), "its file goes with it");
    let error = type_in(server.folder.path(), "nodes").await.unwrap_err();
    let folder = server.folder.path().display();
    assert!(
        error.contains(&format!("edge-tunnel-server run --state-dir {folder}")),
        "{error}"
    );

    // A server that was killed leaves its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(
        type_in(server.folder.path(), "nodes")
            .await
            .unwrap_err()
            .contains("no server answers")
    );
}

#[tokio::test]
async fn a_socket_is_taken_over_from_the_dead_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = AdminSocket::bind(folder.path()).expect("a stale file is replaced");
    assert!(matches!(
        AdminSocket::bind(folder.path()),
        Err(SocketError::InUse(_))
    ));

    // One that has lost its file to another does not remove the other's.
    std::fs::remove_file(&path).unwrap();
    let second = AdminSocket::bind(folder.path()).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());

    // What is no socket is somebody's file.
    std::fs::write(&path, "data").unwrap();
    let error = AdminSocket::bind(folder.path()).unwrap_err();
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
}

#[tokio::test]
async fn a_socket_that_cannot_be_made_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("x".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let words = AdminSocket::bind(&long).unwrap_err().to_string();
    assert!(
        words.contains("--state-dir of at most 88 bytes") && !words.contains("SUN_LEN"),
        "{words}"
    );
    let words = AdminSocket::bind(&folder.path().join("none"))
        .unwrap_err()
        .to_string();
    assert!(
        words.contains("none/admin.sock") && words.contains("--state-dir"),
        "{words}"
    );
    // The longest that it allows is one that the kernel takes.
    let base = folder.path().as_os_str().len() + 1;
    let fits = folder.path().join("x".repeat(88 - base));
    std::fs::create_dir(&fits).unwrap();
    AdminSocket::bind(&fits).unwrap();
}

#[tokio::test]
async fn nonsense_on_the_socket_is_answered_in_json() {
    let server = server();
    let client = Client::at(server.folder.path().join("admin.sock"));
    let ask = async |method, path, body: serde_json::Value| {
        client
            .ask::<serde_json::Value>(method, path, &body)
            .await
            .unwrap_err()
            .to_string()
    };
    let null = serde_json::Value::Null;
    assert!(
        ask("GET", "/v2/nodes", null.clone())
            .await
            .contains("knows no GET /v2/nodes")
    );
    assert!(
        ask("POST", "/v1/nodes/Edge_1/revoke", null.clone())
            .await
            .contains("is no node name")
    );
    assert!(
        ask("POST", "/v1/ca/rotate/sign?later", null.clone())
            .await
            .contains("only ?now is")
    );
    assert!(
        ask("POST", "/v1/tokens", null)
            .await
            .contains("not what is expected")
    );
    let huge = serde_json::Value::String("x".repeat(20_000));
    assert!(
        ask("POST", "/v1/tokens", huge)
            .await
            .contains("cannot be read")
    );
}
