//! A token's record, as a file holds it.

use std::time::{Duration, UNIX_EPOCH};

use edge_tunnel_proto::id::RegistrationId;
use edge_tunnel_proto::identity::{Pin, SECRET_LEN, Secret};
use edge_tunnel_proto::testing::{Decoder, said};

use super::record::{Record, Redemption, Scope, hash};
use crate::identity::fuzzing::stored;
use crate::identity::store::{Version, encode};

pub(crate) const RECORD: Decoder = Decoder {
    name: "token-file",
    check,
    samples,
};

fn secret() -> Secret {
    Secret::from_bytes(&[7; SECRET_LEN]).expect("it is as long as a secret")
}

fn check(bytes: &[u8]) {
    let Some((record, _)) = stored::<Record>(bytes) else {
        return;
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    if let Err(error) = record.admit(&secret(), now) {
        said(&error);
    }
    if let Err(error) = record.one_use_left() {
        said(&error);
    }
    if let Err(error) = record.scope.node(None) {
        said(&error);
    }
}

fn samples() -> Vec<Vec<u8>> {
    let node = || "edge-1".parse().expect("a node's name");
    let redemption = |replaces| Redemption {
        node: node(),
        key: Pin::of_key(b"key"),
        registration: RegistrationId(7),
        replaces,
    };
    let one = Scope::Node {
        node: node(),
        replace: true,
    };
    let many = Scope::Pattern {
        pattern: "edge-*".parse().expect("a pattern"),
        uses: 3,
    };
    let version: Version = serde_json::from_str("\"0123\"").expect("a text is a version");
    [
        (one, None, vec![]),
        (
            many,
            Some(1_800_000_000_000),
            vec![redemption(None), redemption(Some(RegistrationId(6)))],
        ),
    ]
    .map(|(scope, revoked, redemptions)| {
        let record = Record {
            secret_sha256: hash(secret().expose()),
            scope,
            created: 1_700_000_000_000,
            expires: 1_900_000_000_000,
            revoked,
            redemptions,
        };
        encode(&record, &version).expect("it can be written")
    })
    .into()
}
