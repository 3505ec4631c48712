//! The nodes and the live keys from a cluster: a watch on its Nodes, and one on the ConfigMap.
//!
//! An API server that is away changes nothing: what was last known stands, and a server that starts meanwhile begins with
//! what [`kept`] holds on disk. What changes is gathered for a moment, since a table of thousands of nodes is made anew.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::telemetry::health::Part;
use futures_util::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt as _, watcher::Event};
use kube::{Api, Client};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Routes;
use super::index::Index;
use super::publish::{Metrics, Publisher};
use super::selector::Selectors;
use crate::config::Namespaced;
use config_map::{ConfigMap, Notices};
use kept::Kept;
use known::{Known, Which};
use node::{Member, Node};

mod config_map;
mod kept;
mod known;
mod node;
#[cfg(test)]
mod tests;

/// How long changes are gathered before a table is made of them.
const GATHER: Duration = Duration::from_millis(200);
/// How long after a change what is known is kept on disk.
const KEEP: Duration = Duration::from_secs(5);

/// How many Nodes are listed at once: a Node has some 15 KB, and a page is in memory as a whole.
const PAGE: u32 = 100;

/// What the flags say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which ConfigMap has the live keys.
    pub config_map: Namespaced,
    /// Which Nodes are tunnelled.
    pub tunnelled: Selectors,
    /// Which of them carry what is no node's.
    pub via: Selectors,
    /// Where what is known is kept.
    pub kept: PathBuf,
}

/// Takes over which registration each Node of the cluster is: all of them, each time that one changes.
pub type Registered = Box<dyn Fn(HashMap<NodeName, RegistrationId>) + Send>;

/// A cluster that can be followed.
pub struct Source {
    client: Client,
    settings: Settings,
    index: Index,
    publisher: Publisher,
    notices: Notices,
    registered: Registered,
    members: HashMap<NodeName, RegistrationId>,
    known: Known,
    due: Due,
}

/// What is to be done soon.
#[derive(Debug, Default)]
struct Due {
    table: Option<Instant>,
    members: bool,
    keep: Option<Instant>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Begins with what an earlier start has kept, if anything. The API server is not asked yet. `part` becomes ready with
    /// the first whole view of the Nodes.
    pub async fn open(
        client: Client,
        settings: Settings,
        mut index: Index,
        metrics: Metrics,
        part: Part,
        registered: Registered,
    ) -> (Self, Routes) {
        let mut members = HashMap::new();
        let kept = Kept::read(&settings.kept).await;
        let known = Known::new(part, kept.is_some());
        let begun = kept.is_some();
        index.cluster_seen(begun);
        if let Some(kept) = kept {
            index.keys(config_map::contents(&kept.keys));
            for member in kept.into_nodes() {
                members.extend(
                    member
                        .registration
                        .map(|id| (member.declared.name.clone(), id)),
                );
                index.node(member.declared);
            }
        }
        let publisher = Publisher::new(index.table(), metrics);
        let routes = publisher.routes();
        let source = Self {
            notices: Notices::new(client.clone(), settings.config_map.clone()),
            client,
            settings,
            index,
            publisher,
            registered,
            members,
            known,
            due: Due::default(),
        };
        if begun {
            (source.registered)(source.members.clone());
        }
        (source, routes)
    }

    /// Follows the cluster until `shutdown`, and publishes each new table.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let nodes = Api::<Node>::all(self.client.clone());
        let nodes = watcher(nodes, watcher::Config::default().page_size(PAGE)).default_backoff();
        let Namespaced { namespace, name } = &self.settings.config_map;
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let maps = watcher(maps, one).default_backoff();
        let (mut nodes, mut maps) = (std::pin::pin!(nodes), std::pin::pin!(maps));
        let (mut listing, mut found) = (None, false);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = next(&mut nodes) => match event {
                    Ok(event) => self.nodes(event, &mut listing),
                    Err(error) => self.failed(Which::Nodes, "the Nodes", &error),
                },
                event = next(&mut maps) => match event {
                    Ok(event) => self.keys(event, &mut found),
                    Err(error) => {
                        let what = format!("ConfigMap {}", self.settings.config_map);
                        self.failed(Which::Keys, &what, &error);
                    }
                },
                () = at(self.due.table) => self.publish().await,
                () = at(self.due.keep) => self.keep().await,
            }
        }
    }

    fn nodes(&mut self, event: Event<Node>, listing: &mut Option<BTreeSet<NodeName>>) {
        match event {
            Event::Init => *listing = Some(BTreeSet::new()),
            // No table is made of half a list: who is not in it yet would be taken for nobody.
            Event::InitApply(node) => {
                if let Some(member) = self.member(node) {
                    listing
                        .get_or_insert_default()
                        .insert(member.declared.name.clone());
                    self.take(member);
                }
            }
            Event::Apply(node) => {
                if let Some(member) = self.member(node)
                    && self.take(member)
                {
                    self.due.table();
                }
            }
            Event::InitDone => {
                let names = listing.take().unwrap_or_default();
                let (before, now) = (self.members.len(), &mut self.members);
                now.retain(|name, _| names.contains(name));
                self.due.members |= now.len() != before;
                self.index.only_nodes(&names);
                self.index.cluster_seen(true);
                info!(nodes = names.len(), "the Nodes of the cluster are listed");
                // Also where there is none: from now on whoever is no Node is known not to be one.
                self.due.members |= !self.known.nodes_listed();
                self.due.table();
                self.known.works(Which::Nodes);
            }
            Event::Delete(node) => {
                let Ok(name) = node.name().parse::<NodeName>() else {
                    return;
                };
                let registered = self.members.remove(&name).is_some();
                self.due.members |= registered;
                if self.index.node_gone(&name) || registered {
                    self.due.table();
                }
            }
        }
    }

    fn member(&self, node: Node) -> Option<Member> {
        let name = node.name().to_owned();
        match Member::of(node, &self.settings) {
            Ok(member) => Some(member),
            Err(error) => {
                warn!(node = name, %error, "a Node that cannot be reached through edge-tunnel");
                None
            }
        }
    }

    /// Takes in a Node as it is now; says whether that changes anything.
    fn take(&mut self, member: Member) -> bool {
        let name = member.declared.name.clone();
        let registration = member.registration;
        let before = match registration {
            Some(id) => self.members.insert(name, id),
            None => self.members.remove(&name),
        };
        self.due.members |= before != registration;
        self.index.node(member.declared) || before != registration
    }

    fn keys(&mut self, event: Event<ConfigMap>, found: &mut bool) {
        let map = match event {
            Event::Init => {
                *found = false;
                return;
            }
            Event::InitApply(map) | Event::Apply(map) => Some(map),
            Event::InitDone if *found => None,
            // It is not there: its defaults hold.
            Event::InitDone => Some(ConfigMap::default()),
            Event::Delete(_) => {
                info!(config_map = %self.settings.config_map, "the ConfigMap is gone: the keys' defaults hold");
                Some(ConfigMap::default())
            }
        };
        if let Some(map) = map {
            *found = true;
            self.notices.read(&map);
            self.index.keys(map.contents());
            self.due.table();
        }
        if *found {
            self.known.works(Which::Keys);
        }
    }

    fn failed(&mut self, which: Which, what: &str, error: &watcher::Error) {
        if self.known.failed(which, what, error) {
            self.publisher.failed();
        }
    }

    async fn publish(&mut self) {
        self.due.table = None;
        if std::mem::take(&mut self.due.members) {
            (self.registered)(self.members.clone());
        }
        let table = self.index.table();
        debug!(nodes = table.nodes().tunnelled().len(), "a new table");
        let fresh = self.publisher.publish(table);
        self.notices.publish(&fresh).await;
        // Half a view is worse than the last whole one.
        if self.known.nodes_listed() && self.due.keep.is_none() {
            self.due.keep = Some(Instant::now() + KEEP);
        }
    }

    async fn keep(&mut self) {
        self.due.keep = None;
        let nodes = self.index.cluster().map(|declared| Member {
            registration: self.members.get(&declared.name).copied(),
            declared: declared.clone(),
        });
        let kept = Kept::new(nodes, self.index.texts());
        if let Err(error) = kept.write(&self.settings.kept).await {
            warn!(path = %self.settings.kept.display(), %error, "what is known of the cluster cannot be kept for the next start");
        }
    }
}

impl Due {
    fn table(&mut self) {
        self.table.get_or_insert_with(|| Instant::now() + GATHER);
    }
}

/// A watch goes on for ever.
async fn next<T>(
    events: &mut (impl Stream<Item = watcher::Result<T>> + Unpin),
) -> watcher::Result<T> {
    match events.next().await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
