//! Where agents find this server: its own Services are watched, and what they come to is published, with the CA bundle,
//! in a ConfigMap that agents mount.
//!
//! In: the Services, the addresses of nodes that are not tunnelled, the live bundle. Out: ConfigMap
//! `edge-tunnel-endpoints`. Every replica does so: the same objects give the same text, and what is there already is not
//! written. A replica writes when what *it* finds has changed, or the ConfigMap has gone; never because another has written
//! something else. So two that see different things for a while, or for ever, do not write in turns.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use edge_tunnel_proto::backoff::Backoff;
use edge_tunnel_proto::identity::Trust;
use futures_util::stream::{BoxStream, select_all};
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::kubernetes;
use crate::route::selector::Selectors;
use nodes::NodeAddresses;
use publish::Content;

mod addresses;
mod nodes;
mod publish;
#[cfg(test)]
mod tests;

/// How long changes are gathered: a change of two Services is two events.
const GATHER: Duration = Duration::from_millis(200);

/// How often the bundle is looked at, and whether it is time to try again what failed.
const LOOK: Duration = Duration::from_secs(5);

/// How often the nodes are listed, while their addresses matter.
const NODES: Duration = Duration::from_secs(60);

/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// What is published, and from what.
pub struct Endpoints {
    /// The server's own cluster; its namespace is the server's own.
    pub client: Client,
    /// The agents' Services there.
    pub services: Vec<String>,
    /// Which nodes nobody can dial.
    pub tunnelled: Selectors,
    /// What is believed.
    pub trust: Trust,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("services", &self.services)
            .field("tunnelled", &self.tunnelled)
            .finish_non_exhaustive()
    }
}

/// The nodes' addresses, when they were last listed.
#[derive(Debug)]
struct Nodes {
    last: Option<Vec<NodeAddresses>>,
    next: Instant,
    backoff: Backoff,
}

/// What is known of one Service.
#[derive(Debug)]
enum Seen {
    Unknown,
    Absent,
    Present(Box<Service>),
}

/// What is known, and what was done about it.
#[derive(Debug)]
struct State {
    /// In the order of [`Endpoints::services`].
    services: Vec<Seen>,
    nodes: Nodes,
    /// The ConfigMap as it was last seen; `None` before.
    there: Option<Option<ConfigMap>>,
    /// What was last published, by this replica or by another before it.
    done: Option<Content>,
    try_again: Instant,
    backoff: Backoff,
    said: Said,
}

impl Endpoints {
    /// Publishes for as long as it is polled. What fails is said once, and tried again.
    pub async fn run(self) {
        let namespace = self.client.default_namespace();
        let services = Api::<Service>::namespaced(self.client.clone(), namespace);
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let mut watches = select_all(self.watches(&services));
        let mut there = watch_object(maps.clone(), publish::NAME)
            .default_backoff()
            .boxed();
        let mut state = State::new(self.services.len());
        let due = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(due);
        loop {
            tokio::select! {
                Some((place, seen)) = watches.next() => {
                    self.service(&mut state, place, seen);
                    due.as_mut().reset(Instant::now() + GATHER);
                }
                seen = next(&mut there) => match seen {
                    Ok(map) => {
                        state.said.well(publish::NAME);
                        state.there = Some(map);
                        due.as_mut().reset(Instant::now() + GATHER);
                    }
                    Err(error) => state.said.trouble(publish::NAME, &format!(
                        "ConfigMap {} cannot be watched: {}", publish::NAME, watch_words(&error)
                    )),
                },
                () = &mut due => {
                    self.step(&mut state, &maps).await;
                    due.as_mut().reset(Instant::now() + LOOK);
                }
            }
        }
    }

    /// A watch for each Service, which gives its place.
    fn watches(
        &self,
        api: &Api<Service>,
    ) -> Vec<BoxStream<'static, (usize, watcher::Result<Option<Service>>)>> {
        let watch = |(place, name): (usize, &String)| {
            let watch = watch_object(api.clone(), name).default_backoff();
            watch.map(move |seen| (place, seen)).boxed()
        };
        self.services.iter().enumerate().map(watch).collect()
    }

    fn service(&self, state: &mut State, place: usize, seen: watcher::Result<Option<Service>>) {
        let name = &self.services[place];
        let subject = format!("Service {name}");
        match seen {
            Ok(service) => {
                state.said.well(&subject);
                let seen = service.map_or(Seen::Absent, |service| Seen::Present(Box::new(service)));
                state.services[place] = seen;
            }
            Err(error) => {
                let words = watch_words(&error);
                state.said.trouble(&subject, &format!(
                    "{subject} cannot be watched, so where agents reach it stays as it was published: {words}"
                ));
            }
        }
    }

    /// Does what is to be done by what is known now.
    async fn step(&self, state: &mut State, maps: &Api<ConfigMap>) {
        let servers = self.servers(state).await;
        let content = Content {
            servers,
            bundle: self.trust.bundle.get().to_pem(),
        };
        // Not before it was seen: one that cannot be watched cannot be kept as it should be.
        let Some(there) = &state.there else { return };
        let gone = there.as_ref().is_none_or(|there| content.lacks(there));
        let changed = state.done.as_ref() != Some(&content);
        if !(gone || changed) || Instant::now() < state.try_again {
            return;
        }
        let subject = "what is published";
        match within(publish::publish(maps, &content)).await {
            Ok(written) => {
                state.said.well(subject);
                state.backoff.reset();
                if written {
                    let servers = content.servers.as_deref().unwrap_or("as they were");
                    let servers: Vec<_> = servers.lines().collect();
                    info!(?servers, "ConfigMap {} is written", publish::NAME);
                }
                state.there = Some(Some(content.as_map()));
                state.done = Some(content);
            }
            Err(words) => {
                state.try_again = Instant::now() + state.backoff.next_delay();
                state.said.trouble(subject, &format!(
                    "ConfigMap {} cannot be written, so agents do not learn where the server is: {words}", publish::NAME
                ));
            }
        }
    }

    /// The servers' addresses, one a line; `None` where they are not known.
    async fn servers(&self, state: &mut State) -> Option<String> {
        let (mut present, mut nodes) = (Vec::new(), None);
        for seen in &state.services {
            match seen {
                Seen::Unknown => return None,
                Seen::Absent => {}
                Seen::Present(service) => present.push(&**service),
            }
        }
        let subject = "the Services";
        if present.is_empty() {
            state.said.trouble(subject, &format!(
                "none of the Services {} exists, so agents do not learn where the server is; make one, or name it with \
                 --agents-service",
                self.services.join(", ")
            ));
            return None;
        }
        if addresses::wants_nodes(&present) {
            self.look_at_nodes(&mut state.nodes, &mut state.said).await;
            nodes = Some(state.nodes.last.as_deref()?);
        }
        let nodes = nodes.unwrap_or_default();
        let found = addresses::find(&present, nodes);
        if found.complaints.is_empty() {
            state.said.well(subject);
        } else {
            state.said.trouble(subject, &found.complaints.join("; "));
        }
        let lines: String = found
            .addresses
            .iter()
            .map(|address| format!("{address}\n"))
            .collect();
        (!lines.is_empty()).then_some(lines)
    }

    async fn look_at_nodes(&self, nodes: &mut Nodes, said: &mut Said) {
        if Instant::now() < nodes.next {
            return;
        }
        let subject = "the Nodes";
        match within(nodes::list(&self.client, &self.tunnelled)).await {
            Ok(found) => {
                said.well(subject);
                nodes.last = Some(found);
                nodes.backoff.reset();
                nodes.next = Instant::now() + NODES;
            }
            Err(words) => {
                nodes.next = Instant::now() + nodes.backoff.next_delay();
                said.trouble(subject, &format!(
                    "the Nodes, at which agents reach the node ports of this server, cannot be listed: {words}"
                ));
            }
        }
    }
}

impl State {
    fn new(services: usize) -> Self {
        Self {
            services: (0..services).map(|_| Seen::Unknown).collect(),
            nodes: Nodes {
                last: None,
                next: Instant::now(),
                backoff: Backoff::default(),
            },
            there: None,
            done: None,
            try_again: Instant::now(),
            backoff: Backoff::default(),
            said: Said::default(),
        }
    }
}

/// What is wrong, by its subject, said once until it is another or over.
#[derive(Debug, Default)]
struct Said(BTreeMap<String, String>);

impl Said {
    fn trouble(&mut self, subject: &str, words: &str) {
        if self.0.get(subject).is_none_or(|said| said != words) {
            warn!("{words}");
            self.0.insert(subject.to_owned(), words.to_owned());
        }
    }

    fn well(&mut self, subject: &str) {
        if self.0.remove(subject).is_some() {
            info!("{subject}: all is well again");
        }
    }
}

/// Watches of kube do not end.
async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    match stream.next().await {
        Some(item) => item,
        None => std::future::pending().await,
    }
}

/// The answer, or why there is none.
async fn within<T>(asked: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(ANSWER, asked).await {
        Ok(answer) => answer.map_err(|error| kubernetes::words(&error)),
        Err(_elapsed) => Err(format!(
            "the API server did not answer within {} s",
            ANSWER.as_secs()
        )),
    }
}

/// What is wrong with a watch.
fn watch_words(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => {
            kubernetes::words(error)
        }
        WatchError(status) => status.message.clone(),
        error => kubernetes::causes(error),
    }
}
