//! Every decoder of this crate that a stranger, a peer or a file can reach, for the tests and for the fuzzer. Whoever
//! adds a decoder adds it here.

use prost::Message;

use crate::code::Code;
use crate::codec::{self, CodecError, Kind};
use crate::id::{
    Destination, Host, InstanceId, NODE_NAME_MAX, NodeName, Port, RequestId, StreamId, Target,
    TargetHost,
};
use crate::message::enroll::{
    EnrollRequest, EnrollResponse, Evidence, Issued, JoinToken, Outcome, Refusal, Renew,
    RenewRequest, RenewResponse,
};
use crate::message::{
    Abort, CALLER_MAX, Control, GoAway, Hello, Lanes, Open, OpenRequest, Ping, Pong, Refused,
    Welcome, control,
};
use crate::testing::{Decoder, round_trip, said};
use crate::{identity, mux, stream};

/// All of them.
pub const DECODERS: &[Decoder] = &[
    stream::fuzzing::FRAMES,
    stream::fuzzing::STREAM,
    mux::fuzzing::FRAMES,
    mux::fuzzing::CONNECTION,
    Decoder {
        name: "message-open",
        check: open,
        samples: opens,
    },
    Decoder {
        name: "message-control",
        check: control,
        samples: controls,
    },
    Decoder {
        name: "message-refused",
        check: |bytes| drop(message::<Refused>(Kind::Refused, bytes)),
        samples: || vec![Refused::new(Code::TimedOut, "no answer").encode_to_vec()],
    },
    Decoder {
        name: "message-abort",
        check: |bytes| drop(message::<Abort>(Kind::Abort, bytes)),
        samples: || vec![Abort::new(Code::Reset, "reset by the target").encode_to_vec()],
    },
    Decoder {
        name: "message-enroll",
        check: |bytes| drop(message::<EnrollRequest>(Kind::Enroll, bytes)),
        samples: enrolments,
    },
    Decoder {
        name: "message-enrolled",
        check: |bytes| drop(message::<EnrollResponse>(Kind::Enrolled, bytes)),
        samples: enrolled,
    },
    Decoder {
        name: "node-name",
        check: |bytes| {
            let name = round_trip::<NodeName>(bytes);
            assert!(name.is_none_or(|name| name.as_str().len() <= NODE_NAME_MAX));
        },
        samples: names,
    },
    Decoder {
        name: "host",
        check: |bytes| {
            round_trip::<Host>(bytes);
        },
        samples: names,
    },
    Decoder {
        name: "destination",
        check: |bytes| {
            round_trip::<Destination>(bytes);
        },
        samples: destinations,
    },
    Decoder {
        name: "port",
        check: |bytes| {
            round_trip::<Port>(bytes);
        },
        samples: || ["1", "80", "10250", "65535"].map(Vec::from).into(),
    },
    Decoder {
        name: "id",
        check: |bytes| {
            round_trip::<InstanceId>(bytes);
        },
        samples: || vec![InstanceId(7).to_string().into_bytes()],
    },
    identity::fuzzing::TOKEN,
    identity::fuzzing::TOKEN_ID,
    identity::fuzzing::PIN,
    identity::fuzzing::TRUST_DOMAIN,
    identity::fuzzing::CLIENT_NAME,
    identity::fuzzing::URI,
    identity::fuzzing::CERTIFICATE,
    identity::fuzzing::BUNDLE,
    identity::fuzzing::AUTHORITY,
];

/// Reads a message. What is read says no more than the bytes did, and survives its own bytes.
fn message<M: Message + Default + PartialEq + std::fmt::Debug>(
    kind: Kind,
    bytes: &[u8],
) -> Option<M> {
    match codec::message::<M>(kind, bytes) {
        Ok(message) => {
            let own = message.encode_to_vec();
            assert!(own.len() <= bytes.len(), "{message:?} has grown");
            assert!(
                codec::message::<M>(kind, &own).is_ok_and(|again| again == message),
                "{message:?} does not survive its bytes"
            );
            Some(message)
        }
        Err(error @ CodecError::Undecodable { .. }) => {
            said(&error);
            None
        }
        Err(error) => unreachable!("{error}"),
    }
}

fn open(bytes: &[u8]) {
    let Some(message) = message::<Open>(Kind::Open, bytes) else {
        return;
    };
    match message.parse() {
        Ok(Some(request)) => {
            assert!(request.caller.len() <= CALLER_MAX);
            assert_eq!(request.to_message().parse(), Ok(Some(request)));
        }
        Ok(None) => {}
        Err(error) => said(&error),
    }
}

fn control(bytes: &[u8]) {
    if let Some(Control {
        kind: Some(control::Kind::Hello(hello)),
    }) = message(Kind::Control, bytes)
        && let Err(error) = hello.parse()
    {
        said(&error);
    }
}

fn opens() -> Vec<Vec<u8>> {
    let open = |host| {
        let request = OpenRequest {
            id: StreamId(1),
            request_id: RequestId(2),
            caller: "prometheus".to_owned(),
            hops: 0,
            deadline: Some(std::time::Duration::from_secs(5)),
            target: Target {
                host,
                port: Port::known(10250),
            },
        };
        request.to_message().encode_to_vec()
    };
    vec![
        open(TargetHost::Loopback),
        open(TargetHost::Node),
        open(TargetHost::Address([192, 0, 2, 1].into())),
        open(TargetHost::Address(
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
        )),
    ]
}

fn controls() -> Vec<Vec<u8>> {
    let hello = Hello {
        build: "0.1.0".to_owned(),
        version: 1,
        capabilities: vec!["lanes".to_owned(), "more".to_owned()],
        instance: vec![1; 16],
        session: vec![2; 16],
        lane: 0,
    };
    let welcome = Welcome {
        replica: 7,
        build: "0.1.0".to_owned(),
        version: 1,
        capabilities: vec!["lanes".to_owned()],
    };
    let ping = Ping {
        nonce: 5,
        rtt_micros: 300,
    };
    let again = Some(std::time::Duration::from_secs(1));
    [
        control::Kind::Hello(hello),
        control::Kind::Welcome(welcome),
        control::Kind::Ping(ping),
        control::Kind::Pong(Pong { nonce: u64::MAX }),
        control::Kind::Lanes(Lanes { want: 4 }),
        control::Kind::GoAway(GoAway::new(Code::Draining, "bye", again)),
        control::Kind::Renew(RenewRequest {
            csr: vec![0x30; 60],
        }),
        control::Kind::Renewed(RenewResponse {
            outcome: Some(issued()),
        }),
        control::Kind::Refused(Refused::new(Code::Unsupported, "what?")),
    ]
    .map(|kind| Control::from(kind).encode_to_vec())
    .into()
}

fn enrolments() -> Vec<Vec<u8>> {
    let token = JoinToken {
        id: "0123456789abcdef".to_owned(),
        secret: vec![7; 20],
    };
    [Evidence::JoinToken(token), Evidence::Renew(Renew {})]
        .map(|evidence| {
            let request = EnrollRequest {
                evidence: Some(evidence),
                csr: vec![0x30; 80],
                node: "edge-1".to_owned(),
                version: "0.1.0".to_owned(),
                host: "edge-1.shop.example".to_owned(),
            };
            request.encode_to_vec()
        })
        .into()
}

fn issued() -> Outcome {
    Outcome::Issued(Issued {
        chain: vec![vec![0x30; 40]],
        bundle: vec![vec![0x30; 40], vec![0x30; 30]],
    })
}

fn enrolled() -> Vec<Vec<u8>> {
    let refusal = Refusal::new(Code::NotAllowed, "the token was used", None);
    [issued(), Outcome::Refusal(refusal)]
        .map(|outcome| {
            let response = EnrollResponse {
                outcome: Some(outcome),
            };
            response.encode_to_vec()
        })
        .into()
}

fn names() -> Vec<Vec<u8>> {
    let long = [&"a".repeat(63); 4].map(String::as_str).join(".");
    [
        "edge-1",
        "Edge-1.Shop.example.",
        "192.0.2.1",
        "[2001:db8::1]",
        "::ffff:192.0.2.1",
        &long[..NODE_NAME_MAX],
    ]
    .map(Vec::from)
    .into()
}

fn destinations() -> Vec<Vec<u8>> {
    ["edge-1:10250", "192.0.2.1:80", "[2001:db8::1]:65535"]
        .map(Vec::from)
        .into()
}

#[cfg(test)]
mod tests {
    use crate::testing::{promises_are_kept, samples_pass};

    use super::*;

    #[test]
    fn every_decoder_keeps_its_promises_under_a_million_inputs() {
        promises_are_kept(DECODERS);
    }

    #[test]
    fn every_decoder_has_a_name_of_its_own_and_samples_that_pass() {
        samples_pass(DECODERS);
    }
}
