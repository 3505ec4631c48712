//! Keys and nodes in, tables out. Pure: whoever reads them (a folder, a cluster) feeds them here.

use std::collections::{BTreeMap, BTreeSet};

use edge_tunnel_proto::id::NodeName;

use super::beyond::Unmatched;
use super::callers::Callers;
use super::keys::{Key, Problems};
use super::nodes::{Declared, Nodes, Rules, lines};
use super::ports::{LOCALHOST_DEFAULT, Listeners, Ports, Texts};
use super::table::Table;

/// What a source found for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The key is there and says this.
    Text(String),
    /// The key is not there: its default holds.
    Absent,
    /// The key is there and cannot be read, for this reason: what it last said stands, else its default; of the callers,
    /// whose default allows more than their lines may, else nothing.
    Unreadable(String),
}

/// What is told once, at the start.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// This server's own listeners, which `dnat-ports-pair` names.
    pub listeners: Listeners,
    /// Where an edge node's address may lie.
    pub rules: Rules,
    /// What becomes of a CONNECT to what is no tunnelled node's.
    pub unmatched: Unmatched,
}

/// The last good text of each key, and the cluster's nodes.
#[derive(Debug, Clone)]
pub struct Index {
    settings: Settings,
    texts: BTreeMap<Key, String>,
    /// Keys that are there and cannot be read, and why.
    unread: BTreeMap<Key, String>,
    cluster: BTreeMap<NodeName, Declared>,
    /// There is a cluster, and who is one of its nodes is not known yet.
    unseen: bool,
}

impl Index {
    /// An index without any key set.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            texts: BTreeMap::new(),
            unread: BTreeMap::new(),
            cluster: BTreeMap::new(),
            unseen: false,
        }
    }

    /// Whether the cluster is known. Until it is, nothing is taken for no node's.
    pub const fn cluster_seen(&mut self, seen: bool) {
        self.unseen = !seen;
    }

    /// Takes in what a source found. A key that is not among `contents` stays as it was.
    pub fn keys(&mut self, contents: impl IntoIterator<Item = (Key, Content)>) {
        for (key, content) in contents {
            self.unread.remove(&key);
            match content {
                Content::Text(text) => {
                    self.texts.insert(key, text);
                }
                Content::Absent => {
                    self.texts.remove(&key);
                }
                Content::Unreadable(reason) => {
                    self.unread.insert(key, reason);
                }
            }
        }
    }

    /// Takes in a node of the cluster as it is now; says whether that changes a table.
    pub fn node(&mut self, node: Declared) -> bool {
        if self.cluster.get(&node.name) == Some(&node) {
            return false;
        }
        self.cluster.insert(node.name.clone(), node);
        true
    }

    /// A node of the cluster is gone; says whether that changes a table.
    pub fn node_gone(&mut self, name: &NodeName) -> bool {
        self.cluster.remove(name).is_some()
    }

    /// Of the cluster's nodes only these are left.
    pub fn only_nodes(&mut self, names: &BTreeSet<NodeName>) {
        self.cluster.retain(|name, _| names.contains(name));
    }

    /// What the keys say.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let texts = self.texts.iter();
        texts
            .map(|(key, text)| (key.name().to_owned(), text.clone()))
            .collect()
    }

    /// The cluster's nodes.
    pub(super) fn cluster(&self) -> impl Iterator<Item = &Declared> {
        self.cluster.values()
    }

    /// The table that follows.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut problems = Problems::default();
        for (key, reason) in &self.unread {
            let holds = match key {
                _ if self.texts.contains_key(key) => "what it last said stands",
                Key::Callers => {
                    "nobody may reach anything by connect, for it has said nothing since the start"
                }
                _ => "its default holds, for it has said nothing since the start",
            };
            let reason = format!("cannot be read, and until it can, {holds}: {reason}");
            problems.add(*key, key.name(), reason);
        }
        let text = |key| self.texts.get(&key).map_or("", String::as_str);
        let texts = Texts {
            http: text(Key::HttpProxyPorts),
            https: text(Key::HttpsProxyPorts),
            dnat: text(Key::DnatPortsPair),
            localhost: self
                .texts
                .get(&Key::LocalhostProxyPorts)
                .map_or(LOCALHOST_DEFAULT, String::as_str),
        };
        let ports = Ports::parse(&texts, self.settings.listeners, &mut problems);
        let nodes = self.nodes(text(Key::Nodes), &mut problems);
        let callers = match self.unread.get(&Key::Callers) {
            Some(reason) if !self.texts.contains_key(&Key::Callers) => Callers::unread(reason),
            _ => Callers::parse(text(Key::Callers), &mut problems),
        };
        let unmatched = match self.unseen {
            true => Unmatched::Refuse,
            false => self.settings.unmatched.clone(),
        };
        Table::new(ports, nodes, callers, unmatched, problems)
    }

    /// The cluster's nodes, and beside them those that have a line.
    fn nodes(&self, text: &str, problems: &mut Problems) -> Nodes {
        let mut written = lines::parse(text, &self.settings.unmatched.via(), problems);
        written.retain(|node| {
            let taken = self.cluster.contains_key(&node.name);
            if taken {
                let reason = "is a Node of the cluster, which says what there is to say of it";
                problems.add(Key::Nodes, node.name.as_str(), reason);
            }
            !taken
        });
        let all = self.cluster.values().chain(&written);
        Nodes::settle(&all, &self.settings.rules, problems)
    }
}

#[cfg(test)]
mod tests {
    use edge_tunnel_proto::id::Port;

    use super::*;

    const NODE_EXPORTER: Port = Port::known(9100);
    const AGENT: Port = Port::known(10266);

    fn applied(index: &mut Index, contents: impl IntoIterator<Item = (Key, Content)>) -> Table {
        index.keys(contents);
        index.table()
    }

    #[test]
    fn keys_change_one_by_one() {
        let mut index = Index::new(Settings::default());
        let table = applied(
            &mut index,
            [(Key::HttpProxyPorts, Content::Text("9100".to_owned()))],
        );
        assert!(table.ports().http(NODE_EXPORTER) && table.ports().localhost(AGENT));
        let table = applied(
            &mut index,
            [(Key::LocalhostProxyPorts, Content::Text(String::new()))],
        );
        assert!(table.ports().http(NODE_EXPORTER) && !table.ports().localhost(AGENT));
        let table = applied(
            &mut index,
            [
                (Key::LocalhostProxyPorts, Content::Absent),
                (Key::HttpProxyPorts, Content::Absent),
            ],
        );
        assert!(!table.ports().http(NODE_EXPORTER) && table.ports().localhost(AGENT));
    }

    #[test]
    fn an_unreadable_key_keeps_what_it_said_and_is_a_problem() {
        let mut index = Index::new(Settings::default());
        applied(
            &mut index,
            [(Key::HttpProxyPorts, Content::Text("9100".to_owned()))],
        );
        let table = applied(
            &mut index,
            [(
                Key::HttpProxyPorts,
                Content::Unreadable("permission denied".to_owned()),
            )],
        );
        assert!(table.ports().http(NODE_EXPORTER));
        assert_eq!(table.problems().count(Key::HttpProxyPorts), 1);
    }

    #[test]
    fn an_unreadable_key_says_what_holds() {
        let mut index = Index::new(Settings::default());
        let mut reason = |content| {
            let table = applied(&mut index, [(Key::LocalhostProxyPorts, content)]);
            let first = table.problems().listed().first();
            (
                first.map(|problem| problem.reason.clone()),
                table.ports().localhost(AGENT),
            )
        };
        let unreadable = || Content::Unreadable("permission denied".to_owned());
        for before in [None, Some(Content::Absent)] {
            before.map(&mut reason);
            let (words, open) = reason(unreadable());
            let words = words.unwrap();
            assert!(open && words.contains("its default holds"), "{words}");
        }
        reason(Content::Text(String::new()));
        let (words, open) = reason(unreadable());
        let words = words.unwrap();
        assert!(
            !open && words.contains("what it last said stands"),
            "{words}"
        );
    }
}
