//! What the server shows of itself and lets itself be told: over TCP the pages `/livez`, `/readyz`, `/metrics` and a
//! status page, which tell nothing secret and take nothing; over a unix socket ([`socket`]) the commands that a
//! person types. Both ask a [`Control`].

use std::sync::Arc;

use bytes::Bytes;
use edge_tunnel_proto::telemetry::health::Health;
use edge_tunnel_proto::telemetry::{process, version};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ingress::tls::ports::States;
use control::Control;

pub mod control;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod http1;
pub mod socket;
mod status;
mod wire;

#[cfg(test)]
pub(crate) mod double;

/// Where every metric of the server is registered; names get the prefix `edge_tunnel_server_`.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("edge_tunnel_server");
    registry.register(
        "build",
        "The version that runs",
        Info::new([("version", version())]),
    );
    process::register(&mut registry);
    registry
}

/// What the TCP listener shows.
#[derive(Debug)]
pub struct Pages<C> {
    /// Asked by `/readyz`.
    pub health: Health,
    /// Shown by `/metrics`.
    pub registry: Registry,
    /// Asked by the status page.
    pub control: Arc<C>,
    /// Shown by the status page.
    pub port_listeners: States,
}

/// Serves the pages until `stop`. Cancel it last, so that a draining server still says that it drains.
pub async fn serve<C: Control>(listener: TcpListener, pages: Pages<C>, stop: CancellationToken) {
    let pages = Arc::new(pages);
    let answer = move |request: Request<_>| {
        let pages = Arc::clone(&pages);
        async move { pages.answer(&request) }
    };
    http1::serve(http1::Listener::Tcp(listener), answer, stop).await;
}

/// The form in which prometheus-client writes (OpenMetrics 1.0, "Content-Type").
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

impl<C: Control> Pages<C> {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return page(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "only GET and HEAD are answered here\n",
            );
        }
        match request.uri().path() {
            "/livez" => page(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => {
                let report = self.health.report(request.uri().query() == Some("verbose"));
                let status = if report.ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                page(status, TEXT, report.text)
            }
            "/metrics" => {
                let mut shown = String::new();
                match encode(&mut shown, &self.registry) {
                    Ok(()) => page(StatusCode::OK, OPENMETRICS, shown),
                    Err(error) => page(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        TEXT,
                        format!("the metrics: {error}\n"),
                    ),
                }
            }
            "/" => page(
                StatusCode::OK,
                HTML,
                status::page(
                    &self.control.overview(),
                    &self.health,
                    &self.port_listeners.get(),
                ),
            ),
            _ => page(
                StatusCode::NOT_FOUND,
                TEXT,
                "here are /, /livez, /readyz, /readyz?verbose and /metrics\n",
            ),
        }
    }
}

fn page(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
