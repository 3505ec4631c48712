//! A bounded number of places for connections, and a way to a place for the next one when all are taken: whoever came
//! first is asked to leave. So connections that do nothing cannot lock out the one that matters, a health probe, say.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::sync::Mutex;

/// So many places. Clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// The oldest first.
    held: VecDeque<(u64, CancellationToken)>,
}

/// A place, given back when it drops.
#[derive(Debug)]
pub struct Place {
    number: u64,
    wanted: CancellationToken,
    taken: Arc<Mutex<Taken>>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// `count` free places.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            taken: Arc::default(),
        }
    }

    /// Waits for a place; where none is free, the oldest holder's [`Place::wanted`] comes true. Cancel safe.
    ///
    /// # Panics
    /// Never.
    pub async fn take(&self) -> Place {
        let free = Arc::clone(&self.free);
        let permit = match Arc::clone(&free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_none_free) => {
                // One at a time: asked twice it is the same one, until it has left.
                if let Some((_, oldest)) = self.taken.lock().held.front() {
                    oldest.cancel();
                }
                free.acquire_owned()
                    .await
                    .expect("the semaphore is never closed")
            }
        };
        let wanted = CancellationToken::new();
        let mut taken = self.taken.lock();
        let number = taken.next;
        taken.next += 1;
        taken.held.push_back((number, wanted.clone()));
        drop(taken);
        Place {
            number,
            wanted,
            taken: Arc::clone(&self.taken),
            _permit: permit,
        }
    }
}

impl Place {
    /// Waits until somebody waits for this place, who gets it when it drops. Cancel safe.
    pub async fn wanted(&self) {
        self.wanted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken
            .lock()
            .held
            .retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::ZERO, future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_asked_to_leave_and_only_it() {
        let places = Places::new(2);
        let (first, second) = (places.take().await, places.take().await);
        assert!(at_once(first.wanted()).await.is_none());
        // Given up and begun again, as an accept loop does it.
        assert!(at_once(places.take()).await.is_none());
        assert!(at_once(places.take()).await.is_none());
        first.wanted().await;
        assert!(at_once(second.wanted()).await.is_none());
        drop(first);
        let third = places.take().await;
        assert!(at_once(places.take()).await.is_none());
        second.wanted().await;
        drop((second, third));
        assert!(places.taken.lock().held.is_empty());
        assert_eq!(places.free.available_permits(), 2);
    }
}
