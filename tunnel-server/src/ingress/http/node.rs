//! Requests to nodes: on a connection that waits, or on a new one, and again where the first try never counted.

use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use super::body::{self, Outgoing};
use super::pool::Key;
use super::{BUFFER_MAX, Http};
use crate::inbound::Inbound;
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
        if !fresh && let Some(mut sender) = self.pool.take(&key) {
            let again = replay(&request);
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(key, sender);
                    return Ok(response);
                }
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
        let mut sender = self.dial(inbound, route).await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broke(route, &error))?;
        self.keep(key, sender);
        Ok(response)
    }

    async fn dial(
        &self,
        inbound: &Inbound,
        route: &Route,
    ) -> Result<SendRequest<Outgoing>, Refusal> {
        let stream = self.context.opener.open(inbound).await?;
        let shaking = Builder::new()
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = shaking.await.map_err(|error| broke(route, &error))?;
        self.context.tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an HTTP connection to a node ended");
            }
        });
        Ok(sender)
    }

    /// Has the connection wait for the next request once its response is through.
    fn keep(&self, key: Key, mut sender: SendRequest<Outgoing>) {
        let pool = self.pool.clone();
        self.context.tasks.spawn(async move {
            if sender.ready().await.is_ok() {
                pool.put(key, sender);
            }
        });
    }
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

fn broke(route: &Route, error: &hyper::Error) -> Refusal {
    let Route { node, target } = route;
    let (reason, what) = if error.is_parse() {
        let hint = format!(
            "answered with something else than HTTP/1.1; if it speaks TLS, put {} under https-proxy-ports",
            target.port
        );
        ("bad_response", hint)
    } else {
        (
            "node_closed",
            format!("closed the connection before it answered ({error})"),
        )
    };
    Refusal::new(
        Kind::BadGateway,
        reason,
        format!("node {node}: {target} {what}"),
    )
}
