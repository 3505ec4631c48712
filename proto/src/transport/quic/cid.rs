//! Connection ids: 1 byte of form, 2 bytes that name the replica, 9 random bytes.
//!
//! Plain, so that a balancer that is taught the form keeps a connection on its replica when the agent's address
//! changes (the idea of draft-ietf-quic-load-balancers, without its encryption: a replica's number is no secret).

use quinn::{ConnectionId, ConnectionIdGenerator};

/// The form described above.
const FORM: u8 = 1;
const LENGTH: usize = 12;

#[derive(Debug)]
pub(super) struct Generator {
    replica: u16,
}

impl Generator {
    pub(super) fn new(replica: u16) -> Self {
        Self { replica }
    }
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; LENGTH];
        rand::fill(&mut bytes);
        bytes[0] = FORM;
        bytes[1..3].copy_from_slice(&self.replica.to_be_bytes());
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_replica_and_is_not_repeated() {
        let mut generator = Generator::new(0x0102);
        let (one, two) = (generator.generate_cid(), generator.generate_cid());
        assert_eq!(one[..3], [1, 1, 2]);
        assert_eq!(one.len(), generator.cid_len());
        assert_ne!(one, two);
    }
}
