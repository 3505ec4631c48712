//! What a server and an agent hold, before a fault and after: tasks, streams, connections, promised memory and every
//! other gauge, and for programs of their own their open files. After a fault it comes back to what it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, fs, io};

use tokio::time::{Instant, sleep};

use crate::metrics::Metrics;
use crate::wait::{give_up, until};

/// How long it may take to come back: connections to nodes wait half a minute for reuse, dead sessions for longer than
/// their heartbeat.
pub const BACK: Duration = Duration::from_secs(100);

/// What is promised at the most to a session without streams, in bytes, its control stream included.
const IDLE_SESSION: f64 = 192.0 * 1024.0;

/// A process that is counted.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// Where its metrics are.
    pub admin: SocketAddr,
    /// Where it is a process of its own, which one.
    pub pid: Option<u32>,
}

impl From<SocketAddr> for Counted {
    fn from(admin: SocketAddr) -> Self {
        Self { admin, pid: None }
    }
}

/// What they hold. Shown without what is 0.
#[derive(Clone, PartialEq)]
pub struct Census(BTreeMap<String, f64>);

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

impl Census {
    /// Counts now.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn of(processes: &[Counted]) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (place, process) in processes.iter().enumerate() {
            let metrics = Metrics::read(process.admin).await;
            let metrics = metrics.map_err(|error| format!("{process:?}: {error}"))?;
            // A time is nothing that is held: it is another one once a certificate was renewed.
            let held = metrics
                .gauges()
                .filter(|(series, value)| *value != 0.0 && !series.ends_with("_timestamp_seconds"));
            all.extend(held.map(|(series, value)| (format!("{place}: {series}"), value)));
            if let Some(pid) = process.pid {
                let files = open_files(pid)
                    .await
                    .map_err(|error| format!("{pid}: {error}"))?;
                all.insert(format!("open files of {pid}"), files as f64);
            }
        }
        Ok(Self(all))
    }

    /// Counts once two counts in a row, a moment apart, are the same: what was begun before has ended.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn settled(processes: &[Counted]) -> Self {
        let look = async || {
            let one = Self::of(processes).await?;
            for _ in 0..4 {
                sleep(Duration::from_millis(250)).await;
                let other = Self::of(processes).await?;
                if one != other {
                    return Err(format!("{:?}", other.beside(&one)));
                }
            }
            Ok(one)
        };
        until("everything is quiet", BACK, look).await.0
    }

    /// Waits until everything is as it was.
    ///
    /// # Panics
    /// When it is not in time: with what is different.
    pub async fn comes_back(&self, processes: &[Counted]) {
        if let Err(left) = self.back(processes).await {
            give_up(format!(
                "not within {BACK:?}: everything is as it was before: {left}"
            ));
        }
    }

    /// As [`Census::comes_back`].
    ///
    /// # Errors
    /// What is different, when it is not in time.
    pub async fn back(&self, processes: &[Counted]) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let other = match Self::of(processes).await {
                Ok(now) => format!("(now, before) {:?}", now.left(self)),
                Err(error) => error,
            };
            if other.ends_with(" {}") {
                return Ok(());
            }
            if began.elapsed() > BACK {
                return Err(other);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The same, where one process has taken the place of another.
    ///
    /// # Panics
    /// When that other was not counted.
    #[must_use]
    pub fn renamed(self, from: u32, to: u32) -> Self {
        let mut all = self.0;
        match all.remove(&format!("open files of {from}")) {
            Some(files) => all.insert(format!("open files of {to}"), files),
            None => give_up(format!("{from} was not counted")),
        };
        Self(all)
    }

    /// What is different from `before` as (now, before), apart from memory that is promised to idle sessions: how much
    /// depends on the transport, and that may be another one now.
    fn left(&self, before: &Self) -> BTreeMap<String, (f64, f64)> {
        let mut left = self.beside(before);
        let sessions = self
            .0
            .iter()
            .filter(|(name, _)| name.contains("_sessions{"));
        let idle = IDLE_SESSION * sessions.map(|(_, count)| count).sum::<f64>();
        left.retain(|name, (now, _)| !name.ends_with("_promised_bytes") || *now > idle);
        left
    }

    /// What is different, as (here, there).
    #[must_use]
    pub fn beside(&self, other: &Self) -> BTreeMap<String, (f64, f64)> {
        let names = self.0.keys().chain(other.0.keys());
        let of = |all: &Self, name: &String| all.0.get(name).copied().unwrap_or_default();
        names
            .map(|name| (name.clone(), (of(self, name), of(other, name))))
            .filter(|(_, (here, there))| here != there)
            .collect()
    }
}

/// How many files a process has open, the fewest of a few looks: the connection over which its metrics were just read
/// ends a moment later.
async fn open_files(pid: u32) -> io::Result<usize> {
    let mut fewest = usize::MAX;
    for _ in 0..5 {
        fewest = fewest.min(fs::read_dir(format!("/proc/{pid}/fd"))?.count());
        sleep(Duration::from_millis(10)).await;
    }
    Ok(fewest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named() {
        let census = |pairs: &[(&str, f64)]| {
            Census(
                pairs
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), *value))
                    .collect(),
            )
        };
        let before = census(&[("tasks", 10.0), ("sessions", 1.0)]);
        let after = census(&[("tasks", 11.0), ("sessions", 1.0), ("streams", 2.0)]);
        assert!(before.beside(&before).is_empty());
        assert_eq!(
            after.beside(&before),
            BTreeMap::from([
                ("tasks".to_owned(), (11.0, 10.0)),
                ("streams".to_owned(), (2.0, 0.0))
            ])
        );
    }
}
