//! One request and its response: where to, on which connection, what changes, when to give up.

use std::net::SocketAddr;
use std::sync::Arc;

use edge_tunnel_proto::id::RequestId;
use edge_tunnel_proto::sync::Mutex;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;

use super::activity::{Activity, Busy};
use super::body::{self, Answer, FromNode, Outgoing};
use super::{Http, destination, headers};
use crate::inbound::{Caller, Inbound, Way};
use crate::ingress::answer;
use crate::ingress::metrics::{CALLER_LEFT, OPENED};
use crate::ingress::open::Open;
use crate::refusal::{Kind, Refusal};
use crate::route::Route;
use crate::route::ports::{KUBELET_HTTP, KUBELET_TLS};

/// What is served here, for those who ask for something else.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// One caller's connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Exchange<O> {
    pub(super) http: Arc<Http<O>>,
    pub(super) client: Option<SocketAddr>,
    pub(super) activity: Arc<Activity>,
    /// The two ends of a request that left HTTP, for the connection's own task to join: as long as they are joined it
    /// keeps its place among the connections, and the kill reaches it.
    pub(super) upgraded: Mutex<Option<(OnUpgrade, OnUpgrade)>>,
}

impl<O: Open> Exchange<O> {
    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        if let Some(why) = self.activity.refused(&request) {
            let status = StatusCode::from_u16(why.status).expect("ours are statuses");
            self.nowhere(why.reason, &why.text);
            return plain(status, &why.text);
        }
        // Behind such a head nothing was checked: no second request is taken from the connection.
        let last = request.headers().contains_key(UPGRADE) || request.method() == Method::CONNECT;
        let mut response = match self.serve(request).await {
            Ok(response) => response,
            Err(refusal) => refused(&refusal),
        };
        if last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn serve(&self, mut request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
        if !self.http.settings.allows(self.client) {
            let from = self
                .client
                .map_or_else(|| "here".to_owned(), |client| client.ip().to_string());
            let message = format!(
                "callers from {from} are not served: add their network to --http-allow-from"
            );
            return Err(self.unrouted(Refusal::new(
                Kind::Forbidden,
                "source_not_allowed",
                message,
            )));
        }
        if request.method() == Method::CONNECT {
            let text = "CONNECT is served by the connect way in: --connect-uds, or --connect-listen with a client certificate";
            self.nowhere("method", text);
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, text);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(METHODS));
            return Ok(response);
        }
        let asked = destination::find(request.uri(), request.headers())
            .map_err(|refusal| self.unrouted(refusal))?;
        let inbound = Inbound {
            destination: asked.destination,
            way: Way::Http,
            caller: Caller::Anyone,
            grant: None,
            client: self.client,
            request_id: RequestId::random(),
        };
        let upgrade =
            headers::upgrade(request.headers()).filter(|_| request.version() == Version::HTTP_11);
        let port = inbound.destination.port;
        let patient = upgrade.is_some() || port == KUBELET_HTTP || port == KUBELET_TLS;
        let busy = self.activity.request(patient);
        let on_client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let request = onward(request, &inbound, asked.host, upgrade);
        let result = async {
            let route = self
                .http
                .routes
                .resolve(&inbound, &self.http.context.opener)?;
            let fresh = on_client.is_some();
            let sent = self.http.send(&inbound, &route, request, fresh);
            let response = self.in_time(&route, sent).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Ok((response, None));
            }
            match on_client {
                Some(on_client) => Ok((response, Some(on_client))),
                None => Err(unasked(&route)),
            }
        };
        let (mut response, on_client) = result
            .await
            .inspect_err(|refusal| self.unserved(&inbound, refusal))?;
        self.http.context.metrics.request(Way::Http, OPENED);
        let Some(on_client) = on_client else {
            return Ok(self.back(response, busy));
        };
        let agreed = response.headers().get(UPGRADE).cloned();
        let on_node = hyper::upgrade::on(&mut response);
        *self.upgraded.lock() = Some((on_client, on_node));
        let mut response = response.map(|_| body::none());
        headers::back(response.headers_mut(), agreed);
        Ok(response)
    }

    fn unrouted(&self, refusal: Refusal) -> Refusal {
        self.nowhere(refusal.reason, &refusal.message);
        refusal
    }

    /// Counts a request that never got a destination, and logs it unless there were too many.
    fn nowhere(&self, reason: &'static str, text: &str) {
        let context = &self.http.context;
        context.turned_away(Some(&Caller::Anyone), self.client, reason, text);
    }

    /// Counts and logs a request that got no response from its node.
    fn unserved(&self, inbound: &Inbound, refusal: &Refusal) {
        if refusal.reason != CALLER_LEFT {
            return self.http.context.refused(inbound, refusal);
        }
        self.http.context.metrics.request(Way::Http, CALLER_LEFT);
        tracing::debug!(destination = %inbound.destination, request = %inbound.request_id, "{refusal}");
    }

    fn back(&self, response: Response<Incoming>, busy: Busy) -> Response<Answer> {
        let mut response = response
            .map(|body| FromNode::new(body, Arc::clone(&self.activity), busy).boxed_unsync());
        headers::back(response.headers_mut(), None);
        // hyper brings it to what the caller speaks.
        *response.version_mut() = Version::HTTP_11;
        response
    }

    /// Gives up when no response's head came for too long after the last byte of the request.
    async fn in_time<T>(
        &self,
        route: &Route,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let limit = self.http.settings.request;
        let begun = tokio::time::Instant::now();
        tokio::pin!(work);
        loop {
            let deadline = self.activity.last().max(begun) + limit;
            tokio::select! {
                biased;
                result = &mut work => return result,
                () = tokio::time::sleep_until(deadline) => {}
            }
            if self.activity.last().max(begun) + limit <= tokio::time::Instant::now() {
                let message = format!(
                    "node {}: {} did not answer within {} s",
                    route.node,
                    route.target,
                    limit.as_secs()
                );
                return Err(Refusal::new(Kind::Timeout, "response_timeout", message));
            }
        }
    }
}

/// What is said of a node's service that leaves HTTP although nobody asked it to: whatever comes next is no answer.
fn unasked(route: &Route) -> Refusal {
    let Route { node, target } = route;
    let message = format!(
        "node {node}: {target} answered 101 Switching Protocols to a request that asked for no upgrade; mend the service"
    );
    Refusal::new(Kind::BadGateway, "bad_response", message)
}

/// A caller's request as one to a node.
fn onward(
    request: Request<Incoming>,
    inbound: &Inbound,
    host: Option<HeaderValue>,
    upgrade: Option<HeaderValue>,
) -> Request<Outgoing> {
    let (mut parts, body) = request.into_parts();
    let client = inbound.client.map(|client| client.ip());
    headers::onward(&mut parts.headers, client, inbound.request_id, upgrade);
    if let Some(host) = host {
        parts.headers.insert(http::header::HOST, host);
    }
    let mut request = Request::new(body.boxed_unsync());
    *request.method_mut() = parts.method;
    // Origin-form: a node's service is no proxy.
    *request.uri_mut() = parts
        .uri
        .path_and_query()
        .cloned()
        .map(Uri::from)
        .unwrap_or_default();
    *request.headers_mut() = parts.headers;
    request
}

fn refused(refusal: &Refusal) -> Response<Answer> {
    let status = StatusCode::from_u16(refusal.kind.status()).expect("a kind's status is one");
    let mut response = plain(status, &refusal.message);
    if let Some(after) = refusal.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, after.as_secs().max(1).into());
    }
    response
}

fn plain(status: StatusCode, line: &str) -> Response<Answer> {
    let mut response = Response::new(body::text(line));
    *response.status_mut() = status;
    // Prometheus and `curl -v` show the status line alone.
    if let Ok(phrase) = ReasonPhrase::try_from(answer::phrase(line).into_bytes()) {
        response.extensions_mut().insert(phrase);
    }
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
