//! The streams of a session that are being opened, by their targets. Places for streams are bounded, and one that waits
//! for a target that does not answer has its place for as long as a dial may take: so that such a target cannot take the
//! places of all others, it gets no more than there are left.

use std::collections::HashMap;
use std::sync::Arc;

use edge_tunnel_proto::id::Target;
use edge_tunnel_proto::sync::Mutex;

/// How many streams are being opened to each target. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Openings(Arc<Mutex<HashMap<Target, usize>>>);

/// One of them, until it drops.
#[derive(Debug)]
pub(crate) struct Opening {
    target: Target,
    openings: Openings,
}

impl Openings {
    /// One more for `target`, where `left` places are free; `None` where as many wait for it already.
    pub(crate) fn begin(&self, target: Target, left: usize) -> Option<Opening> {
        let mut openings = self.0.lock();
        let waiting = openings.entry(target).or_default();
        if *waiting < left {
            *waiting += 1;
            return Some(Opening {
                target,
                openings: self.clone(),
            });
        }
        if *waiting == 0 {
            openings.remove(&target);
        }
        None
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut openings = self.openings.0.lock();
        if let Some(waiting) = openings.get_mut(&self.target) {
            *waiting -= 1;
            if *waiting == 0 {
                openings.remove(&self.target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use edge_tunnel_proto::id::{Port, TargetHost};

    use super::*;

    fn target(port: u16) -> Target {
        Target {
            host: TargetHost::Node,
            port: Port::new(port).unwrap(),
        }
    }

    #[test]
    fn each_target_that_does_not_answer_takes_half_of_what_is_left() {
        let openings = Openings::default();
        let mut held = Vec::new();
        let mut counts = Vec::new();
        for port in [1, 2, 3] {
            let before = held.len();
            while let Some(opening) = openings.begin(target(port), 100 - held.len()) {
                held.push(opening);
            }
            counts.push(held.len() - before);
        }
        assert_eq!(counts, [50, 25, 13]);
        held.clear();
        assert!(openings.0.lock().is_empty());
        assert!(openings.begin(target(1), 0).is_none());
        assert!(openings.0.lock().is_empty());
    }
}
