use std::time::SystemTime;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::identity::{Apart, Identity, Pin, VerifyError};

use super::*;

fn place(transport: Transport, tcp: Option<Result<(), Kind>>) -> Place {
    Place {
        transport,
        port: 10262,
        believes: Believes::Token,
        tcp,
    }
}

#[test]
fn the_words_of_a_verification_tell_its_kind() {
    let apart = || Box::new(Apart::new(SystemTime::UNIX_EPOCH, &Clock::system()));
    let expired = VerifyError::ServerLate {
        holder: Identity::Server,
        apart: apart(),
    };
    let early = VerifyError::ServerEarly {
        holder: Identity::Server,
        apart: apart(),
    };
    let foreign = VerifyError::Read(edge_tunnel_proto::identity::ReadError::Foreign {
        uri: "spiffe://other/server".to_owned(),
        trust_domain: "edge-tunnel".to_owned(),
    });
    let pinned = VerifyError::NotPinned {
        pin: Pin::of_key(b"any"),
    };
    let untrusted = VerifyError::Untrusted {
        reason: "UnknownIssuer".to_owned(),
        trusted: "some".to_owned(),
    };
    for (error, kind) in [
        (expired, Kind::ClockAhead),
        (early, Kind::ClockBehind),
        (foreign, Kind::TrustDomain),
        (pinned, Kind::Stranger),
        (untrusted, Kind::Stranger),
    ] {
        assert_eq!(Kind::of_words(&error.to_string()), kind, "{error}");
    }
}

#[test]
fn udp_is_asked_for_only_where_tcp_passes() {
    let advice = |tcp| Kind::Silence.remedy(&place(Transport::Quic, tcp));
    let blocked = advice(Some(Ok(())));
    assert!(
        blocked.contains("let UDP port 10262 out") && blocked.contains("TLS is used"),
        "{blocked}"
    );
    let neither = advice(Some(Err(Kind::Refused)));
    assert!(
        neither.contains("TCP first") && !neither.contains("UDP port"),
        "{neither}"
    );
    let alone = advice(None);
    assert!(!alone.contains("TLS is used"), "{alone}");
}

#[test]
fn every_kind_of_failure_of_the_connection_is_known() {
    for (kind, expected) in [
        (ErrorKind::ConnectionRefused, Kind::Refused),
        (ErrorKind::ConnectionReset, Kind::HungUp),
        (ErrorKind::UnexpectedEof, Kind::HungUp),
        (ErrorKind::NetworkUnreachable, Kind::NoRoute),
        (ErrorKind::TimedOut, Kind::Silence),
    ] {
        let error = HandshakeError::Io(kind.into());
        assert_eq!(Kind::of_handshake(&error), expected, "{kind:?}");
    }
    for (alert, expected) in [
        (112, Kind::CallersPort),
        (120, Kind::OtherService),
        (50, Kind::Garbled),
        (48, Kind::Broken),
    ] {
        let error = HandshakeError::Alert(alert);
        assert_eq!(Kind::of_handshake(&error), expected, "{alert}");
    }
    let hung_up = Kind::HungUp.remedy(&place(Transport::Tls, Some(Ok(()))));
    assert!(hung_up.contains("--agents-proxy-protocol"), "{hung_up}");
}

#[test]
fn an_error_that_says_what_to_do_is_left_its_word() {
    let Outcome::Failed(advice) = its_own(&"it is cut; copy it again, whole", "make another")
    else {
        panic!("passed");
    };
    assert_eq!(
        (advice.what.as_str(), advice.remedy.as_str()),
        ("it is cut", "copy it again, whole")
    );
    let Outcome::Failed(advice) = its_own(&"it is cut", "make another") else {
        panic!("passed");
    };
    assert_eq!(advice.remedy, "make another");
}
