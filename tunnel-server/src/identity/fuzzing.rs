//! What agents ask for and what stands in the state folder.

use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::message::enroll::CSR_MAX;
use edge_tunnel_proto::testing::{Decoder, round_trip, said};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use super::ca::fuzzing::RECORD as CA_RECORD;
use super::csr;
use super::grant::{Grant, NodePattern, PortsGrant};
use super::registrations::Registration;
use super::store::{self, Version};
pub(crate) use super::tokens::fuzzing::RECORD as TOKEN_RECORD;

pub(crate) const CSR: Decoder = Decoder {
    name: "certificate-request",
    check: |bytes| match csr::read(bytes) {
        Ok(requester) => {
            assert!(bytes.len() <= CSR_MAX);
            assert!(csr::read(bytes).is_ok_and(|again| again.pin == requester.pin));
        }
        Err(error) => said(&error),
    },
    samples: || {
        let request = |key: &KeyPair| {
            let request = CertificateParams::default().serialize_request(key);
            request.expect("a request can be made").der().to_vec()
        };
        let key = KeyPair::generate().expect("a key can be made");
        let other = KeyPair::generate_for(&PKCS_ED25519).expect("a key can be made");
        vec![request(&key), request(&other)]
    },
};

pub(crate) const GRANT: Decoder = Decoder {
    name: "grant",
    check: |bytes| {
        if let Some(grant) = round_trip::<Grant>(bytes) {
            let node: NodeName = "edge-1.shop".parse().expect("a node's name");
            let any = grant.nodes.iter().any(|pattern| pattern.matches(&node));
            assert_eq!(grant.allows_node(&node), any);
        }
        round_trip::<NodePattern>(bytes);
        round_trip::<PortsGrant>(bytes);
    },
    samples: || {
        [
            "nodes=*;ports=configured",
            "nodes=shop-*,till-1;ports=22,443",
            "nodes=edge-1;ports=all",
            "edge-*-1.shop",
            "22,443",
        ]
        .map(Vec::from)
        .into()
    },
};

pub(crate) const REGISTRATION: Decoder = Decoder {
    name: "registration-file",
    check: |bytes| {
        if let Some((registration, _)) = stored::<Registration>(bytes) {
            // Any number of milliseconds is a time.
            let _ = (registration.since(), registration.revoked());
        }
    },
    samples: || {
        [None, Some(1_800_000_000_000_u64)]
            .map(|revoked| {
                let json = serde_json::json!({
                    "version": "0123456789abcdef0123456789abcdef",
                    "value": { "id": "00000000000000000000000000000007", "since": 1_700_000_000_000_u64, "revoked": revoked },
                });
                let (registration, version) =
                    store::decode::<Registration>(json.to_string().as_bytes()).expect("a registration");
                store::encode(&registration, &version).expect("it can be written")
            })
            .into()
    },
};

/// Reads a file of the store. What is read is written as it was read.
pub(super) fn stored<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<(T, Version)> {
    match store::decode::<T>(bytes) {
        Ok((value, version)) => {
            let own = store::encode(&value, &version).expect("it can be written");
            let again = store::decode::<T>(&own).expect("what was written is read");
            let twice = store::encode(&again.0, &again.1).expect("it can be written");
            assert_eq!(own, twice, "a record changes when it is written");
            Some((value, version))
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
