use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::*;

fn parse(line: &str) -> Result<Command, String> {
    let line = format!("edge-tunnel-server {line}");
    let words = line.split_whitespace().map(|word| word.trim_matches('\''));
    let parsed = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    Ok(parsed.command)
}

fn run(flags: &str) -> Result<RunConfig, String> {
    match parse(&format!("run {flags}"))? {
        Command::Run(config) => Ok(*config),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn the_definition_holds() {
    Cli::command().debug_assert();
    // The derive and the definition agree.
    let matches: ArgMatches = Cli::command().get_matches_from(["edge-tunnel-server", "dev"]);
    assert!(Cli::from_arg_matches(&matches).is_ok());
}

fn assert_twins(command: &clap::Command) {
    for flag in command.get_arguments() {
        let expected = match flag.get_long() {
            None | Some("help" | "version") => continue,
            Some("log-level") => "EDGE_TUNNEL_LOG".to_owned(),
            Some(other) => format!("EDGE_TUNNEL_{}", other.replace('-', "_").to_uppercase()),
        };
        let twin = flag.get_env().and_then(|twin| twin.to_str());
        assert_eq!(
            twin,
            Some(expected.as_str()),
            "{flag} of {}",
            command.get_name()
        );
        assert!(
            flag.get_help().is_some(),
            "{flag} of {} has no help",
            command.get_name()
        );
    }
    command.get_subcommands().for_each(assert_twins);
}

#[test]
fn every_flag_has_its_twin_in_the_environment_and_a_help_text() {
    assert_twins(&Cli::command());
}

#[test]
fn defaults_are_the_designs() {
    let config = run("").unwrap();
    let shown = [
        Listen(Some(config.agents_listen)),
        config.tls_listen,
        config.http_listen,
        config.connect_listen,
        config.admin_listen,
    ];
    let expected = [
        "0.0.0.0:10262",
        "0.0.0.0:10263",
        "127.0.0.1:10264",
        "0.0.0.0:10271",
        "127.0.0.1:10265",
    ];
    assert_eq!(shown.map(|listen| listen.to_string()), expected);
    assert_eq!(
        config.state_dir,
        PathBuf::from("/var/lib/edge-tunnel-server")
    );
    assert_eq!((config.connect_uds, config.config_dir), (None, None));
    assert!(config.http_allow_from.is_empty() && !config.agents_proxy_protocol);
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(config.renew_grace, days(90));
    let seconds =
        [config.drain_timeout, config.dial_timeout, config.heartbeat].map(|time| time.as_secs());
    assert_eq!(seconds, [30, 10, 25]);
    assert_eq!(config.trust_domain, TrustDomain::default());
}

#[test]
fn everything_said() {
    let config = run(
        "--agents-listen [::]:1 --tls-listen none --http-listen 0.0.0.0:2 --http-allow-from 10.0.0.0/8,192.0.2.0/24 \
         --connect-listen none --connect-uds /run/c.sock --admin-listen none --state-dir /s --config-dir /c \
         --agents-proxy-protocol --renew-grace 1d --drain-timeout 0s --dial-timeout 3s --buffer-memory 512MiB --heartbeat 5s \
         --trust-domain shop.example --log-format json --log-level warn",
    )
    .unwrap();
    assert_eq!((config.tls_listen.0, config.connect_listen.0), (None, None));
    assert_eq!(config.http_allow_from.len(), 2);
    assert!(config.agents_proxy_protocol);
    assert_eq!(config.drain_timeout, Duration::ZERO);
}

#[test]
fn what_is_refused_says_what_to_write() {
    let table = [
        ("", "Usage"),
        ("run --tls-listen 10263", "IP:PORT"),
        ("run --agents-listen none", "cannot be switched off"),
        ("run --agents-listen localhost:1", "IP:PORT, such as"),
        ("run --http-allow-from 10.0.0.0/33", "is no network"),
        ("run --http-allow-from 10.0.0.1", "single address as 192"),
        ("run --renew-grace 90", "with a unit"),
        ("run --dial-timeout 0s", "from 1s to 5m"),
        ("run --buffer-memory 15MiB", "from 16MiB to 1TiB"),
        ("run --buffer-memory much", "such as 512MiB or 2GiB"),
        ("token create", "--node"),
        ("token create --node a --pattern b", "cannot be used with"),
        ("token create --node a --uses 2", "cannot be used with"),
        ("token create --pattern a --replace", "cannot be used with"),
        ("token create --node A", "lower-case"),
        ("token create --pattern Shop_*", "no pattern"),
        ("token create --pattern a* --uses 5001", "5000"),
        ("issue-client ops --out x --nodes shop-*,A", "no pattern"),
        ("token create --node a --ttl 1s", "from 1m to 365d"),
        ("run --renew-grace 3651d", "from 0s to 3650d"),
        ("run --drain-timeout 61m", "from 0s to 1h"),
        ("token revoke", "<ID>"),
        ("nodes revoke", "<NAME>"),
        ("issue-client ops", "--out"),
        ("issue-client ../ops --out x", "client name"),
        ("issue-client ops --out x --ports 0", "from 1 to 65535"),
        ("ca", "rotate"),
        ("ca rotate drop", "finish"),
    ];
    for (line, expected) in table {
        let error = parse(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn commands_find_the_socket_in_the_state_folder_or_where_told() {
    let Command::Nodes(nodes) = parse("nodes --state-dir /s -o json").unwrap() else {
        panic!("not nodes")
    };
    assert_eq!(nodes.server.socket(), PathBuf::from("/s/admin.sock"));
    assert_eq!(nodes.server.output, Output::Json);
    let Command::Ca(CaCommand::Show(server)) = parse("ca show --admin-socket /run/a.sock").unwrap()
    else {
        panic!("not ca show")
    };
    assert_eq!(server.socket(), PathBuf::from("/run/a.sock"));
}

#[test]
fn what_the_design_says_a_person_types() {
    for line in [
        "dev",
        "dev --keep /tmp/x",
        "token create --node edge-1",
        "token create --node edge-1 --ttl 1h --replace",
        "token create --pattern 'shop-*' --uses 500",
        "token list",
        "token revoke 0123456789abcdef",
        "nodes",
        "nodes revoke edge-1",
        "issue-client ops --nodes 'shop-*' --ports 22,443 --out ops",
        "ca show",
        "ca rotate",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
    }
}
