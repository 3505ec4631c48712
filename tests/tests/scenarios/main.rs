//! Scenarios: real servers and agents, and what may happen to them. One program, so that what waits waits together.

mod ways_in;
