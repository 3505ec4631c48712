//! Why a node has no session, as a stranger reads it: since when, why, from where it last came, and what to do.

use std::time::SystemTime;

use edge_tunnel_proto::clock::ago;
use edge_tunnel_proto::id::NodeName;
use edge_tunnel_proto::identity::rfc3339;

use crate::identity::{Registration, Visit};
use crate::refusal::{Kind, Refusal};

/// What is known of the node.
pub(super) struct Known {
    pub(super) registration: Option<Registration>,
    pub(super) last: Option<Visit>,
    /// When this server started.
    pub(super) started: SystemTime,
    pub(super) now: SystemTime,
}

/// Where to look, for whoever may.
const LOOK: &str = "look at the agent's log on the node, or run `edge-tunnel-agent check` there";

impl Known {
    /// The refusal of whoever asks for `node`.
    pub(super) fn refusal(&self, node: &NodeName) -> Refusal {
        let Some(registration) = &self.registration else {
            let words = format!(
                "node {node} is unknown: no node of this name has enrolled here; check the name against \
                 `edge-tunnel-server nodes`, or let it in with `edge-tunnel-server token create --node {node}`"
            );
            return Refusal::new(Kind::Unavailable, "unknown_node", words);
        };
        if let Some(at) = registration.revoked() {
            let words = format!(
                "node {node} was revoked {}; to let it in again, create a join token for it and enrol it",
                self.when(at)
            );
            return Refusal::new(Kind::Unavailable, "revoked", words);
        }
        let words = format!(
            "node {node} is not connected: {}; {LOOK}",
            self.since(registration)
        );
        Refusal::new(Kind::Unavailable, "not_connected", words)
    }

    fn since(&self, registration: &Registration) -> String {
        let Some(last) = &self.last else {
            let at = self.when(registration.since());
            return format!("it enrolled {at}, and no session of it is known since");
        };
        let from = last.remote;
        let start = ago(self.now, self.started);
        match (&last.left, last.here) {
            (Some(left), true) => {
                let at = self.when(left.at());
                format!("it left {at} ({}); it came from {from}", left.reason)
            }
            (None, true) => {
                format!("its agent, at {from}, is shutting down and takes no more connections")
            }
            (Some(left), false) => {
                let at = self.when(left.at());
                format!(
                    "it has not come since this server started {start} ago; it left {at} ({}), and came from {from}",
                    left.reason
                )
            }
            (None, false) => {
                let at = self.when(last.since());
                format!(
                    "it has not come since this server started {start} ago; its last session began {at}, from {from}"
                )
            }
        }
    }

    /// A moment as people take it in, and as they find it in a log.
    fn when(&self, at: SystemTime) -> String {
        format!("{} ago, at {}", ago(self.now, at), rfc3339(at))
    }
}

#[cfg(test)]
mod tests;
