//! Scenarios: real servers and agents, and what may happen to them. One program, so that what waits waits together.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod ways_in;
