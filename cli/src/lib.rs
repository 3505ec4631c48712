//! What the command lines of both programs have in common. It knows clap, which `edge-tunnel-proto` does not.

mod environment;
mod listen;
mod span;

pub use environment::explained;
pub use listen::{Listen, ListenError};
pub use span::span;
