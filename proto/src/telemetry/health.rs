//! Whether a process is ready, and if not, what is missing, in words. Parts register by name; a part that is
//! dropped is no longer asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::sync::Mutex;

/// The readiness of a process. Cheap to clone; clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    next: u64,
    /// By registration, so that a guard never removes a successor of the same name.
    by_id: BTreeMap<u64, State>,
}

/// One part, as [`Health`] reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which part.
    pub name: String,
    /// Why it is not ready; `None` when it is.
    pub missing: Option<String>,
    /// What is not as it should be though it is ready.
    pub remark: Option<String>,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.missing, &self.remark) {
            (Some(why), _) => write!(f, "{}: {why}", self.name),
            (None, Some(remark)) => write!(f, "{}: ready, but {remark}", self.name),
            (None, None) => write!(f, "{}: ready", self.name),
        }
    }
}

/// A registered part. Not ready until it says so; dropping it takes it off the list.
#[derive(Debug)]
#[must_use = "a part that is dropped is no longer asked for"]
pub struct Part {
    health: Health,
    id: u64,
}

impl Health {
    /// Registers a part that is not ready yet, and why: `register("agents", "not listening yet")`.
    pub fn register(&self, name: impl Into<String>, missing: impl Into<String>) -> Part {
        let state = State {
            name: name.into(),
            missing: Some(missing.into()),
            remark: None,
        };
        let mut parts = self.0.lock();
        let id = parts.next;
        parts.next += 1;
        parts.by_id.insert(id, state);
        drop(parts);
        Part {
            health: self.clone(),
            id,
        }
    }

    /// Every part, in the order of registration.
    #[must_use]
    pub fn parts(&self) -> Vec<State> {
        self.0.lock().by_id.values().cloned().collect()
    }

    /// The parts that are not ready. A process in which nothing has registered yet is not ready either.
    #[must_use]
    pub fn missing(&self) -> Vec<State> {
        let mut parts = self.parts();
        if parts.is_empty() {
            let missing = Some("nothing has started yet".to_owned());
            let name = "start".to_owned();
            return vec![State {
                name,
                missing,
                remark: None,
            }];
        }
        parts.retain(|part| part.missing.is_some());
        parts
    }

    /// Whether the process is ready, in words, one part a line; `verbose` names those as well that are ready without a
    /// remark.
    #[must_use]
    pub fn report(&self, verbose: bool) -> Report {
        let missing = self.missing();
        let ready = missing.is_empty();
        let mut shown = if verbose { self.parts() } else { Vec::new() };
        if shown.is_empty() {
            shown = missing;
            let mut remarkable = self.parts();
            remarkable.retain(|part| part.missing.is_none() && part.remark.is_some());
            shown.extend(remarkable);
        }
        let mut text: String = shown.iter().map(|part| format!("{part}\n")).collect();
        if ready {
            text.push_str("ready\n");
        }
        Report { ready, text }
    }
}

/// The answer to "is it ready?", as `/readyz` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether every part is.
    pub ready: bool,
    /// Lines: what is missing, or `ready`; every part where all of them were asked for.
    pub text: String,
}

impl Part {
    /// This part works.
    pub fn ready(&self) {
        self.set(None, None);
    }

    /// This part works, and something is to be said of it.
    pub fn ready_but(&self, remark: impl Into<String>) {
        self.set(None, Some(remark.into()));
    }

    /// This part does not work (any more), and why.
    pub fn not_ready(&self, missing: impl Into<String>) {
        self.set(Some(missing.into()), None);
    }

    fn set(&self, missing: Option<String>, remark: Option<String>) {
        if let Some(state) = self.health.0.lock().by_id.get_mut(&self.id) {
            state.missing = missing;
            state.remark = remark;
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.health.0.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(health: &Health) -> Vec<String> {
        health.missing().iter().map(State::to_string).collect()
    }

    #[test]
    fn ready_when_every_part_is() {
        let health = Health::default();
        assert_eq!(missing(&health), ["start: nothing has started yet"]);
        assert_eq!(health.report(true).text, "start: nothing has started yet\n");
        let agents = health.register("agents", "not listening yet");
        let routes = health.register("routes", "not read yet");
        assert_eq!(
            missing(&health),
            ["agents: not listening yet", "routes: not read yet"]
        );
        agents.ready();
        routes.ready();
        assert!(missing(&health).is_empty());
        agents.not_ready("draining");
        assert_eq!(missing(&health), ["agents: draining"]);
        let brief = health.report(false);
        assert_eq!(
            (brief.ready, brief.text.as_str()),
            (false, "agents: draining\n")
        );
        assert_eq!(
            health.report(true).text,
            "agents: draining\nroutes: ready\n"
        );
        agents.ready();
        let brief = health.report(false);
        assert_eq!((brief.ready, brief.text.as_str()), (true, "ready\n"));
        assert_eq!(
            health.report(true).text,
            "agents: ready\nroutes: ready\nready\n"
        );
        routes.ready_but("by what was known yesterday");
        let brief = health.report(false);
        assert_eq!(
            (brief.ready, brief.text.as_str()),
            (
                true,
                "routes: ready, but by what was known yesterday\nready\n"
            )
        );
    }

    #[test]
    fn a_dropped_part_takes_only_itself_away() {
        let health = Health::default();
        let first = health.register("session", "connecting");
        let second = health.register("session", "connecting again");
        second.ready();
        drop(first);
        assert!(missing(&health).is_empty());
        drop(second);
        assert_eq!(missing(&health), ["start: nothing has started yet"]);
    }
}
