//! An API server in memory, for tests of what talks to one: lists in pages, watches, writes by resource version, and the
//! faults of a real one: away, forbidden, too old a version. It knows no types and no admission; what matters of those
//! is shown on a real cluster.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use edge_tunnel_proto::sync::Mutex;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// The API server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    /// Moves with every change, and with everything that ends watches.
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// By path: `/api/v1/namespaces/kube-system/configmaps/x`.
    objects: BTreeMap<String, Value>,
    version: u64,
    /// What changed: version, path of the collection, event.
    changes: VecDeque<(u64, String, Value)>,
    /// Versions below are too old to be watched from.
    oldest: u64,
    away: bool,
    /// How often watches were ended.
    cuts: u64,
    forbidden: HashSet<(Method, String)>,
    requests: Vec<String>,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            moved: watch::Sender::new(0),
        }
    }

    /// A client whose own namespace is `edge-tunnel`.
    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        Client::new(service, "edge-tunnel")
    }

    /// Puts an object at `path`, in the place of what is there.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state.lock().put(path, object);
        self.moves();
    }

    /// The object at `path`.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    pub(crate) fn delete(&self, path: &str) {
        self.state.lock().delete(path);
        self.moves();
    }

    /// No request is answered, and no watch goes on, while it is away.
    pub(crate) fn away(&self, away: bool) {
        let mut state = self.state.lock();
        state.away = away;
        state.cuts += 1;
        drop(state);
        self.moves();
    }

    /// Ends watches, and forgets what they would go on from.
    pub(crate) fn expire(&self) {
        let mut state = self.state.lock();
        state.oldest = state.version + 1;
        state.version += 1;
        state.changes.clear();
        state.cuts += 1;
        drop(state);
        self.moves();
    }

    /// `method` on the collection, or on any object in it, is answered 403 from now on, or no more.
    pub(crate) fn forbid(&self, method: Method, collection: &str, forbid: bool) {
        let key = (method, collection.to_owned());
        let mut state = self.state.lock();
        if forbid {
            state.forbidden.insert(key);
        } else {
            state.forbidden.remove(&key);
        }
    }

    /// What was asked so far: `GET /api/v1/nodes?limit=500`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().requests.clone()
    }

    fn moves(&self) {
        self.moved.send_modify(|moved| *moved += 1);
    }

    async fn answer(&self, request: Request<Body>) -> Result<Answer, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?;
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        let query: BTreeMap<String, String> = head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| {
                (
                    key.to_owned(),
                    value.replace("%3D", "=").replace("%2F", "/"),
                )
            })
            .collect();
        let path = head.uri.path().to_owned();
        let mut state = self.state.lock();
        state.requests.push(format!("{} {}", head.method, head.uri));
        if state.away {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let (collection, name) = split(&path);
        let forbidden = [&path, &collection].into_iter().any(|path| {
            let key = (head.method.clone(), path.clone());
            state.forbidden.contains(&key)
        });
        if forbidden {
            let message = format!(
                "{} is forbidden: User \"system:serviceaccount:edge-tunnel:edge-tunnel-server\" cannot {} it",
                path, head.method
            );
            return Ok(failure(StatusCode::FORBIDDEN, "Forbidden", &message));
        }
        if query.contains_key("watch") {
            let from = query
                .get("resourceVersion")
                .and_then(|version| version.parse().ok())
                .unwrap_or_default();
            let cuts = state.cuts;
            drop(state);
            return Ok(self.watch(collection_of(&path), name_of(&query), from, cuts));
        }
        let moved = head.method != Method::GET;
        let answer = match (head.method, name) {
            (Method::GET, None) => state.list(&path, &query),
            (Method::GET, Some(_)) => state.read(&path),
            (Method::POST, _) => state.create(&path, body),
            (Method::PUT, _) => state.replace(&path, body),
            (Method::DELETE, _) => {
                let answer = state.read(&path);
                state.delete(&path);
                answer
            }
            (method, _) => failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                method.as_str(),
            ),
        };
        drop(state);
        if moved {
            self.moves();
        }
        Ok(answer)
    }

    fn watch(&self, collection: String, name: Option<String>, from: u64, cuts: u64) -> Answer {
        let start = (self.clone(), self.moved.subscribe(), from);
        let events = stream::unfold(start, move |(api, mut moved, mut from)| {
            let (collection, name) = (collection.clone(), name.clone());
            async move {
                loop {
                    moved.borrow_and_update();
                    {
                        let state = api.state.lock();
                        if from + 1 < state.oldest {
                            let gone = status(410, "Expired", "too old resource version");
                            let line = json!({"type": "ERROR", "object": gone}).to_string() + "\n";
                            drop(state);
                            return Some((line, (api, moved, u64::MAX - 1)));
                        }
                        if state.cuts != cuts || from == u64::MAX - 1 {
                            return None;
                        }
                        let next = state.changes.iter().find(|(version, of, event)| {
                            *version > from
                                && *of == collection
                                && name.as_ref().is_none_or(|name| {
                                    event["object"]["metadata"]["name"] == name.as_str()
                                })
                        });
                        if let Some((version, _, event)) = next {
                            from = *version;
                            let line = event.to_string() + "\n";
                            drop(state);
                            return Some((line, (api, moved, from)));
                        }
                    }
                    if moved.changed().await.is_err() {
                        return None;
                    }
                }
            }
        });
        let frames = events.map(|line| Ok(Frame::data(Bytes::from(line))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl State {
    fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        let (_, name) = split(path);
        object["metadata"]["name"] = name.into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            let uid = self
                .objects
                .get(path)
                .map(|old| old["metadata"]["uid"].clone());
            let fresh = format!("00000000-0000-4000-8000-{:012}", self.version);
            object["metadata"]["uid"] = uid.unwrap_or_else(|| fresh.into());
        }
        let known = self
            .objects
            .insert(path.to_owned(), object.clone())
            .is_some();
        self.changed(path, if known { "MODIFIED" } else { "ADDED" }, &object);
    }

    fn delete(&mut self, path: &str) {
        if let Some(mut object) = self.objects.remove(path) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.changed(path, "DELETED", &object);
        }
    }

    fn changed(&mut self, path: &str, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object});
        self.changes.push_back((self.version, split(path).0, event));
    }

    fn list(&self, path: &str, query: &BTreeMap<String, String>) -> Answer {
        let limit = query.get("limit").and_then(|limit| limit.parse().ok());
        let after = query.get("continue").cloned().unwrap_or_default();
        let name = name_of(query);
        let mut found = self.objects.iter().filter(|(of, object)| {
            split(of).0 == path
                && **of > after
                && name
                    .as_ref()
                    .is_none_or(|name| object["metadata"]["name"] == name.as_str())
        });
        let page: Vec<_> = found.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
        let more = found.next().and(page.last()).map(|(of, _)| of.as_str());
        let items: Vec<_> = page.iter().map(|(_, object)| object).collect();
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": more});
        success(&json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    fn read(&self, path: &str) -> Answer {
        match self.objects.get(path) {
            Some(object) => success(object),
            None => not_found(path),
        }
    }

    fn create(&mut self, collection: &str, object: Value) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{collection}/{name}");
        if self.objects.contains_key(&path) {
            let message = format!("{path} already exists");
            return failure(StatusCode::CONFLICT, "AlreadyExists", &message);
        }
        self.put(&path, object);
        self.read(&path)
    }

    fn replace(&mut self, path: &str, object: Value) -> Answer {
        let Some(old) = self.objects.get(path) else {
            return not_found(path);
        };
        let expected = &object["metadata"]["resourceVersion"];
        if !expected.is_null() && *expected != old["metadata"]["resourceVersion"] {
            let message = format!("{path}: the object has been modified");
            return failure(StatusCode::CONFLICT, "Conflict", &message);
        }
        self.put(path, object);
        self.read(path)
    }
}

/// The collection of a path, and the object's name if it is one: collections have an even number of parts after the
/// version, or after the namespace.
fn split(path: &str) -> (String, Option<String>) {
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let base = if parts[0] == "api" { 2 } else { 3 };
    let base = base
        + if parts.get(base) == Some(&"namespaces") {
            2
        } else {
            0
        };
    if parts.len() > base + 1 {
        let (collection, name) = path.rsplit_once('/').expect("a path has a slash");
        (collection.to_owned(), Some(name.to_owned()))
    } else {
        (path.to_owned(), None)
    }
}

fn collection_of(path: &str) -> String {
    split(path).0
}

fn name_of(query: &BTreeMap<String, String>) -> Option<String> {
    let selector = query.get("fieldSelector")?;
    selector.strip_prefix("metadata.name=").map(str::to_owned)
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn not_found(path: &str) -> Answer {
    let message = format!("{path} not found");
    failure(StatusCode::NOT_FOUND, "NotFound", &message)
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Answer {
    let mut answer = success(&status(code.as_u16(), reason, message));
    *answer.status_mut() = code;
    answer
}

fn success(body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string()));
    Response::new(body.map_err(|never| match never {}).boxed_unsync())
}
