//! What came of it all, in words that can be quoted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::callers;
use super::leaks::Leaks;
use super::schedule::Plan;

/// What came of it all.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) took: Duration,
    pub(super) rounds: usize,
    /// How often each fault struck.
    struck: BTreeMap<&'static str, u64>,
    pub(super) callers: callers::Sum,
    /// For how long something on the way to each node might break requests.
    pub(super) disturbed: Vec<Duration>,
    pub(super) leaks: Leaks,
}

impl Report {
    pub(super) fn new(seed: u64, leaks: Leaks) -> Self {
        Self {
            seed,
            took: Duration::ZERO,
            rounds: 0,
            struck: BTreeMap::new(),
            callers: callers::Sum::default(),
            disturbed: Vec::new(),
            leaks,
        }
    }

    /// A round is over.
    pub(super) fn add(&mut self, plan: &Plan, outcome: callers::Sum) {
        self.rounds += 1;
        let local = plan
            .sites
            .iter()
            .flatten()
            .map(|strike| strike.fault.name());
        let central = plan.server.iter().map(|strike| strike.fault.name());
        for name in local.chain(central) {
            *self.struck.entry(name).or_default() += 1;
        }
        self.callers.add(outcome);
    }

    /// Whether all was as it has to be, and there was something to see.
    pub(super) fn good(&self) -> bool {
        let of = &self.callers;
        of.wrong.is_empty()
            && of.hung.is_empty()
            && of.without_reason.is_empty()
            && self.leaks.found.is_empty()
            && of.undisturbed > 0
            && of.bytes > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.callers;
        let failed: u64 = of.failed.values().sum();
        writeln!(
            f,
            "soak: {:.1} minutes, seed {}, {} rounds, {} faults",
            self.took.as_secs_f64() / 60.0,
            self.seed,
            self.rounds,
            self.struck.values().sum::<u64>()
        )?;
        writeln!(
            f,
            "  {} requests, {} MB checked; {failed} failed with a fault on their way; {} had none on their way",
            of.requests,
            of.bytes / 1_000_000,
            of.undisturbed
        )?;
        for (fault, struck) in &self.struck {
            let failed = of.failed.get(fault).copied().unwrap_or_default();
            writeln!(f, "  {fault}: {struck} times, {failed} requests failed")?;
        }
        writeln!(
            f,
            "  seconds with a fault on the way, by node: {:?}",
            self.disturbed
        )?;
        writeln!(
            f,
            "  memory after each round, in MiB: {:?}",
            self.leaks.memory
        )?;
        write!(
            f,
            "  wrong bytes {}, hangs {}, failures without a fault {}, leaks {}",
            of.wrong.len(),
            of.hung.len(),
            of.without_reason.len(),
            self.leaks.found.len()
        )?;
        let failures = [&of.wrong, &of.hung, &of.without_reason, &self.leaks.found];
        for words in failures.into_iter().flatten() {
            write!(f, "\n  {words}")?;
        }
        Ok(())
    }
}
