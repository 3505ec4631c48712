//! The ConfigMap of the live keys, and what is said of bad entries in it: an Event, which `kubectl describe` shows.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::ObjectMeta;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use serde::Deserialize;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::config::Namespaced;
use crate::kubernetes;
use crate::route::index::Content;
use crate::route::keys::{Key, Problem};

/// How long the API server may take for an Event.
const PUBLISH: Duration = Duration::from_secs(2);
/// The longest note of an Event, in bytes (kubernetes `staging/src/k8s.io/api/events/v1/types.go`).
const NOTE_MAX: usize = 1024;
/// How many names of keys that are none are logged.
const STRANGERS_MAX: usize = 20;

/// `v1.ConfigMap`, without its metadata's weight.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigMap {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    data: BTreeMap<String, String>,
    /// Only their names matter: what is binary is no text.
    #[serde(default)]
    binary_data: BTreeMap<String, serde::de::IgnoredAny>,
}

impl Resource for ConfigMap {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ConfigMap".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "configmaps".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl ConfigMap {
    /// What it says of every key.
    pub(super) fn contents(&self) -> Vec<(Key, Content)> {
        let of = |key: Key| {
            let binary = self.binary_data.contains_key(key.name());
            match self.data.get(key.name()) {
                Some(text) => Content::Text(text.clone()),
                None if binary => Content::Unreadable(
                    "it stands under binaryData; write it under data, as text".to_owned(),
                ),
                None => Content::Absent,
            }
        };
        Key::ALL.into_iter().map(|key| (key, of(key))).collect()
    }
}

/// What the texts of an earlier start said.
pub(super) fn contents(texts: &BTreeMap<String, String>) -> Vec<(Key, Content)> {
    let map = ConfigMap {
        data: texts.clone(),
        ..ConfigMap::default()
    };
    map.contents()
}

/// What is said of the ConfigMap, to whom it concerns.
pub(super) struct Notices {
    recorder: Recorder,
    place: Namespaced,
    /// The ConfigMap as it was last read; `None` while it is not there.
    map: Option<ConfigMap>,
    strangers: BTreeSet<String>,
}

impl Notices {
    pub(super) fn new(client: Client, place: Namespaced) -> Self {
        let reporter = Reporter {
            controller: "edge-tunnel-server".to_owned(),
            instance: nix::unistd::gethostname()
                .ok()
                .map(|host| host.to_string_lossy().into_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            place,
            map: None,
            strangers: BTreeSet::new(),
        }
    }

    /// Takes note of the ConfigMap as it is now, and says which of its keys are none.
    pub(super) fn read(&mut self, map: &ConfigMap) {
        let names = map.data.keys().chain(map.binary_data.keys());
        let strangers = names.filter(|name| Key::from_name(name).is_none());
        let strangers: BTreeSet<_> = strangers.take(STRANGERS_MAX).cloned().collect();
        if strangers != self.strangers && !strangers.is_empty() {
            let keys = Key::ALL.map(Key::name).join(", ");
            warn!(config_map = %self.place, ?strangers, "keys that are none of the configuration's; the keys are {keys}");
        }
        self.strangers = strangers;
        self.map = Some(map.clone());
    }

    /// Puts an Event beside the ConfigMap that says what is newly wrong in it. Best effort: the log has it, too.
    pub(super) async fn publish(&self, problems: &[Problem]) {
        let Some(uid) = self.map.as_ref().and_then(|map| map.metadata.uid.clone()) else {
            return;
        };
        if problems.is_empty() {
            return;
        }
        let event = Event {
            type_: EventType::Warning,
            reason: "BadEntry".to_owned(),
            note: Some(note(problems)),
            action: "Read".to_owned(),
            secondary: None,
        };
        let map = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            namespace: Some(self.place.namespace.clone()),
            name: Some(self.place.name.clone()),
            uid: Some(uid),
            ..ObjectReference::default()
        };
        match timeout(PUBLISH, self.recorder.publish(&event, &map)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let words = kubernetes::words(&error);
                debug!(
                    "no Event could be put beside ConfigMap {}: {words}",
                    self.place
                );
            }
            Err(_elapsed) => debug!("the API server took too long for an Event"),
        }
    }
}

/// As many problems as fit, and how many more there are.
fn note(problems: &[Problem]) -> String {
    let mut note = String::new();
    for (index, problem) in problems.iter().enumerate() {
        let line = format!("{problem}\n");
        let rest = format!(
            "and {} more; the server's log has them",
            problems.len() - index
        );
        if note.len() + line.len() + rest.len() > NOTE_MAX {
            return note + &rest;
        }
        note += &line;
    }
    note.truncate(note.trim_end().len());
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_fits_into_an_event() {
        let problem = Problem {
            key: Key::HttpProxyPorts,
            entry: "ä".repeat(80),
            reason: "y".repeat(320),
        };
        let note_of = |count| note(&vec![problem.clone(); count]);
        assert_eq!(note_of(1), problem.to_string());
        for count in [2, 3, 100] {
            assert!(note_of(count).len() <= NOTE_MAX);
        }
        assert!(note_of(100).ends_with("more; the server's log has them"));
    }

    #[test]
    fn what_is_binary_is_said() {
        let map = serde_json::json!({"data": {"http-proxy-ports": "9100"}, "binaryData": {"callers": "AAEC"}});
        let map: ConfigMap = serde_json::from_value(map).unwrap();
        let contents: BTreeMap<_, _> = map.contents().into_iter().collect();
        assert_eq!(
            contents[&Key::HttpProxyPorts],
            Content::Text("9100".to_owned())
        );
        assert!(
            matches!(&contents[&Key::Callers], Content::Unreadable(why) if why.contains("binaryData"))
        );
        assert_eq!(contents[&Key::Nodes], Content::Absent);
    }
}
