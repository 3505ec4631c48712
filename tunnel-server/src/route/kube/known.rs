//! How far the cluster is known, and what is said of it in `/readyz` and in the log.

use edge_tunnel_proto::telemetry::health::Part;
use kube::runtime::watcher;
use tracing::{info, warn};

use crate::kubernetes;

/// A watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Nodes,
    Keys,
}

/// How far the cluster is known.
#[derive(Debug)]
pub(super) struct Known {
    part: Part,
    /// From disk, by an earlier start.
    kept: bool,
    nodes: Watched,
    keys: Watched,
}

/// How one watch stands.
#[derive(Debug, Default)]
struct Watched {
    /// It has listed everything once.
    listed: bool,
    /// What has gone wrong since it last worked.
    trouble: Option<String>,
}

impl Known {
    /// Nothing is known yet, or what an earlier start has kept.
    pub(super) fn new(part: Part, kept: bool) -> Self {
        let known = Self {
            part,
            kept,
            nodes: Watched::default(),
            keys: Watched::default(),
        };
        known.tell();
        known
    }

    /// Whether all Nodes have been seen once since the start.
    pub(super) const fn nodes_listed(&self) -> bool {
        self.nodes.listed
    }

    /// A watch works.
    pub(super) fn works(&mut self, which: Which) {
        let watched = self.watched(which);
        watched.listed = true;
        if let Some(trouble) = watched.trouble.take() {
            info!("over: {trouble}");
        }
        self.tell();
    }

    /// A watch does not work, which is said once; says whether that is trouble, and not in the order of things.
    pub(super) fn failed(&mut self, which: Which, what: &str, error: &watcher::Error) -> bool {
        let Some(trouble) = trouble(what, error) else {
            return false;
        };
        let watched = self.watched(which);
        if watched.trouble.as_ref() != Some(&trouble) {
            warn!("{trouble}; what was last known stands");
            watched.trouble = Some(trouble);
        }
        self.tell();
        true
    }

    fn watched(&mut self, which: Which) -> &mut Watched {
        match which {
            Which::Nodes => &mut self.nodes,
            Which::Keys => &mut self.keys,
        }
    }

    fn tell(&self) {
        let troubles = [&self.nodes.trouble, &self.keys.trouble];
        let troubles: Vec<&str> = troubles.into_iter().flatten().map(String::as_str).collect();
        let troubles = troubles.join("; ");
        let known = self.nodes.listed || self.kept;
        match (known, troubles.is_empty()) {
            (true, true) if self.nodes.listed => self.part.ready(),
            (true, true) => self
                .part
                .ready_but("by what an earlier start has kept; the API server is being asked"),
            (true, false) => self
                .part
                .ready_but(format!("by what was last known: {troubles}")),
            (false, true) => self
                .part
                .not_ready("the API server is being asked for the Nodes"),
            (false, false) => self.part.not_ready(troubles),
        }
    }
}

/// What a watch complains of; `None` where that is in the order of things.
fn trouble(what: &str, error: &watcher::Error) -> Option<String> {
    let words = match error {
        // It lists anew.
        watcher::Error::WatchError(status) if status.code == 410 => return None,
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => kubernetes::words(error),
        watcher::Error::NoResourceVersion => error.to_string(),
    };
    Some(format!("{what} cannot be watched: {words}"))
}
