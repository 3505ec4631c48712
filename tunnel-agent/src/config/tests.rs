use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    Cli::parse_from(line.split_whitespace()).map_err(|error| error.to_string())
}

fn run(flags: &str) -> Result<Config, String> {
    match parse(&format!("edge-tunnel-agent run {flags}"))?.command {
        Command::Run(config) => Ok(*config),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn the_definition_holds() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_has_its_twin_in_the_environment_and_a_help_text() {
    for command in Cli::command().get_subcommands() {
        for flag in command
            .get_arguments()
            .filter(|flag| flag.get_long().is_some())
        {
            let long = flag.get_long().unwrap();
            let expected = match long {
                "help" | "version" => continue,
                "log-level" => "EDGE_TUNNEL_LOG".to_owned(),
                other => format!("EDGE_TUNNEL_{}", other.replace('-', "_").to_uppercase()),
            };
            let twin = flag.get_env().and_then(|twin| twin.to_str());
            assert_eq!(
                twin,
                Some(expected.as_str()),
                "--{long} of {}",
                command.get_name()
            );
            assert!(
                flag.is_hide_set() || flag.get_help().is_some(),
                "--{long} has no help"
            );
        }
    }
}

#[test]
fn only_the_policy_stands_under_its_heading() {
    let command = Cli::command();
    let run = command.find_subcommand("run").unwrap();
    let headed = run
        .get_arguments()
        .filter(|flag| flag.get_help_heading().is_some());
    let headed: Vec<_> = headed.filter_map(|flag| flag.get_long()).collect();
    assert_eq!(headed, ["loopback-ports", "allow", "deny", "policy-file"]);
}

#[test]
fn defaults() {
    let config = run("--server lb.example:10262").unwrap();
    assert_eq!(
        config.uplink.state_dir,
        PathBuf::from("/var/lib/edge-tunnel-agent")
    );
    assert_eq!(config.uplink.admin_listen.to_string(), "127.0.0.1:10266");
    assert_eq!(config.heartbeat, Duration::from_secs(25));
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.uplink.trust_domain, TrustDomain::default());
    assert_eq!(config.log_format, LogFormat::Human);
    assert_eq!(config.log_level.to_string(), "info");
    assert_eq!(config.policy.rules(), Rules::default());
    assert_eq!(
        (config.node_name.clone(), config.node_ip, config.token()),
        (None, None, None)
    );
}

#[test]
fn everything_said() {
    let config = run(
        "--server quic://a:1,b:2 --server tls://[::1]:3 --node-name edge-1 --token-file - --node-ip 192.0.2.1 \
         --loopback-ports 9100 --allow node:80 --allow 192.0.2.0/24:80,443 --deny node:22 --policy-file /p \
         --state-dir /s --admin-listen 127.0.0.1:0 --heartbeat 5s --log-format json --log-level debug \
         --trust-domain shop.example --drain-timeout 1m",
    )
    .unwrap();
    let servers: Vec<_> = config
        .uplink
        .server
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(servers, ["quic://a:1", "b:2", "tls://[::1]:3"]);
    assert_eq!(config.token(), Some(TokenSource::Stdin));
    let rules = config.policy.rules();
    assert_eq!((rules.allow.len(), rules.deny.len()), (2, 1));
    assert_eq!(rules.allow[1].to_string(), "192.0.2.0/24:80,443");
    assert_eq!(rules.loopback_ports.to_string(), "9100");
    assert_eq!(config.drain_timeout, Duration::from_secs(60));
}

#[test]
fn a_token_as_an_argument_is_refused_with_the_reason_and_not_repeated() {
    let error = run("--server a:1 --token et1.secret").unwrap_err();
    assert!(error.contains("process list"), "{error}");
    assert!(error.contains("--token-file"), "{error}");
    assert!(!error.contains("et1.secret"), "{error}");
}

#[test]
fn what_is_refused_says_what_to_write() {
    let table = [
        ("", "--server"),
        ("--server lb.example", "name:port"),
        ("--server http://lb.example:80", "quic://, tls://"),
        ("--server a:1 --heartbeat 0s", "from 1s to 10m"),
        ("--server a:1 --heartbeat 25", "with a unit"),
        ("--server a:1 --log-level loud", "debug or trace"),
        ("--server a:1 --log-format xml", "human or json"),
        ("--server a:1 --allow 192.0.2.1", "SCOPE:PORTS"),
        ("--server a:1 --deny edge:22", "loopback"),
        ("--server a:1 --node-name Edge_1", "lower-case"),
        ("--server a:1 --node-ip edge-1", "IP"),
    ];
    for (flags, expected) in table {
        let error = run(flags).unwrap_err();
        assert!(error.contains(expected), "{flags}: {error}");
    }
}

#[test]
fn check_takes_the_flags_of_run() {
    let names = |command: &str| {
        let all = Cli::command();
        let command = all.find_subcommand(command).unwrap();
        let flags = command.get_arguments().filter_map(|flag| flag.get_long());
        flags.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names("check"), names("run"));
    let line = "edge-tunnel-agent check --server lb:10262 --node-name edge-3 --heartbeat 60s --allow loopback:9100";
    let Command::Check(check) = parse(line).unwrap().command else {
        panic!("not check");
    };
    assert_eq!(check.node_name.unwrap().as_str(), "edge-3");
    let error = parse("edge-tunnel-agent check --server lb:10262 --node-name BAD_NAME");
    assert!(error.unwrap_err().contains("lower-case"));
    let error = parse("edge-tunnel-agent check --server lb:10262 --token x").unwrap_err();
    assert!(error.contains("process list"), "{error}");
}

#[test]
fn the_servers_are_told_or_in_a_folder() {
    let both = run("--server a:1 --endpoints-dir /etc/e").unwrap();
    assert_eq!(both.uplink.endpoints().known().len(), 1);
    let folder = run("--endpoints-dir /etc/e").unwrap();
    assert_eq!(folder.uplink.endpoints_dir, Some(PathBuf::from("/etc/e")));
    assert!(folder.uplink.endpoints().known().is_empty());
    assert!(run("").unwrap_err().contains("--server"));
}

#[test]
fn prepare_wants_to_know_whose_the_folder_is() {
    let line = "edge-tunnel-agent prepare --state-dir /s --owner 65532";
    let Command::Prepare(prepare) = parse(line).unwrap().command else {
        panic!("not prepare");
    };
    assert_eq!(
        (prepare.state_dir, prepare.owner),
        (PathBuf::from("/s"), 65_532)
    );
    for (flags, words) in [
        ("", "--owner"),
        ("--owner nobody", "nobody"),
        ("--owner -1", "-1"),
    ] {
        let error = parse(&format!("edge-tunnel-agent prepare {flags}")).unwrap_err();
        assert!(error.contains(words), "{flags}: {error}");
    }
}

#[test]
fn the_admin_port_may_be_switched_off() {
    let listen =
        |flags: &str| run(&format!("--server a:1 {flags}")).map(|run| run.uplink.admin_listen);
    assert_eq!(listen("--admin-listen none"), Ok(Listen(None)));
    let error = listen("--admin-listen off").unwrap_err();
    assert!(
        error.contains("or none") && error.contains("--admin-listen"),
        "{error}"
    );
}
