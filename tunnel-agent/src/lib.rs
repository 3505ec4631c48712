//! The edge-tunnel agent: dials out from an edge node to the server and serves its streams under the node's own policy.
//!
//! The line, as the modules: `session → serve → policy → dial`. Control stands apart: `uplink → session`.

pub mod admin;
pub mod app;
pub mod check;
pub mod config;
pub mod dial;
pub mod endpoints;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod identity;
pub mod policy;
pub mod prepare;
pub mod serve;
pub mod session;
pub mod uplink;
