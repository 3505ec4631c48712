//! The edge-tunnel server: takes traffic for `node:port` in the cloud and carries it through the session that the
//! node's agent dialled.
//!
//! The line, as the modules: `ingress → route → sessions → relay`. Control stands apart: `agents → identity → session`.

pub mod admin;
pub mod agents;
pub mod app;
pub mod cli;
pub mod config;
pub mod dev;
pub mod endpoints;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod identity;
pub mod inbound;
pub mod ingress;
pub mod kubernetes;
pub mod pace;
pub mod quota;
pub mod refusal;
pub mod relay;
pub mod route;
pub mod session;
pub mod sessions;
