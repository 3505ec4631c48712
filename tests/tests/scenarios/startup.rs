//! What keeps the programs from their start: each ends at once, not with 0, with one line that names what, where and
//! what to do, and leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory as _};
use edge_tunnel_tests::process::{self, Built, Process};
use edge_tunnel_tests::wait::{SOON, give_up, within};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Flags that take any text: what is wrong with it is seen when it is used.
const FREE: &[&str] = &[
    "admin-socket",
    "config-dir",
    "connect-uds",
    "endpoints-dir",
    "keep",
    "kubernetes",
    "out",
    "policy-file",
    "state-dir",
    "token",
    "token-file",
];

/// What is no value of any other flag.
const BAD: &str = "\u{b7}nonsense\u{b7}";

/// How a program that did not start ended: its exit code and what it said.
async fn ended(mut command: tokio::process::Command, what: &str) -> (i32, String) {
    let output = within(&format!("{what} ends"), SOON, command.output())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{what}: {said}");
    let code = output.status.code();
    (
        code.unwrap_or_else(|| give_up(format!("{what}: {output:?}"))),
        said,
    )
}

/// Every flag of a program that takes a value or may be set in the environment, with the words before it.
fn flags(command: &Command, words: &[String]) -> Vec<(Vec<String>, Arg)> {
    let own = command.get_arguments().filter(|flag| {
        let name = flag.get_long().unwrap_or_default();
        flag.get_long().is_some() && !FREE.contains(&name) && flag.get_env().is_some()
    });
    let mut all: Vec<_> = own.map(|flag| (words.to_vec(), flag.clone())).collect();
    for sub in command.get_subcommands() {
        let words = [words, &[sub.get_name().to_owned()]].concat();
        all.extend(flags(sub, &words));
    }
    all
}

#[tokio::test]
async fn a_value_that_is_none_is_told_with_its_flag_and_its_variable() {
    let Some(programs) = Built::found() else {
        return;
    };
    let server = edge_tunnel_server::config::Cli::command();
    let agent = edge_tunnel_agent::config::Cli::command();
    let mut seen = BTreeSet::new();
    for (program, command) in [(&programs.server, server), (&programs.agent, agent)] {
        for (words, flag) in flags(&command, &[]) {
            let name = format!("--{}", flag.get_long().unwrap());
            let twin = flag.get_env().unwrap().to_str().unwrap();
            let what = format!("{words:?} {name}");
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if flag.get_action().takes_values() {
                let mut line = process::command(program, &words);
                line.args([&name, BAD]);
                let (code, said) = ended(line, &what).await;
                assert_eq!(code, 2, "{what}: {said}");
                assert!(said.contains(&name) && said.contains(BAD), "{what}: {said}");
                assert!(!said.contains(twin), "{what}: {said}");
            }
            let mut line = process::command(program, &words);
            line.env(twin, BAD);
            let (code, said) = ended(line, &what).await;
            assert_eq!(code, 2, "{what}, {twin}: {said}");
            assert!(
                said.contains(&name)
                    && said.contains(&format!("that of {twin} in the environment")),
                "{what}, {twin}: {said}"
            );
            seen.insert(name);
        }
    }
    assert!(seen.len() >= 25, "{seen:?}");
}

fn agent_line(programs: &Built, more: &[&str]) -> Vec<String> {
    let state = programs.path("agent");
    let own = [
        ("--server", "127.0.0.1:1"),
        ("--node-name", "startup"),
        ("--admin-listen", "127.0.0.1:0"),
        ("--state-dir", state.as_str()),
    ];
    process::line("run", &own, more)
}

/// It does not start: exit code 1, and one line of its own with all of `words`.
async fn fails(program: &PathBuf, line: &[String], words: &[&str]) {
    let command = process::command(program, line);
    told(ended(command, &line.join(" ")).await, line, words);
}

fn told((code, said): (i32, String), line: &[String], words: &[&str]) {
    assert_eq!(code, 1, "{line:?}: {said}");
    let own: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("edge-tunnel-"))
        .collect();
    assert_eq!(own.len(), 1, "{line:?}: {said}");
    for word in words {
        assert!(own[0].contains(word), "{line:?}: {word:?} is not in {said}");
    }
}

/// All that is below a folder.
fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.insert(path);
    }
    found
}

#[tokio::test]
async fn what_a_server_cannot_have_it_names_and_it_leaves_nothing_behind() {
    let Some(programs) = Built::found() else {
        return;
    };
    // Once, for its state.
    let mut server = programs.start_server(&[]);
    server.says("server starts").await;
    assert_eq!(server.terminate().await, Some(0));
    let state = PathBuf::from(programs.path("server"));
    let before = below(programs.dir.path());
    assert!(!before.contains(&state.join("admin.sock")), "{before:?}");

    let (file, missing) = (programs.path("file"), programs.path("none/x.sock"));
    let long = programs.path(&"x".repeat(120));
    fs::write(&file, "precious").unwrap();
    let taken = programs.path("taken.sock");
    let _living = std::os::unix::net::UnixListener::bind(&taken).unwrap();
    let under_file = format!("{file}/state");
    let twice = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = twice.local_addr().unwrap().to_string();
    drop(twice);
    let before = below(programs.dir.path());
    for (more, words) in [
        (
            vec!["--connect-uds", &file],
            vec!["--connect-uds", &file, "no socket"],
        ),
        (
            vec!["--connect-uds", &missing],
            vec!["--connect-uds", &missing, "No such file"],
        ),
        (
            vec!["--connect-uds", &long],
            vec!["--connect-uds", "at most 107 bytes"],
        ),
        (
            vec!["--connect-uds", &taken],
            vec!["--connect-uds", &taken, "living process"],
        ),
        (
            vec!["--state-dir", &under_file],
            vec![&under_file, "--state-dir"],
        ),
        (
            vec!["--state-dir", "/proc/edge-tunnel"],
            vec!["/proc/edge-tunnel", "--state-dir"],
        ),
        (
            vec!["--config-dir", &missing],
            vec!["--config-dir", &missing],
        ),
        (vec!["--config-dir", &file], vec!["--config-dir", &file]),
        (
            vec!["--tls-listen", &port, "--http-listen", &port],
            vec![&port, "--http-listen", "another listener of this server"],
        ),
        (
            vec!["--agents-listen", "192.0.2.1:1"],
            vec!["192.0.2.1:1", "--agents-listen"],
        ),
        (
            vec!["--http-listen", "192.0.2.1:1"],
            vec!["192.0.2.1:1", "--http-listen"],
        ),
    ] {
        fails(&programs.server, &programs.server_line(&more), &words).await;
        assert_eq!(below(programs.dir.path()), before, "{more:?}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[tokio::test]
async fn a_state_that_is_no_state_is_told_by_its_file() {
    let Some(programs) = Built::found() else {
        return;
    };
    let line = programs.server_line(&[]);
    let mut server = Process::start(&programs.server, &line);
    server.says("server starts").await;
    assert_eq!(server.terminate().await, Some(0));
    let ca = PathBuf::from(programs.path("server/ca"));
    let whole = fs::read_to_string(&ca).unwrap();
    let path = ca.display().to_string();

    for damage in ["", "{", "[]", "\0\0\0", &whole[..whole.len() / 2]] {
        fs::write(&ca, damage).unwrap();
        fails(&programs.server, &line, &[&path, "damaged", "backup"]).await;
        assert_eq!(fs::read_to_string(&ca).unwrap(), damage, "it is left alone");
    }
    fs::remove_file(&ca).unwrap();
    fs::create_dir(&ca).unwrap();
    fails(&programs.server, &line, &[&path, "it is no file"]).await;
    fs::remove_dir(&ca).unwrap();
    mkfifo(&ca, Mode::S_IRWXU).unwrap();
    fails(&programs.server, &line, &[&path, "it is no file"]).await;
    fs::remove_file(&ca).unwrap();

    // What a later version has added is left alone, and a key that others can read is told.
    let later = whole.replacen('{', "{\"later\": {\"x\": [1]},", 1);
    fs::write(&ca, later).unwrap();
    fs::set_permissions(&ca, fs::Permissions::from_mode(0o644)).unwrap();
    let mut server = Process::start(&programs.server, &line);
    let told = server.says("can be read by other users").await;
    assert!(told.contains(&path) && told.contains("0600"), "{told}");
    server.says("server starts").await;
    assert_eq!(server.terminate().await, Some(0));
}

/// As on a disk without room: no file may get a byte.
fn on_a_full_disk(program: &Path, line: &[String]) -> tokio::process::Command {
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let program = program.display().to_string();
    let mut words = vec!["-c", script, &program];
    words.extend(line.iter().map(String::as_str));
    process::command(&"sh".into(), &words)
}

#[tokio::test]
async fn a_disk_without_room_is_told_by_both() {
    let Some(programs) = Built::found() else {
        return;
    };
    for (program, line) in [
        (&programs.server, programs.server_line(&[])),
        (&programs.agent, agent_line(&programs, &[])),
    ] {
        let command = on_a_full_disk(program, &line);
        let state = line.last().unwrap().clone();
        told(
            ended(command, "on a full disk").await,
            &line,
            &[&state, "cannot be", "state folder"],
        );
        let left = below(Path::new(&state));
        let temporary = |path: &&PathBuf| path.to_string_lossy().contains(".tmp-");
        assert_eq!(left.iter().filter(temporary).count(), 0, "{left:?}");
    }
}

#[tokio::test]
async fn what_an_agent_cannot_use_it_names() {
    let Some(programs) = Built::found() else {
        return;
    };
    let state = PathBuf::from(programs.path("agent"));
    fs::create_dir(&state).unwrap();
    for name in ["key.pem", "bundle.pem", "certificate.pem"] {
        for content in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            let path = state.join(name);
            fs::write(&path, content).unwrap();
            fails(
                &programs.agent,
                &agent_line(&programs, &[]),
                &[path.to_str().unwrap(), "cannot be used", "restore it"],
            )
            .await;
            fs::remove_file(&path).unwrap();
        }
        fs::create_dir(state.join(name)).unwrap();
        fails(
            &programs.agent,
            &agent_line(&programs, &[]),
            &[name, "it is no file"],
        )
        .await;
        fs::remove_dir(state.join(name)).unwrap();
    }
    let (file, missing, pipe) = (
        programs.path("policy"),
        programs.path("none/policy"),
        programs.path("pipe"),
    );
    fs::write(&file, "dney node:22\n").unwrap();
    mkfifo(Path::new(&pipe), Mode::S_IRWXU).unwrap();
    let folder = programs.path("");
    for (policy, words) in [
        (&file, "line 1"),
        (&missing, "No such file"),
        (&pipe, "it is no file"),
        (&folder, "it is no file"),
    ] {
        fails(
            &programs.agent,
            &agent_line(&programs, &["--policy-file", policy]),
            &["policy file", policy, words],
        )
        .await;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    fails(
        &programs.agent,
        &agent_line(&programs, &["--admin-listen", &at]),
        &[&at, "--admin-listen"],
    )
    .await;
    // A token's file is looked at when the agent needs it; a pipe must not keep it from being stopped.
    let line = agent_line(&programs, &["--token-file", &pipe]);
    let mut agent = Process::start(&programs.agent, &line);
    let told = agent.says("is no file").await;
    assert!(
        told.contains(&pipe) && told.contains("--token-file -"),
        "{told}"
    );
    assert_eq!(agent.terminate().await, Some(0));
}
