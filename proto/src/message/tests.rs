use std::time::Duration;

use prost::Message as _;

use super::*;
use crate::id::{Port, RequestId, StreamId, Target, TargetHost};

fn request() -> OpenRequest {
    OpenRequest {
        id: StreamId(1),
        request_id: RequestId(2),
        caller: "kube".to_owned(),
        hops: 0,
        deadline: Some(Duration::from_secs(5)),
        target: Target {
            host: TargetHost::Loopback,
            port: Port::known(10250),
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of each message as version 1 writes them. They never change: agents live long.
#[test]
fn golden_bytes() {
    let one = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let hello = Hello {
        build: "b".to_owned(),
        version: 1,
        capabilities: vec!["c".to_owned()],
        instance: one.clone(),
        session: one,
        lane: 2,
    };
    let welcome = Welcome {
        replica: 7,
        build: "b".to_owned(),
        version: 1,
        capabilities: vec![],
    };
    let control = |kind: control::Kind| hex(&Control::from(kind).encode_to_vec());
    assert_eq!(
        control(control::Kind::Hello(hello)),
        "0a2e0a016210011a0163221000000000000000000000000000000001\
         2a10000000000000000000000000000000013002"
    );
    assert_eq!(
        control(control::Kind::Welcome(welcome)),
        "120e09070000000000000012016218 01".replace(' ', "")
    );
    assert_eq!(
        control(control::Kind::Ping(Ping {
            nonce: 5,
            rtt_micros: 300
        })),
        "1a0508051 0ac02".replace(' ', "")
    );
    assert_eq!(control(control::Kind::Pong(Pong { nonce: 5 })), "22020805");
    assert_eq!(control(control::Kind::Lanes(Lanes { want: 4 })), "2a020804");
    let go_away = GoAway::new(Code::Draining, "bye", Some(Duration::from_secs(1)));
    assert_eq!(
        control(control::Kind::GoAway(go_away)),
        "320a080a120362796518e807"
    );
    assert_eq!(
        control(control::Kind::Refused(Refused::new(Code::Unsupported, "x"))),
        "4a050801120178"
    );
    assert_eq!(
        hex(&Abort::new(Code::Reset, "r").encode_to_vec()),
        "080b120172"
    );
    assert_eq!(
        hex(&request().to_message().encode_to_vec()),
        "0a1000000000000000000000000000000001121000000000000000000000000000000002\
         1a046b756265288827820105088a501200"
    );
}

#[test]
fn an_open_survives_its_message() {
    for host in [
        TargetHost::Loopback,
        TargetHost::Node,
        TargetHost::Address("192.0.2.1".parse().unwrap()),
        TargetHost::Address("2001:db8::1".parse().unwrap()),
    ] {
        let mut request = request();
        request.target.host = host;
        assert_eq!(request.to_message().parse().unwrap(), Some(request));
    }
}

#[test]
fn an_open_that_makes_no_sense_is_refused_and_one_of_a_newer_version_is_recognised() {
    let change = |change: &dyn Fn(&mut Open)| {
        let mut open = request().to_message();
        change(&mut open);
        open.parse()
    };
    let tcp = |port, host| Some(open::Kind::Tcp(Tcp { port, host }));
    assert!(change(&|open| open.id.truncate(15)).is_err());
    assert!(change(&|open| open.request_id.clear()).is_err());
    assert!(change(&|open| open.caller = "x".repeat(257)).is_err());
    assert!(change(&|open| open.kind = tcp(0, Some(tcp::Host::Node(Empty {})))).is_err());
    assert!(change(&|open| open.kind = tcp(65536, Some(tcp::Host::Node(Empty {})))).is_err());
    assert!(change(&|open| open.kind = tcp(1, Some(tcp::Host::Address(vec![1; 5])))).is_err());
    assert_eq!(change(&|open| open.kind = None).unwrap(), None);
    assert_eq!(change(&|open| open.kind = tcp(1, None)).unwrap(), None);
}

#[test]
fn a_mapped_address_is_the_ipv4_address() {
    let mut open = request().to_message();
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
    open.kind = Some(open::Kind::Tcp(Tcp {
        port: 1,
        host: Some(tcp::Host::Address(mapped.to_vec())),
    }));
    let target = open.parse().unwrap().unwrap().target;
    assert_eq!(
        target.host,
        TargetHost::Address("127.0.0.1".parse().unwrap())
    );
}

#[test]
fn unknown_fields_and_kinds_are_skipped() {
    // Field 100 of `Control`, a message of one byte, which no version knows.
    let control = Control::decode(&[0xa2, 0x06, 0x01, 0x00][..]).unwrap();
    assert_eq!(control.kind, None);
    let mut bytes = Pong { nonce: 5 }.encode_to_vec();
    bytes.extend([0xa0, 0x06, 0x01]);
    assert_eq!(Pong::decode(&bytes[..]).unwrap(), Pong { nonce: 5 });
}

#[test]
fn texts_are_capped_between_characters() {
    assert_eq!(capped("aä", 2), "a");
    assert_eq!(
        Refused::new(Code::Internal, &"ä".repeat(2000))
            .message
            .len(),
        REASON_MAX
    );
}
