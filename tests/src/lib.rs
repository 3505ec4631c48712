//! What the scenarios are made of: real servers and agents in this process, on ports that the system chooses, with
//! whatever can go wrong between them made to go wrong.
//!
//! | room | what it gives |
//! | --- | --- |
//! | [`server`] | a server, its folders, its commands; stopped, killed, started again in place |
//! | [`node`] | an edge node with its agent, likewise |
//! | [`link`] | the path between the two: TCP and UDP that can be cut, stalled, blocked, delayed |
//! | [`service`], [`web`] | what nodes offer: bytes with checksums, HTTP, TLS |
//! | [`caller`] | whoever wants to reach a node, by each way in |
//! | [`stranger`] | whoever is rude at a listener |
//! | [`metrics`], [`logs`] | what the programs say of themselves |
//!
//! Nothing here decides what is right: scenarios do. What the harness itself needs and cannot get ends the test with
//! words that say what was missing.

pub mod caller;
pub mod limits;
pub mod link;
pub mod logs;
pub mod metrics;
pub mod node;
pub mod payload;
pub mod ports;
pub mod process;
mod runtime;
pub mod server;
pub mod service;
pub mod stranger;
pub mod wait;
pub mod web;
