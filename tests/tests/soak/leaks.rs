//! What the programs hold after a round, compared with what they held before: descriptors, tasks, streams and every
//! other gauge; and the machine's memory, which may not grow from round to round.

use edge_tunnel_tests::census::{Census, Counted};
use edge_tunnel_tests::programs::Memory;

/// How much more memory a program may have than after the first round, in bytes: what its allocator keeps of what the
/// busiest moments took.
const GROWTH: usize = 64 << 20;

const MIB: usize = 1 << 20;

/// What they held at first.
#[derive(Debug)]
pub(super) struct Leaks {
    census: Census,
    pids: Vec<u32>,
    /// Of each program after each round, in MiB.
    pub(super) memory: Vec<Vec<usize>>,
    /// What was not given back.
    pub(super) found: Vec<String>,
}

fn pids(counted: &[Counted]) -> Vec<u32> {
    let pids = counted.iter().map(|counted| counted.pid);
    pids.map(|pid| pid.expect("programs of their own have an id"))
        .collect()
}

impl Leaks {
    pub(super) async fn watch(counted: &[Counted]) -> Self {
        Self {
            census: Census::settled(counted).await,
            pids: pids(counted),
            memory: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Waits until everything is as it was; notes what is not.
    pub(super) async fn look(&mut self, counted: &[Counted]) {
        let now = pids(counted);
        for (old, new) in self.pids.iter().zip(&now) {
            self.census = self.census.clone().renamed(*old, *new);
        }
        self.pids = now;
        if let Err(left) = self.census.back(counted).await {
            self.found.push(left);
            // What was found once is not found again in each round.
            self.census = Census::settled(counted).await;
        }
        let memory: Vec<usize> = self.pids.iter().map(|pid| Memory::of(*pid).now).collect();
        self.memory
            .push(memory.iter().map(|bytes| bytes / MIB).collect());
        for (place, (first, last)) in self.memory[0].iter().zip(&memory).enumerate() {
            if *last > first * MIB + GROWTH {
                self.found.push(format!(
                    "program {place} has {} MiB of memory, {first} after the first round",
                    last / MIB
                ));
            }
        }
    }
}
