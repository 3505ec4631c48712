//! What both ends of edge-tunnel must agree on: names, messages, the wire, identities.
//!
//! Knows no HTTP, no Kubernetes, no command line.

pub mod accepting;
pub mod backoff;
pub mod budget;
pub mod clock;
pub mod code;
pub mod codec;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod heartbeat;
pub mod id;
pub mod identity;
pub mod interfaces;
pub mod message;
pub mod mux;
pub mod parts;
pub mod places;
pub mod shutdown;
pub mod special;
pub mod splice;
pub mod stream;
pub mod sync;
pub mod telemetry;
pub mod testing;
pub mod transport;
