//! A value that is replaced while others use it: a trust bundle, a certificate. Whoever holds the old one keeps it.

use std::fmt;
use std::sync::Arc;

use crate::sync::Mutex;

/// The current value of something that is reloaded without a restart. Clones share it.
pub struct Live<T>(Arc<Mutex<Arc<T>>>);

impl<T> Live<T> {
    /// Starts with `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(value))))
    }

    /// What holds now. A handshake takes it once and is judged by that one value to its end.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.lock())
    }

    /// From now on `value` holds.
    pub fn set(&self, value: T) {
        *self.0.lock() = Arc::new(value);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}
