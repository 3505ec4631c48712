//! A mutex without poisoning, for short sections that are never held across an `.await`.

use std::sync::{MutexGuard, PoisonError};

/// [`std::sync::Mutex`] whose lock cannot fail: a panic inside a section is already fatal to its own task, and
/// what these sections guard is valid between any two statements.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Guards `value`.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits for the lock. Hold it for a few statements, never across an `.await`.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
