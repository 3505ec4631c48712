//! (being written)

/// What a client certificate was issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {}
