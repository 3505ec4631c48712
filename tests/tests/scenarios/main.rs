//! Scenarios: real servers and agents, and what may happen to them. One program, so that what waits waits together.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod accounts;
mod admin_input;
mod bad_config;
mod binaries;
mod callers;
mod certificates;
mod enrolment;
mod links;
mod live_config;
mod memory;
mod refusals;
mod refusals_by_way;
mod restarts;
mod revocation;
mod rude;
mod rude_words;
mod second_host;
mod shutdown;
mod startup;
mod strangers;
mod streams;
mod transports;
mod ways_in;

/// Both transports, by their names in flags and metrics.
const TRANSPORTS: [&str; 2] = ["quic", "tls"];
