//! What the tests of every room share: lanes without sockets; inputs for what reads foreign bytes.

mod decoders;
mod mutate;
mod pieces;

pub use decoders::{Decoder, promises_are_kept, round_trip, said, samples_pass};
pub use mutate::Mutator;
pub use pieces::{Pieces, now, pieces};

use crate::budget::Budget;
use crate::mux::{Mux, Side};
use crate::transport::{AGENT_LIMITS, Lane, SERVER_LIMITS};

/// An agent's lane and the server's lane that it meets, over memory. Their drivers run on the current runtime and
/// end with the lanes.
#[must_use]
pub fn lanes() -> (Lane, Lane) {
    let budget = Budget::new(1024 * 1024 * 1024);
    let (agent, server) = tokio::io::duplex(256 * 1024);
    let (agent, agent_driver) = Mux::new(agent, Side::Client, AGENT_LIMITS, &budget);
    let (server, server_driver) = Mux::new(server, Side::Server, SERVER_LIMITS, &budget);
    tokio::spawn(agent_driver);
    tokio::spawn(server_driver);
    (Lane::Tls(agent), Lane::Tls(server))
}
