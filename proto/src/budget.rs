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
        self.take(bytes, Purpose::New).then(|| Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    fn take(&self, bytes: usize, purpose: Purpose) -> bool {
        let limit = match purpose {
            Purpose::New => self.0.limit,
            Purpose::Growth => self.growth_limit(),
        };
        let within = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
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
            .is_none_or(|parent| parent.take(bytes, purpose));
        if !above {
            self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        above
    }

    /// A quarter is kept for what is new.
    fn growth_limit(&self) -> usize {
        self.0.limit - self.0.limit / 4
    }

    fn is_tight(&self) -> bool {
        self.used() > self.growth_limit() || self.0.parent.as_ref().is_some_and(Self::is_tight)
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.0.parent {
            parent.give_back(bytes);
        }
    }
}

#[derive(Clone, Copy)]
enum Purpose {
    New,
    Growth,
}

/// Promised bytes; dropping gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Reservation {
    /// Promises `more` bytes in addition; `false`, and nothing changes, when that would take from the quarter of a limit
    /// that is kept for new reservations: what is there already cannot crowd out what comes.
    pub fn grow(&mut self, more: usize) -> bool {
        let granted = self.budget.take(more, Purpose::Growth);
        if granted {
            self.bytes += more;
        }
        granted
    }

    /// Gives `less` bytes back.
    ///
    /// # Panics
    /// When it holds fewer.
    pub fn shrink(&mut self, less: usize) {
        self.bytes = self
            .bytes
            .checked_sub(less)
            .expect("no more is given back than is held");
        self.budget.give_back(less);
    }

    /// New reservations have begun to use the quarter that is kept for them: who can do with less should.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.budget.is_tight()
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
        let second = two.reserve(20).unwrap();
        drop(first);
        drop(second);
        assert_eq!((process.used(), one.used(), two.used()), (0, 0, 0));
    }

    #[test]
    fn growth_leaves_a_quarter_to_what_is_new() {
        let process = Budget::new(200);
        let connection = process.child(100);
        let mut old = connection.reserve(50).unwrap();
        assert!(!old.grow(26));
        assert!(old.grow(25));
        assert!(!old.is_tight());
        let new = connection.reserve(25).unwrap();
        assert!(old.is_tight());
        assert!(connection.reserve(1).is_none());
        old.shrink(30);
        assert!(!old.is_tight());
        assert_eq!((process.used(), connection.used()), (70, 70));
        // The process's own limit counts as the connection's does.
        let _other = process.reserve(100).unwrap();
        assert!(old.is_tight());
        assert!(!old.grow(1));
        drop((old, new));
        assert_eq!((process.used(), connection.used()), (100, 0));
    }
}
