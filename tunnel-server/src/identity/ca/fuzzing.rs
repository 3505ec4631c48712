//! The embedded CA's record, as a file holds it, in each phase of a rotation.

use std::time::{Duration, UNIX_EPOCH};

use edge_tunnel_proto::identity::TrustDomain;
use edge_tunnel_proto::testing::{Decoder, said};

use super::Step;
use super::record::Record;
use crate::identity::fuzzing::stored;
use crate::identity::store::{Version, encode};

pub(crate) const RECORD: Decoder = Decoder {
    name: "ca-file",
    check: |bytes| {
        if let Some((record, _)) = stored::<Record>(bytes) {
            match record.material() {
                Ok(material) => {
                    assert!(material.bundle.pins().any(|pin| pin == material.signer.pin));
                }
                Err(error) => said(&error),
            }
        }
    },
    samples,
};

fn samples() -> Vec<Vec<u8>> {
    let (domain, now) = (
        TrustDomain::default(),
        UNIX_EPOCH + Duration::from_secs(1_800_000_000),
    );
    let version: Version = serde_json::from_str("\"0123\"").expect("a text is a version");
    let bytes = |record: &Record| encode(record, &version).expect("it can be written");
    let mut record = Record::new(&domain, now).expect("a CA can be made");
    let mut all = vec![bytes(&record)];
    for step in [Step::Introduce, Step::Sign] {
        let next = record.step(step, &domain, now);
        record = next.expect("it is the next step");
        all.push(bytes(&record));
    }
    all
}
