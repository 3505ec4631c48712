//! `edge-tunnel-agent check`: judges what `run` would be told, goes the way out step by step, and says which step fails
//! and what to do about it. Changes nothing: it does not enrol, and it opens no session.

use std::fmt;
use std::io::{self, Write};

use edge_tunnel_proto::clock::Clock;

use crate::config::Config;
use enrolment::Enrolment;

mod advice;
mod endpoints;
mod enrolment;
mod local;
mod network;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works; with what was found.
    Passed(String),
    /// It does not, but the agent can do without.
    Warning(Advice),
    /// It does not, and the agent cannot do without.
    Failed(Advice),
    /// It was not tried, and why.
    Skipped(String),
}

/// What is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What was found, in one line.
    pub what: String,
    /// What to do, in one line.
    pub remedy: String,
}

impl Outcome {
    fn failed(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed(Advice {
            what: what.into(),
            remedy: remedy.into(),
        })
    }

    fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Warning(Advice {
            what: what.into(),
            remedy: remedy.into(),
        })
    }

    /// The same, where the agent has another way.
    fn dispensable(self) -> Self {
        match self {
            Self::Failed(advice) => Self::Warning(advice),
            other => other,
        }
    }
}

/// One step of the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was tried: `clock`, `lb.example:10262 tcp`.
    pub name: String,
    /// What it came to.
    pub outcome: Outcome,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, what, remedy) = match &self.outcome {
            Outcome::Passed(what) => ("ok  ", what, None),
            Outcome::Skipped(why) => ("skip", why, None),
            Outcome::Warning(advice) => ("warn", &advice.what, Some(&advice.remedy)),
            Outcome::Failed(advice) => ("FAIL", &advice.what, Some(&advice.remedy)),
        };
        writeln!(f, "{mark}  {}: {what}", self.name)?;
        match remedy {
            Some(remedy) => writeln!(f, "      what to do: {remedy}"),
            None => Ok(()),
        }
    }
}

/// The steps so far, each written out as soon as it is done, since some of them wait for seconds.
#[derive(Debug)]
struct Report<W> {
    out: W,
    failed: usize,
}

impl<W: Write> Report<W> {
    fn add(&mut self, name: impl Into<String>, outcome: Outcome) -> io::Result<()> {
        self.failed += usize::from(matches!(outcome, Outcome::Failed(_)));
        write!(
            self.out,
            "{}",
            Step {
                name: name.into(),
                outcome
            }
        )?;
        self.out.flush()
    }
}

/// Whether an agent runs here now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    /// On this state folder.
    Here,
    /// Not on this state folder.
    Elsewhere,
    /// That cannot be told.
    Unknown,
}

/// Tries every step and writes it to `out`. True when none failed; warnings do not count.
///
/// # Errors
/// Only when `out` cannot be written.
pub async fn check(config: &Config, out: impl Write) -> io::Result<bool> {
    check_at(config, &Clock::system(), out).await
}

async fn check_at(config: &Config, clock: &Clock, out: impl Write) -> io::Result<bool> {
    let mut report = Report { out, failed: 0 };
    let uplink = &config.uplink;
    let (folder, running) = local::state_folder(&uplink.state_dir);
    let readable = !matches!(folder, Outcome::Failed(_));
    report.add("state folder", folder)?;
    report.add(
        "admin port",
        local::admin_port(uplink.admin_listen, running).await,
    )?;
    let Enrolment {
        outcome,
        handshake,
        node,
    } = enrolment::check(uplink, clock, readable).await;
    report.add(
        "name",
        local::name(config.node_name.as_ref(), node.as_ref()),
    )?;
    report.add("policy", local::policy(config).await)?;
    report.add("enrolment", outcome)?;
    let mut kinds = Vec::new();
    let endpoints = uplink.endpoints();
    endpoints::check(uplink, &endpoints, &mut report).await?;
    for server in endpoints.known().iter() {
        kinds.extend(network::check_server(server, &handshake, &mut report).await?);
    }
    // Last: what servers show says more about it than the machine knows.
    report.add("clock", local::clock(clock, &kinds))?;
    Ok(report.failed == 0)
}

#[cfg(test)]
mod tests;
