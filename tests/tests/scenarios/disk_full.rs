//! State folders on a disk that is full: what cannot be kept is said, nothing is half written or forgotten, and it is over
//! by itself when there is room.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::programs::{Cloud, Edge, Surroundings};
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};

/// Room for what either program keeps, in pages of 4 KiB.
const SIZE: &str = "256k";

/// Takes all the room that is left.
fn fill(state: &Path) -> PathBuf {
    let path = state.join("fill");
    let mut file = std::fs::File::create(&path).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    path
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path.display().to_string());
        }
    }
    all.sort();
    all
}

fn says_no_room(output: &Output, file: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    for words in [file, "No space left", "make room"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

async fn works(cloud: &Cloud, edge: &Edge, service: &Service) {
    let look = async || {
        let opened = caller::uds(&cloud.uds(), &edge.at(service.port())).await;
        let mut io = opened.map_err(|refused| format!("{refused:?}"))?;
        caller::say(&mut io, "echo")
            .await
            .map_err(|e| e.to_string())?;
        caller::echo(&mut io, "hello")
            .await
            .map_err(|e| e.to_string())
    };
    until("the node is reached", 3 * SOON, look).await;
}

#[tokio::test]
async fn a_server_whose_disk_is_full_says_so_and_forgets_nothing() {
    let Some(around) = Surroundings::disk(SIZE).await else {
        return;
    };
    let service = Service::start().await;
    let Some(mut cloud) = Cloud::start(&around, &[]).await else {
        return;
    };
    let (here, dial) = (Surroundings::default(), cloud.agents().to_string());
    let Some(first) = Edge::start("disk-first", &cloud, &dial, &here, &[]).await else {
        return;
    };
    first.ready().await;
    let state = cloud.state_dir();
    let made = cloud.command(&["token", "create", "--node", "kept"]).await;
    let id = String::from_utf8_lossy(&made.stdout);
    let id = id.split('.').nth(1).unwrap().to_owned();
    let token = cloud.token("disk-second").await;

    let full = fill(&state);
    let before = files(&state);
    says_no_room(
        &cloud.command(&["token", "create", "--node", "x"]).await,
        "tokens/",
    );
    says_no_room(
        &cloud.command(&["token", "revoke", &id]).await,
        &format!("tokens/{id}"),
    );
    says_no_room(
        &cloud.command(&["nodes", "revoke", "disk-first"]).await,
        "registrations/disk-first",
    );
    let introduced = cloud.command(&["ca", "rotate", "introduce"]).await;
    says_no_room(&introduced, "/ca");
    let mut second = Edge::with_token("disk-second", &token, &dial, &here, &[]).unwrap();
    second
        .daemon()
        .says(&["not connected", "its log says why"])
        .await;
    cloud
        .daemon()
        .says(&[
            "no certificate could be issued",
            "No space left",
            "make room",
        ])
        .await;
    assert_eq!(files(&state), before, "something is half written, or gone");
    // What was not done is not half done: the node was not revoked, and the token neither.
    works(&cloud, &first, &service).await;
    let list = cloud.command(&["token", "list"]).await;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains(&id), "{list}");

    std::fs::remove_file(full).unwrap();
    second.ready().await;
    works(&cloud, &second, &service).await;
    for words in [
        vec!["token", "create", "--node", "x"],
        vec!["token", "revoke", &id],
        vec!["nodes", "revoke", "disk-first"],
        vec!["ca", "rotate", "introduce"],
    ] {
        let output = cloud.command(&words).await;
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
}

#[tokio::test]
async fn an_agent_whose_disk_is_full_enrols_when_there_is_room() {
    let Some(around) = Surroundings::disk(SIZE).await else {
        return;
    };
    let service = Service::start().await;
    let here = Surroundings::default();
    let Some(mut cloud) = Cloud::start(&here, &[]).await else {
        return;
    };
    // Nobody answers at first, so that the disk can be filled before the agent enrols.
    let dial = cloud.agents().to_string();
    let token = cloud.token("disk-agent").await;
    cloud.kill().await;
    let Some(mut edge) = Edge::with_token("disk-agent", &token, &dial, &around, &[]) else {
        return;
    };
    edge.daemon().says(&["no server could be reached"]).await;
    let full = fill(&edge.state_dir());
    let before = files(&edge.state_dir());
    cloud.start_again().await;
    let words = [".pem", "No space left", "make room"];
    edge.daemon().says(&words).await;
    edge.daemon()
        .says(&["not connected", words[0], words[1], words[2]])
        .await;
    assert_eq!(
        files(&edge.state_dir()),
        before,
        "something is half written"
    );
    std::fs::remove_file(full).unwrap();
    edge.ready().await;
    works(&cloud, &edge, &service).await;
    // The same registration all along: the token was for one.
    let nodes = cloud.command(&["nodes"]).await;
    let nodes = String::from_utf8_lossy(&nodes.stdout).into_owned();
    assert_eq!(nodes.matches("disk-agent").count(), 1, "{nodes}");
}

#[tokio::test]
async fn a_start_on_a_full_disk_is_one_line_and_a_failure() {
    // Not even a page.
    let Some(around) = Surroundings::disk("4k").await else {
        return;
    };
    let around = around.then("head -c 4096 /dev/zero > \"$STATE/fill\"");
    let server = Cloud::fails(&around).await;
    let agent = Edge::fails(&around).await;
    for said in [server, agent].into_iter().flatten() {
        for words in ["No space left", "make room"] {
            assert!(said.contains(words), "{words:?} is not in {said}");
        }
    }
}
