//! Every decoder of this crate that a stranger, a caller, an agent or a file can reach, for the tests and for the
//! fuzzer. Whoever adds a decoder adds it here.

use edge_tunnel_proto::testing::Decoder;

use crate::{admin, agents, identity, ingress, route};

/// All of them.
pub const DECODERS: &[Decoder] = &[
    agents::fuzzing::PROXY_PROTOCOL,
    ingress::fuzzing::HELLO,
    ingress::fuzzing::CONNECT_HEAD,
    ingress::fuzzing::HTTP_FRAMING,
    ingress::fuzzing::HTTP_ANSWER,
    ingress::fuzzing::REFUSAL,
    identity::fuzzing::CSR,
    identity::fuzzing::GRANT,
    identity::fuzzing::REGISTRATION,
    identity::fuzzing::TOKEN_RECORD,
    identity::fuzzing::CA_RECORD,
    route::fuzzing::NODES,
    route::fuzzing::CALLERS,
    route::fuzzing::PORTS,
    admin::fuzzing::REQUESTS,
    admin::fuzzing::ANSWERS,
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
