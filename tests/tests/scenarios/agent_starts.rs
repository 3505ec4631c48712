//! The agent as it is installed: what it refuses at its start, what it says, and what `check` says of the same.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use edge_tunnel_tests::caller;
use edge_tunnel_tests::process::{self, Built, Process};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, within};

/// A command line of the agent with a state folder of this place, that dials `server`.
fn line(place: &Built, command: &str, server: &str, more: &[&str]) -> Vec<String> {
    let state = place.path("state");
    let own = [
        ("--server", server),
        ("--state-dir", &state),
        ("--admin-listen", "127.0.0.1:0"),
    ];
    process::line(command, &own, more)
}

fn start(place: &Built, server: &str, more: &[&str]) -> Process {
    Process::start(&place.agent, &line(place, "run", server, more))
}

/// What an agent says that ends by itself, and whether it ended well.
async fn says(place: &Built, command: &str, server: &str, more: &[&str]) -> (bool, String) {
    let output = process::run(&place.agent, &line(place, command, server, more)).await;
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Where nothing listens.
const CLOSED: &str = "127.0.0.1:1";

/// Shaped as a join token is, and one that no server has made.
const TOKEN: &str = "et1.0123456789abcdef.c2VjcmV0c2VjcmV0c2VjcmV0c2Vj.cGlucGlucGlucGlucGlucGlucGlucGlucGlucGlucGk.01234567";

#[tokio::test]
async fn a_token_in_the_place_of_its_files_name_is_refused_and_written_nowhere() {
    let Some(place) = Built::found() else {
        return;
    };
    for command in ["run", "check"] {
        let (passed, said) = says(&place, command, CLOSED, &["--token-file", TOKEN]).await;
        assert!(!passed && said.contains("process list"), "{said}");
        assert!(!said.contains("c2VjcmV0"), "the secret is shown: {said}");

        let line = line(&place, command, CLOSED, &[]);
        let mut told = process::command(&place.agent, &line);
        told.env("EDGE_TUNNEL_TOKEN_FILE", TOKEN);
        let output = within("the agent ends", SOON, told.output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(
            said.contains("EDGE_TUNNEL_TOKEN_FILE holds a join token"),
            "{said}"
        );
        assert!(!said.contains("c2VjcmV0"), "the secret is shown: {said}");
    }
}

#[tokio::test]
async fn two_agents_do_not_share_a_state_folder_and_check_knows_the_first() {
    let Some(place) = Built::found() else {
        return;
    };
    let mut first = start(&place, CLOSED, &["--admin-listen", "none"]);
    first.says("agent starts").await;
    let (passed, said) = says(&place, "run", CLOSED, &[]).await;
    assert!(
        !passed
            && said.contains("another edge-tunnel-agent runs on")
            && said.contains("--state-dir"),
        "{said}"
    );
    let (_, said) = says(&place, "check", "tls://127.0.0.1:1", &[]).await;
    assert!(said.contains("an agent runs on it now"), "{said}");
    assert_eq!(first.terminate().await, Some(0));
}

#[tokio::test]
async fn an_agent_takes_the_state_folder_over_while_the_one_before_it_drains() {
    let Some(place) = Built::found() else {
        return;
    };
    let server = Server::start(&[]).await;
    let service = Service::start().await;
    let token = server.token("handed-over").await.display().to_string();
    let agents = server.agents().to_string();
    let flags = [
        "--token-file",
        &token,
        "--allow",
        "loopback:*",
        "--drain-timeout",
        "30s",
    ];
    let mut old = start(&place, &agents, &flags);
    old.says("connected").await;
    let at = format!("handed-over:{}", service.port());
    let mut open = caller::uds(&server.uds(), &at).await.unwrap();
    caller::say(&mut open, "echo").await.unwrap();
    caller::echo(&mut open, "before").await.unwrap();
    old.signal("TERM").await;
    old.says("agent stops").await;
    let mut new = start(&place, &agents, &flags);
    new.says("connected").await;
    caller::echo(&mut open, "after").await.unwrap();
    drop(open);
    assert_eq!(old.terminate().await, Some(0));
    assert_eq!(new.terminate().await, Some(0));
}

#[tokio::test]
async fn a_port_that_is_closed_is_told_before_the_other_transport_has_given_up() {
    let Some(place) = Built::found() else {
        return;
    };
    let mut agent = start(
        &place,
        CLOSED,
        &["--token-file", &token_of(&place, &server_token().await)],
    );
    let first = agent.says("refused").await;
    assert!(first.contains("tls to"), "{first}");
    assert!(
        first.contains("other ways are still tried"),
        "it was told only with all the others: {first}"
    );
    assert_eq!(agent.terminate().await, Some(0));
}

async fn server_token() -> String {
    let server = Server::start(&[]).await;
    std::fs::read_to_string(server.token("lonely").await).unwrap()
}

fn token_of(place: &Built, text: &str) -> String {
    let file = place.path("token");
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test]
async fn a_start_says_the_nodes_name_only_where_it_is_known_and_what_is_wrong_with_its_folder() {
    let Some(place) = Built::found() else {
        return;
    };
    let state = place.dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut agent = start(&place, CLOSED, &["--node-ip", "192.0.2.9"]);
    let danger = agent.says("may write into").await;
    assert!(
        danger.contains("chmod 700") && danger.contains("ERROR"),
        "{danger}"
    );
    let strange = agent.says("192.0.2.9 (--node-ip)").await;
    assert!(strange.contains("WARN"), "{strange}");
    let started = agent.says("agent starts").await;
    assert!(!started.contains("node="), "{started}");
    assert_eq!(agent.terminate().await, Some(0));

    let mut agent = start(&place, CLOSED, &["--node-name", "edge-1"]);
    let started = agent.says("agent starts").await;
    assert!(started.contains("node=edge-1"), "{started}");
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_token_that_is_not_there_and_a_policy_that_is_not_are_named_with_their_flags() {
    let Some(place) = Built::found() else {
        return;
    };
    let lost = place.path("lost");
    let mut agent = start(&place, CLOSED, &["--token-file", &lost]);
    let said = agent.says(&lost).await;
    assert!(said.contains("(--token-file)"), "{said}");
    assert_eq!(agent.terminate().await, Some(0));
    let (passed, said) = says(&place, "run", CLOSED, &["--policy-file", &lost]).await;
    assert!(!passed && said.contains("(--policy-file)"), "{said}");
}

/// The agent's binary where everybody can run it.
fn for_everybody(place: &Built) -> PathBuf {
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let copy = place.dir.path().join("agent");
    std::fs::copy(&place.agent, &copy).unwrap();
    open(place.dir.path());
    open(&copy);
    copy
}

#[tokio::test]
async fn check_as_a_user_that_cannot_use_the_state_folder_fails_and_names_both() {
    let Some(place) = Built::found() else {
        return;
    };
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can run the agent as somebody else");
        return;
    }
    let server = Server::start(&[]).await;
    let token = server.token("private").await.display().to_string();
    let agents = format!("tls://{}", server.agents());
    let mut agent = start(&place, &agents, &["--token-file", &token]);
    agent.says("connected").await;
    assert_eq!(agent.terminate().await, Some(0));
    let (passed, said) = says(&place, "check", &agents, &[]).await;
    assert!(
        passed && said.contains("ok    enrolment: this is node private"),
        "{said}"
    );

    let line = line(&place, "check", &agents, &[]);
    let mut nobody = process::command(&for_everybody(&place), &line);
    nobody.uid(65_534).gid(65_534);
    let output = within("the check ends", SOON, nobody.output())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    let state = place.path("state");
    assert!(
        said.contains("FAIL  state folder: user nobody cannot use")
            && said.contains(&state)
            && said.contains("which belongs to root"),
        "{said}"
    );
    assert!(said.contains("skip  enrolment"), "{said}");
}
