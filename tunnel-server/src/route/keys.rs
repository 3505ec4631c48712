//! The live keys: their names, how a list is cut into entries, and what was wrong with the entries that
//! were skipped. The same keys come from a ConfigMap and from a directory of files.

use std::collections::BTreeMap;
use std::fmt;

/// How many skipped entries a table lists one by one; all of them are counted.
const LISTED: usize = 100;
/// The longest excerpt of a skipped entry, in characters.
const EXCERPT: usize = 80;
/// The longest reason, in characters: it may name what the entry names.
const REASON: usize = 320;

/// A live key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Node ports reached over plain HTTP.
    HttpProxyPorts,
    /// Node ports reached over TLS, passed through.
    HttpsProxyPorts,
    /// Of the open ports, those that the agent dials at `127.0.0.1`.
    LocalhostProxyPorts,
    /// The older form of the first two.
    DnatPortsPair,
    /// The nodes, outside Kubernetes.
    Nodes,
    /// Who may reach what by `connect`.
    Callers,
}

impl Key {
    /// Every key.
    pub const ALL: [Self; 6] = [
        Self::HttpProxyPorts,
        Self::HttpsProxyPorts,
        Self::LocalhostProxyPorts,
        Self::DnatPortsPair,
        Self::Nodes,
        Self::Callers,
    ];

    /// The key as a ConfigMap and a file spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpProxyPorts => "http-proxy-ports",
            Self::HttpsProxyPorts => "https-proxy-ports",
            Self::LocalhostProxyPorts => "localhost-proxy-ports",
            Self::DnatPortsPair => "dnat-ports-pair",
            Self::Nodes => "nodes",
            Self::Callers => "callers",
        }
    }

    /// The key of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An entry that was skipped, or stands in part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Where it stands.
    pub key: Key,
    /// The entry, shortened.
    pub entry: String,
    /// Why, and what to write instead.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}", self.key, self.entry, self.reason)
    }
}

/// All that is wrong with the keys of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    listed: Vec<Problem>,
    counts: BTreeMap<Key, usize>,
}

impl Problems {
    /// Notes one.
    pub fn add(&mut self, key: Key, entry: &str, reason: impl fmt::Display) {
        *self.counts.entry(key).or_default() += 1;
        if self.listed.len() < LISTED {
            let short = |text: &str, limit| text.chars().take(limit).collect();
            self.listed.push(Problem {
                key,
                entry: short(entry, EXCERPT),
                reason: short(&reason.to_string(), REASON),
            });
        }
    }

    /// The first hundred, in the order of the keys.
    #[must_use]
    pub fn listed(&self) -> &[Problem] {
        &self.listed
    }

    /// How many there are in `key`.
    #[must_use]
    pub fn count(&self, key: Key) -> usize {
        self.counts.get(&key).copied().unwrap_or_default()
    }

    /// How many there are in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts.values().sum()
    }
}

/// The entries of a comma list: trimmed; line ends separate as commas do; empty ones are nothing.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n', '\r'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

/// The lines that say something: trimmed, without blank ones and `#` comments.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_keys() {
        for key in Key::ALL {
            assert_eq!(Key::from_name(key.name()), Some(key));
        }
        assert_eq!(Key::from_name("http-proxy-port"), None);
    }

    #[test]
    fn lists_are_trimmed_and_tolerate_line_ends() {
        let entries: Vec<_> = list(" 9051, 9445,\r\n9052\n\n,").collect();
        assert_eq!(entries, ["9051", "9445", "9052"]);
    }

    #[test]
    fn problems_are_listed_up_to_a_limit_and_counted_beyond_it() {
        let mut problems = Problems::default();
        for _ in 0..1000 {
            problems.add(Key::Nodes, &"x".repeat(10_000), "y".repeat(10_000));
        }
        assert_eq!((problems.listed().len(), problems.total()), (LISTED, 1000));
        assert_eq!(
            (problems.count(Key::Nodes), problems.count(Key::Callers)),
            (1000, 0)
        );
        assert_eq!(problems.listed()[0].entry.len(), EXCERPT);
        assert_eq!(problems.listed()[0].reason.len(), REASON);
    }
}
