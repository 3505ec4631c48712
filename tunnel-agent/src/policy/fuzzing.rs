//! The policy file, and what the rules in it make of a target.

use edge_tunnel_proto::id::{Port, Target, TargetHost};
use edge_tunnel_proto::testing::{Decoder, round_trip, said};

use super::file::parse;
use super::rule::{PortSet, Rule, Scope};
use super::{Addresses, Rules};

pub(crate) const FILE: Decoder = Decoder {
    name: "policy-file",
    check: file,
    samples: || {
        let long = format!("allow {}:80", "x".repeat(2000));
        [
            "# our cameras\nallow 192.0.2.0/24:554   # rtsp\n\n  deny\tnode:22\nloopback-ports 9100\n",
            "allow [2001:db8::/32]:8000-8100\nallow loopback:*\ndeny [::ffff:192.0.2.0/120]:80,443\n",
            "deny 0.0.0.0/0:*\nallow 169.254.169.254:80\n",
            &long,
        ]
        .map(Vec::from)
        .into()
    },
};

pub(crate) const RULE: Decoder = Decoder {
    name: "policy-rule",
    check: |bytes| {
        round_trip::<Rule>(bytes);
        round_trip::<Scope>(bytes);
        round_trip::<PortSet>(bytes);
    },
    samples: || {
        [
            "node:*",
            "192.0.2.0/24:80,443",
            "[2001:db8::/32]:8000-8100",
            "[::ffff:192.0.2.0/120]:1-65535",
            "loopback",
            "1-2,3",
        ]
        .map(Vec::from)
        .into()
    },
};

fn file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let rules = match parse(&Rules::default(), &text) {
        Ok(rules) => rules,
        Err((line, error)) => {
            assert!((1..=text.lines().count()).contains(&line));
            return said(&error);
        }
    };
    let mut own = format!("loopback-ports {}\n", rules.loopback_ports);
    for (word, rule) in rules.allow.iter().map(|rule| ("allow", rule)) {
        own.push_str(&format!("{word} {rule}\n"));
    }
    for rule in &rules.deny {
        own.push_str(&format!("deny {rule}\n"));
    }
    assert_eq!(parse(&Rules::default(), &own), Ok(rules.clone()));
    let node = "edge-1".parse().expect("a node's name");
    for host in [
        TargetHost::Loopback,
        TargetHost::Node,
        TargetHost::Address([169, 254, 169, 254].into()),
        TargetHost::Address([192, 0, 2, 1].into()),
    ] {
        let port = Port::known(80);
        let target = Target { host, port };
        if let Err(denied) = rules.judge(&node, &Addresses::default(), &target) {
            said(&denied);
        }
    }
}
