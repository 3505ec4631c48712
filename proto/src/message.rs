//! (being written)
pub mod enroll;
