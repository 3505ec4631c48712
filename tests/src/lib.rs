//! What the scenarios are made of: real servers and agents in this process, on ports that the system chooses, with
//! whatever can go wrong between them made to go wrong.
//!
//! | room | what it gives |
//! | --- | --- |
//! | [`server`] | a server, its folders, its commands; stopped, killed, started again in place |
//! | [`node`] | an edge node with its agent, likewise |
//! | [`fleet`] | thousands of agents at once |
//! | [`link`] | the path between the two: TCP and UDP, with whatever can be wrong with a network |
//! | [`service`], [`web`], [`raw_http`] | what nodes offer: bytes with checksums, HTTP, TLS; HTTP by the letter |
//! | [`caller`] | whoever wants to reach a node, by each way in |
//! | [`crowd`], [`chatter`] | many nodes at once; streams that must not notice what happens |
//! | [`forge`], [`raw`] | certificates made to order, and somebody who shows them on the agents' port |
//! | [`stranger`] | whoever is rude at a listener |
//! | [`metrics`], [`logs`] | what the programs say of themselves |
//! | [`census`] | what they hold, before a fault and after |
//! | [`process`], [`programs`] | the programs as they are installed, where a signal or a limit of the system is the fault |
//!
//! Nothing here decides what is right: scenarios do. What the harness itself needs and cannot get ends the test with
//! words that say what was missing.

pub mod caller;
pub mod census;
pub mod chatter;
pub mod crowd;
pub mod fleet;
pub mod forge;
pub mod limits;
pub mod link;
pub mod logs;
pub mod metrics;
pub mod node;
pub mod payload;
pub mod place;
pub mod ports;
pub mod process;
pub mod programs;
pub mod raw;
pub mod raw_http;
mod runtime;
pub mod server;
pub mod service;
pub mod stranger;
pub mod traffic;
pub mod wait;
pub mod web;
