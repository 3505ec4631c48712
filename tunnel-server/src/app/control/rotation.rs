//! How far a change of the CA has come: what comes next, and whether it would shut out agents.

use std::fmt;
use std::time::SystemTime;

use edge_tunnel_proto::identity::rfc3339;

use crate::identity::{CaInfo, Identity, Phase, Step};
use crate::sessions::Sessions;

/// A change of the CA, and how many agents have followed its last step.
#[derive(Debug)]
pub(super) struct Rotation {
    phase: Phase,
    since: Option<SystemTime>,
    /// Before this not every agent can have renewed since then; `None`: the next step waits for nobody.
    ready: Option<SystemTime>,
    connected: usize,
    /// Those of them that hold a certificate of before.
    behind: usize,
    /// Nodes that are registered and not connected.
    away: usize,
}

impl Rotation {
    pub(super) fn of(info: &CaInfo, identity: &Identity, sessions: &Sessions) -> Self {
        let mut rotation = Self {
            phase: info.phase,
            since: info.since,
            ready: info.ready(),
            connected: 0,
            behind: 0,
            away: 0,
        };
        for (node, registration) in identity.registrations().list() {
            match sessions.get(&node) {
                Some(session) => {
                    rotation.connected += 1;
                    // Certificates know whole seconds alone: one of the very second of the step is taken for older.
                    let behind = info.since.is_some_and(|since| session.certified() <= since);
                    rotation.behind += usize::from(behind);
                }
                None if registration.revoked().is_none() => rotation.away += 1,
                None => {}
            }
        }
        rotation
    }

    /// Where it stands.
    pub(super) fn stands(&self) -> String {
        let since = self
            .since
            .map(|since| format!(" (since {})", rfc3339(since)));
        let since = since.unwrap_or_default();
        let means = match self.phase {
            Phase::Steady => "one CA is believed, and signs",
            Phase::Introduced => "the next CA is believed, too; the old one still signs",
            Phase::Signing => "the next CA signs; the old one is still believed",
        };
        format!("{}{since}: {means}", self.phase.name())
    }

    /// What the next step would do, and for whom it waits.
    pub(super) fn next(&self) -> String {
        let step = self.phase.next();
        let does = match step {
            Step::Introduce => {
                "makes another CA, which is believed beside this one; agents learn of it as they renew"
            }
            Step::Sign => "has the next CA sign all certificates from then on",
            Step::Finish => {
                "drops the old CA. Agents that have not renewed since `sign` must then enrol anew, and clients of the \
                 old CA be issued anew"
            }
        };
        let name = step.name();
        match self.ready {
            None => format!("next: `ca rotate {name}` {does}"),
            Some(ready) => format!(
                "next: `ca rotate {name}` {does}. It waits until {}; {self}",
                rfc3339(ready)
            ),
        }
    }

    /// Why the next step is not to be taken yet, at this time.
    pub(super) fn waits(&self, now: SystemTime) -> Option<String> {
        let (ready, since) = (self.ready?, self.since?);
        let (step, since) = (self.phase.next(), rfc3339(since));
        let why = if now < ready {
            format!(
                "connected agents have all renewed by {}, and the step before was taken at {since}",
                rfc3339(ready)
            )
        } else if self.behind > 0 {
            format!("not every agent has renewed since the step before, which was taken at {since}")
        } else {
            return None;
        };
        let costs = match step {
            Step::Finish => "have to enrol anew",
            _ => "do not know the next CA yet",
        };
        Some(format!(
            "it is too soon for `ca rotate {}`: {why}. At present {self}. Wait, or add --now: agents that have not renewed \
             then {costs}",
            step.name()
        ))
    }
}

/// Who has followed.
impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connected,
            behind,
            away,
            ..
        } = self;
        match (connected, behind) {
            (0, _) => write!(f, "no agent is connected")?,
            (_, 0) => write!(
                f,
                "all connected agents ({connected}) have renewed since the last step"
            )?,
            _ => write!(
                f,
                "{behind} of {connected} connected agents have not renewed since the last step"
            )?,
        }
        if *away > 0 {
            write!(
                f,
                ", and {away} registered nodes are away, of which it is not known"
            )?;
        }
        Ok(())
    }
}
