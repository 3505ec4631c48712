//! Scenarios: real servers and agents, and what may happen to them. One program, so that what waits waits together.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod accounts;
mod binaries;
mod callers;
mod certificates;
mod crashes;
mod disk_full;
mod enrolment;
mod flapping;
mod half_open;
mod idle;
mod links;
mod live_config;
mod memory;
mod open_files;
mod refusals;
mod restarts;
mod revocation;
mod second_host;
mod shutdown;
mod slow_readers;
mod strangers;
mod streams;
mod targets;
mod transports;
mod udp_paths;
mod ways_in;

/// Both transports, by their names in flags and metrics.
const TRANSPORTS: [&str; 2] = ["quic", "tls"];
