//! Keys in, tables out. Pure: whoever reads the keys (a folder, a ConfigMap) feeds them here.

use std::collections::BTreeMap;

use super::callers::Callers;
use super::keys::{Key, Problems};
use super::nodes::Nodes;
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

/// The last good text of each key.
#[derive(Debug, Clone)]
pub struct Index {
    listeners: Listeners,
    texts: BTreeMap<Key, String>,
    /// Keys that are there, have said nothing since the start, and cannot be read.
    unread: BTreeMap<Key, String>,
}

impl Index {
    /// An index without any key set; `listeners` are this server's own, which `dnat-ports-pair` names.
    #[must_use]
    pub const fn new(listeners: Listeners) -> Self {
        Self {
            listeners,
            texts: BTreeMap::new(),
            unread: BTreeMap::new(),
        }
    }

    /// Takes in what a source found, and gives the table that follows. A key that is not among `contents`
    /// stays as it was.
    pub fn apply(&mut self, contents: impl IntoIterator<Item = (Key, Content)>) -> Table {
        let mut problems = Problems::default();
        for (key, content) in contents {
            match content {
                Content::Text(text) => {
                    self.unread.remove(&key);
                    self.texts.insert(key, text);
                }
                Content::Absent => {
                    self.unread.remove(&key);
                    self.texts.remove(&key);
                }
                Content::Unreadable(reason) => {
                    let holds = if self.texts.contains_key(&key) {
                        "what it last said stands"
                    } else {
                        self.unread.insert(key, reason.clone());
                        match key {
                            Key::Callers => {
                                "nobody may reach anything by connect, for it has said nothing since the start"
                            }
                            _ => "its default holds, for it has said nothing since the start",
                        }
                    };
                    let reason = format!("cannot be read, and until it can, {holds}: {reason}");
                    problems.add(key, key.name(), reason);
                }
            }
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
        let ports = Ports::parse(&texts, self.listeners, &mut problems);
        let nodes = Nodes::parse(text(Key::Nodes), &mut problems);
        let callers = match self.unread.get(&Key::Callers) {
            Some(reason) => Callers::unread(reason),
            None => Callers::parse(text(Key::Callers), &mut problems),
        };
        Table::new(ports, nodes, callers, problems)
    }
}

#[cfg(test)]
mod tests {
    use edge_tunnel_proto::id::Port;

    use super::*;

    const NODE_EXPORTER: Port = Port::known(9100);
    const AGENT: Port = Port::known(10266);

    #[test]
    fn keys_change_one_by_one() {
        let mut index = Index::new(Listeners::default());
        let table = index.apply([(Key::HttpProxyPorts, Content::Text("9100".to_owned()))]);
        assert!(table.ports().http(NODE_EXPORTER) && table.ports().localhost(AGENT));
        let table = index.apply([(Key::LocalhostProxyPorts, Content::Text(String::new()))]);
        assert!(table.ports().http(NODE_EXPORTER) && !table.ports().localhost(AGENT));
        let table = index.apply([
            (Key::LocalhostProxyPorts, Content::Absent),
            (Key::HttpProxyPorts, Content::Absent),
        ]);
        assert!(!table.ports().http(NODE_EXPORTER) && table.ports().localhost(AGENT));
    }

    #[test]
    fn an_unreadable_key_keeps_what_it_said_and_is_a_problem() {
        let mut index = Index::new(Listeners::default());
        index.apply([(Key::HttpProxyPorts, Content::Text("9100".to_owned()))]);
        let table = index.apply([(
            Key::HttpProxyPorts,
            Content::Unreadable("permission denied".to_owned()),
        )]);
        assert!(table.ports().http(NODE_EXPORTER));
        assert_eq!(table.problems().count(Key::HttpProxyPorts), 1);
    }

    #[test]
    fn an_unreadable_key_says_what_holds() {
        let mut index = Index::new(Listeners::default());
        let mut reason = |content| {
            let table = index.apply([(Key::LocalhostProxyPorts, content)]);
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
