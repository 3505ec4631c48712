//! Scenarios: real servers and agents, and what may happen to them. One program, so that what waits waits together.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod accounts;
mod admin_input;
mod agent_starts;
mod bad_config;
mod binaries;
mod callers;
mod certificates;
mod clocks;
mod crashes;
mod disk_full;
mod documents;
mod endpoints;
mod enrolment;
mod flapping;
mod frozen;
mod grace;
mod half_open;
mod idle;
mod impostor_servers;
mod impostors;
mod links;
mod live_config;
mod memory;
mod open_files;
mod refusals;
mod refusals_by_way;
mod renewal;
mod restarts;
mod resumption;
mod revocation;
mod rotation;
mod rude;
mod rude_words;
mod second_host;
mod shut_out;
mod shutdown;
mod slow_readers;
mod smuggling;
mod startup;
mod strangers;
mod streams;
mod targets;
mod tokens;
mod transports;
mod turned_away;
mod udp_paths;
mod ways_in;

/// Both transports, by their names in flags and metrics.
const TRANSPORTS: [&str; 2] = ["quic", "tls"];
