//! The programs as they are installed: exit codes, and one line that says what is wrong.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::net::TcpListener;
use std::path::PathBuf;

use edge_tunnel_tests::process::{self, Built, Process, bound};
use edge_tunnel_tests::server::Server;

async fn server_fails(place: &Built, more: &[&str], words: &[&str]) {
    fails(&place.server, &place.server_line(more), words).await;
}

/// The program ends at once, not with 0, and its last line has all of `words`.
async fn fails(program: &PathBuf, line: &[impl AsRef<OsStr> + Debug], words: &[&str]) {
    let output = process::run(program, line).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code().is_some_and(|code| code != 0),
        "{line:?}: {:?} {said}",
        output.status
    );
    for word in words {
        assert!(said.contains(word), "{line:?}: {word:?} is not in {said}");
    }
    let own = said
        .lines()
        .filter(|line| line.starts_with("edge-tunnel-"))
        .count();
    assert!(own <= 1, "more than one line says what is wrong: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn sigterm_ends_both_with_exit_code_0() {
    let Some(place) = Built::found() else {
        return;
    };
    let mut server = place.start_server(&[]);
    let started = server.says("server starts").await;
    let agents = bound(&started, "agents").to_string();
    let state = place.path("server");
    let token = process::run(
        &place.server,
        &["token", "create", "--node", "binary", "--state-dir", &state],
    )
    .await;
    assert!(token.status.success(), "{token:?}");
    let token_file = place.path("token");
    std::fs::write(&token_file, token.stdout).unwrap();
    let agent_state = place.path("agent");
    let mut words = vec![
        "run",
        "--server",
        &agents,
        "--node-name",
        "binary",
        "--token-file",
        &token_file,
    ];
    words.extend(["--state-dir", &agent_state, "--admin-listen", "127.0.0.1:0"]);
    let mut agent = Process::start(&place.agent, &words);
    agent.says("connected").await;
    server.says("session started").await;
    let nodes = process::run(&place.server, &["nodes", "--state-dir", &state]).await;
    assert!(
        String::from_utf8_lossy(&nodes.stdout).contains("binary"),
        "{nodes:?}"
    );
    assert_eq!(agent.terminate().await, Some(0));
    assert_eq!(server.terminate().await, Some(0));
}

/// The agent, enrolling by a token on standard input, which the shell takes from `stdin`.
fn enrols_from(stdin: &str, place: &Built, server: &str) -> Process {
    let state = place.path("agent");
    let script = format!("exec \"$0\" \"$@\" {stdin}");
    let program = place.agent.display().to_string();
    let line = [
        "-c",
        &script,
        &program,
        "run",
        "--server",
        server,
        "--node-name",
        "piped",
        "--token-file",
        "-",
        "--state-dir",
        &state,
        "--admin-listen",
        "127.0.0.1:0",
    ];
    Process::start(&PathBuf::from("sh"), &line)
}

#[tokio::test]
async fn a_token_on_standard_input_is_good_until_the_server_comes() {
    let Some(place) = Built::found() else {
        return;
    };
    let mut server = Server::start(&[]).await;
    let token = server.token("piped").await;
    server.stop().await;
    let stdin = format!("< '{}'", token.display());
    let mut agent = enrols_from(&stdin, &place, &server.agents().to_string());
    agent.says("no server could be reached").await;
    agent.says("no server could be reached").await;
    server.start_again().await;
    agent.says("enrolled").await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn an_agent_that_waits_for_its_token_can_be_stopped() {
    let Some(place) = Built::found() else {
        return;
    };
    let fifo = place.path("fifo");
    let made = process::run(&PathBuf::from("mkfifo"), &[&fifo]).await;
    assert!(made.status.success(), "{made:?}");
    // Open at both ends, so that it neither says anything nor ends.
    let mut agent = enrols_from(&format!("0<> '{fifo}'"), &place, "127.0.0.1:1");
    agent.says("on standard input").await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_one_line_and_a_failure() {
    let Some(place) = Built::found() else {
        return;
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    for flag in [
        "--agents-listen",
        "--tls-listen",
        "--http-listen",
        "--connect-listen",
        "--admin-listen",
    ] {
        server_fails(&place, &[flag, &at], &[&at, flag]).await;
    }
    let state = place.path("agent");
    let line = [
        "run",
        "--server",
        "127.0.0.1:1",
        "--state-dir",
        &state,
        "--admin-listen",
        &at,
    ];
    fails(&place.agent, &line, &[&at, "--admin-listen"]).await;
}

#[tokio::test]
async fn a_state_folder_that_is_none_is_one_line_and_a_failure() {
    let Some(place) = Built::found() else {
        return;
    };
    let file = place.path("a-file");
    std::fs::write(&file, "not a folder").unwrap();
    server_fails(&place, &["--state-dir", &file], &[&file]).await;
    server_fails(&place, &["--config-dir", &file], &[&file, "--config-dir"]).await;
    let line = [
        "run",
        "--server",
        "127.0.0.1:1",
        "--state-dir",
        &file,
        "--admin-listen",
        "127.0.0.1:0",
    ];
    fails(&place.agent, &line, &[&file, "--state-dir"]).await;
}

#[tokio::test]
async fn two_servers_do_not_share_a_state_folder() {
    let Some(place) = Built::found() else {
        return;
    };
    let mut first = place.start_server(&[]);
    first.says("server starts").await;
    server_fails(&place, &[], &["another edge-tunnel-server", "--state-dir"]).await;
    assert_eq!(first.terminate().await, Some(0));
}

#[tokio::test]
async fn flags_that_make_no_sense_are_told_with_their_names() {
    let Some(place) = Built::found() else {
        return;
    };
    server_fails(
        &place,
        &["--http-listen", "everywhere"],
        &["--http-listen", "everywhere"],
    )
    .await;
    server_fails(&place, &["--dial-timeout", "0s"], &["--dial-timeout"]).await;
    server_fails(&place, &["--no-such-flag"], &["--no-such-flag"]).await;
    fails(&place.agent, &["run"], &["--server"]).await;
    fails(&place.agent, &["run", "--server", "nowhere"], &["nowhere"]).await;
    // A secret in the process list is refused, with what to do instead.
    let line = ["run", "--server", "127.0.0.1:1", "--token", "et1.x"];
    fails(&place.agent, &line, &["--token-file", "process list"]).await;
}

#[tokio::test]
async fn commands_without_a_server_say_so() {
    let Some(place) = Built::found() else {
        return;
    };
    let state = place.path("nobody");
    for command in [
        vec!["nodes"],
        vec!["token", "create", "--node", "x"],
        vec!["ca", "show"],
    ] {
        let mut line = command;
        line.extend(["--state-dir", &state]);
        fails(&place.server, &line, &["no server answers", "--state-dir"]).await;
    }
}
