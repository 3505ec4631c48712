//! One stream's life on the server: route, open through the node's session, splice, account.

use edge_tunnel_proto::stream::Stream;

use crate::inbound::Inbound;
use crate::refusal::Refusal;

/// Opens streams to nodes for the ways in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay {}

/// A stream to a node's target that is open and counted; the count ends when this drops.
#[derive(Debug)]
pub struct Opened {
    /// The bytes to and from the target. Reading ends with `Ok(0)` only after the target's own end of stream; a failure
    /// is an error of kind `ConnectionReset` or another. `shutdown` sends a half-close. Dropping aborts.
    pub stream: Stream,
}

impl Relay {
    /// Finds the route, asks the node's agent to dial, and waits for its answer, all within the dial timeout.
    pub async fn open(&self, inbound: &Inbound) -> Result<Opened, Refusal> {
        todo!("{inbound:?}")
    }
}
