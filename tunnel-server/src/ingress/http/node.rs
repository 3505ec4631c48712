//! Requests to nodes: on a connection that waits, or on a new one, and again where the first try never counted.

use std::io;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::stream::StreamError;
use http::{Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;

use super::body::{self, Outgoing};
use super::headers;
use super::pool::{Connection, Key};
use super::{BUFFER_MAX, Http};
use crate::inbound::Inbound;
use crate::ingress::metrics::CALLER_LEFT;
use crate::ingress::open::Open;
use crate::refusal::{Kind, Refusal};
use crate::route::Route;

impl<O: Open> Http<O> {
    /// Sends the request on a waiting connection or, if `fresh` is wanted or none is good, on a new one.
    pub(super) async fn send(
        &self,
        inbound: &Inbound,
        route: &Route,
        mut request: Request<Outgoing>,
        fresh: bool,
    ) -> Result<Response<Incoming>, Refusal> {
        let key = (route.node.clone(), route.target);
        let reusable = reusable(&request);
        if !fresh && let Some(mut waiting) = self.pool.take(&key) {
            let again = replay(&request);
            match waiting.sender.try_send_request(request).await {
                Ok(response) => return self.answered(key, waiting, reusable, response),
                // The node may have closed the connection while the request was on its way: that is no
                // answer. What never left is sent again, and so is what may be done twice (RFC 9110, 9.2.2).
                Err(mut error) => match error
                    .take_message()
                    .or(again.filter(|_| !error.error().is_parse()))
                {
                    Some(unanswered) => request = unanswered,
                    None => return Err(broke(route, &error.into_error())),
                },
            }
        }
        let mut connection = self.dial(inbound, route).await?;
        let response = connection
            .sender
            .send_request(request)
            .await
            .map_err(|error| broke(route, &error))?;
        self.answered(key, connection, reusable, response)
    }

    /// Takes a response that can be passed on, and has its connection wait for the next request if it may.
    fn answered(
        &self,
        key: Key,
        connection: Connection,
        reusable: bool,
        mut response: Response<Incoming>,
    ) -> Result<Response<Incoming>, Refusal> {
        let (node, target) = &key;
        let framed = headers::framing(response.headers_mut()).map_err(|codings| {
            let message = format!(
                "node {node}: {target} answered with Transfer-Encoding {codings:?}, of which only \"chunked\" alone is \
                 undone here; have the service use Content-Encoding"
            );
            Refusal::new(Kind::BadGateway, "bad_response", message)
        })?;
        self.keep(key, connection, reusable && framed);
        Ok(response)
    }

    async fn dial(&self, inbound: &Inbound, route: &Route) -> Result<Connection, Refusal> {
        let stream = self.context.opener.open(inbound, route).await?;
        let retired = O::retired(&stream);
        let shaking = Builder::new()
            .max_buf_size(BUFFER_MAX)
            // The buffer may hold more than it is told to.
            .max_header_size(BUFFER_MAX)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = shaking.await.map_err(|error| broke(route, &error))?;
        let (pool, told) = (self.pool.clone(), retired.clone());
        self.context.shutdown.spawn(async move {
            let mut running = std::pin::pin!(connection.with_upgrades());
            let ended = tokio::select! {
                ended = &mut running => ended,
                () = told.cancelled() => {
                    pool.sweep();
                    running.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "an HTTP connection to a node ended");
            }
        });
        Ok(Connection { sender, retired })
    }

    /// Has the connection wait for the next request once its response is through.
    fn keep(&self, key: Key, mut connection: Connection, reusable: bool) {
        if !reusable {
            return;
        }
        let pool = self.pool.clone();
        self.context.shutdown.spawn(async move {
            if connection.sender.ready().await.is_ok() {
                pool.put(key, connection);
            }
        });
    }
}

/// Whether another request may follow on the same connection. Not behind a body where none has a meaning (RFC 9110,
/// 9.3.1): a node that ignores it takes its bytes for the next request, which is then somebody else's.
fn reusable(request: &Request<Outgoing>) -> bool {
    let bodiless = [
        Method::GET,
        Method::HEAD,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ];
    request.body().is_end_stream() || !bodiless.contains(request.method())
}

/// The same request again, if it may be sent twice: it has no body, and doing it twice does what once does.
fn replay(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let replayable = request.method().is_idempotent() && request.body().is_end_stream();
    replayable.then(|| {
        let mut again = Request::new(body::none());
        *again.method_mut() = request.method().clone();
        *again.uri_mut() = request.uri().clone();
        *again.headers_mut() = request.headers().clone();
        again
    })
}

/// What a failure before the response means.
fn broke(route: &Route, error: &hyper::Error) -> Refusal {
    let Route { node, target } = route;
    if error.is_user() {
        return unread(route, error);
    }
    if let Some(code) = tunnel_fault(error) {
        let words =
            format!("the tunnel to {target} on node {node} broke before the answer: {code}");
        return Refusal::from_agent(code, words);
    }
    let (reason, what) = if error.is_parse() {
        ("bad_response", unreadable(route, error))
    } else {
        (
            "node_closed",
            format!(
                "closed the connection before it answered ({error}); if it speaks TLS, put {} under https-proxy-ports",
                target.port
            ),
        )
    };
    Refusal::new(
        Kind::BadGateway,
        reason,
        format!("node {node}: {target} {what}"),
    )
}

/// In what way the head of an answer cannot be read.
fn unreadable(route: &Route, error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        return "answered with a head that is larger than 64 KiB or has more than 100 lines"
            .to_owned();
    }
    if error.is_parse_status() {
        return "answered with a status line that has no valid status".to_owned();
    }
    // hyper says by its words alone that what came is not even a version of HTTP.
    if error.to_string().contains("HTTP version") {
        return format!(
            "answered with something else than HTTP/1.1; if it speaks TLS, put {} under https-proxy-ports",
            route.target.port
        );
    }
    format!("answered with a head that cannot be read: {error}")
}

/// A request whose body could not be read to its end: that is its caller's doing, and no node's.
fn unread(route: &Route, error: &hyper::Error) -> Refusal {
    let Route { node, target } = route;
    let bad = io_errors(error).find(|error| {
        // Of these kinds are the errors of our own framing and of hyper's, which reads bodies behind an upgrade.
        matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
        )
    });
    let (reason, why) = match bad {
        Some(why) => ("bad_request", why.to_string()),
        None => (
            CALLER_LEFT,
            "its caller left before the whole of it was there".to_owned(),
        ),
    };
    let message =
        format!("the body of the request to {target} on node {node} cannot be served: {why}");
    Refusal::new(Kind::BadRequest, reason, message)
}

/// Why the stream under the connection broke, where it was the tunnel and not the node's service that did.
fn tunnel_fault(error: &hyper::Error) -> Option<Code> {
    let broken =
        io_errors(error).find_map(|error| error.get_ref()?.downcast_ref::<StreamError>())?;
    (broken.code() != Code::Reset).then(|| broken.code())
}

fn io_errors(error: &hyper::Error) -> impl Iterator<Item = &io::Error> {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |error| error.source()).filter_map(|error| error.downcast_ref())
}
