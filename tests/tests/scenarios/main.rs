//! Scenarios: real servers and agents, and what may happen to them. One program, so that what waits waits together.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod callers;
mod links;
mod refusals;
mod restarts;
mod shutdown;
mod streams;
mod transports;
mod ways_in;

/// Both transports, by their names in flags and metrics.
const TRANSPORTS: [&str; 2] = ["quic", "tls"];
