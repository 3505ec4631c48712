//! Memory that is promised to peers, counted in bytes: one budget for the process, and below it one a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that may be promised in all. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
    parent: Option<Budget>,
}

impl Budget {
    /// A budget of its own of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            used: AtomicUsize::new(0),
            parent: None,
        }))
    }

    /// A budget of `limit` bytes that also draws on this one.
    #[must_use]
    pub fn child(&self, limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            used: AtomicUsize::new(0),
            parent: Some(self.clone()),
        }))
    }

    /// The bytes promised now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The bytes that may be promised in all.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Promises `bytes`, given back when the reservation drops; `None` when that is above the limit here or above.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation {
            budget: self.clone(),
            bytes: 0,
        };
        reservation.grow(bytes).then_some(reservation)
    }

    fn take(&self, bytes: usize) -> bool {
        let within = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        if self
            .0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_err()
        {
            return false;
        }
        let above = self
            .0
            .parent
            .as_ref()
            .is_none_or(|parent| parent.take(bytes));
        if !above {
            self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        above
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.0.parent {
            parent.give_back(bytes);
        }
    }
}

/// Promised bytes; dropping gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Reservation {
    /// Promises `more` bytes in addition; `false`, and nothing changes, when that is above a limit.
    pub fn grow(&mut self, more: usize) -> bool {
        let granted = self.budget.take(more);
        if granted {
            self.bytes += more;
        }
        granted
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_held_to_its_own_limit_and_to_its_parents() {
        let process = Budget::new(100);
        let (one, two) = (process.child(80), process.child(80));
        let first = one.reserve(70).unwrap();
        assert!(one.reserve(20).is_none());
        assert!(two.reserve(40).is_none());
        assert_eq!((process.used(), two.used()), (70, 0));
        let mut second = two.reserve(20).unwrap();
        assert!(!second.grow(20));
        drop(first);
        assert!(second.grow(20));
        drop(second);
        assert_eq!((process.used(), one.used(), two.used()), (0, 0, 0));
    }
}
