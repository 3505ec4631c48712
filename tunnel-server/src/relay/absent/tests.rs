use std::time::{Duration, UNIX_EPOCH};

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::id::RegistrationId;
use edge_tunnel_proto::identity::TrustDomain;

use super::*;
use crate::identity::{Identity, RENEW_GRACE, Settings};

fn second(number: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_200_000_000 + number)
}

fn node() -> NodeName {
    "edge-1".parse().unwrap()
}

/// A registration of second 0, revoked at once where that is wanted.
fn registration(revoked: bool) -> Option<Registration> {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::open(Settings {
        state_dir: folder.path().to_owned(),
        trust_domain: TrustDomain::default(),
        clock: Clock::fixed(second(0)),
        renew_grace: RENEW_GRACE,
        operator_ca: None,
    });
    let identity = identity.unwrap();
    let registrations = identity.registrations();
    registrations
        .register(&node(), RegistrationId(1), None, second(0))
        .unwrap();
    if revoked {
        registrations.revoke(&node()).unwrap();
    }
    registrations.get(&node())
}

fn said(registration: Option<Registration>, last: Option<Visit>) -> (String, &'static str) {
    let known = Known {
        registration,
        last,
        started: second(10),
        now: second(70),
    };
    let refusal = known.refusal(&node());
    (refusal.message, refusal.reason)
}

fn visit() -> Visit {
    Visit::begun(second(20), "192.0.2.7:4711".parse().unwrap())
}

#[test]
fn each_absence_says_since_when_why_from_where_and_what_to_do() {
    let ended = || visit().ended(second(65), "the agent left");
    let known = |last| said(registration(false), last);
    let tail = format!("; {LOOK}");
    let head = "node edge-1 is not connected: ";
    for (last, words) in [
        (
            Some(ended()),
            "it left 5s ago, at 2039-09-18T23:07:45Z (the agent left); it came from 192.0.2.7:4711",
        ),
        (
            Some(visit()),
            "its agent, at 192.0.2.7:4711, is shutting down and takes no more connections",
        ),
        (
            Some(ended().of_an_earlier_start()),
            "it has not come since this server started 1m00s ago; it left 5s ago, at 2039-09-18T23:07:45Z (the agent left), \
             and came from 192.0.2.7:4711",
        ),
        (
            Some(visit().of_an_earlier_start()),
            "it has not come since this server started 1m00s ago; its last session began 50s ago, at 2039-09-18T23:07:00Z, \
             from 192.0.2.7:4711",
        ),
        (
            None,
            "it enrolled 1m10s ago, at 2039-09-18T23:06:40Z, and no session of it is known since",
        ),
    ] {
        assert_eq!(
            known(last),
            (format!("{head}{words}{tail}"), "not_connected")
        );
    }
    let (words, reason) = said(registration(true), Some(ended()));
    assert_eq!(reason, "revoked");
    assert!(
        words.starts_with("node edge-1 was revoked 1m10s ago, at 2039-09-18T23:06:40Z; to let"),
        "{words}"
    );
    let (words, reason) = said(None, None);
    assert_eq!(reason, "unknown_node");
    assert!(
        words.contains("no node of this name has enrolled here")
            && words.ends_with("`edge-tunnel-server token create --node edge-1`"),
        "{words}"
    );
}
