//! Every decoder of this crate that a server, a file or a person can reach, for the tests and for the fuzzer. Whoever
//! adds a decoder adds it here.

use edge_tunnel_proto::testing::{Decoder, round_trip};

use crate::config::ServerAddress;
use crate::{identity, policy};

/// All of them.
pub const DECODERS: &[Decoder] = &[
    policy::fuzzing::FILE,
    policy::fuzzing::RULE,
    Decoder {
        name: "server-address",
        check: |bytes| {
            round_trip::<ServerAddress>(bytes);
        },
        samples: || {
            [
                "lb.example:10262",
                "quic://lb.example:10262",
                "tls://[2001:db8::1]:443",
            ]
            .map(Vec::from)
            .into()
        },
    },
    identity::fuzzing::KEY,
    identity::fuzzing::CERTIFICATE,
    identity::fuzzing::ISSUED,
];

#[cfg(test)]
mod tests {
    use edge_tunnel_proto::testing::{promises_are_kept, samples_pass};

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
