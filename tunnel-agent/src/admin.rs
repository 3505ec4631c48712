//! What the agent shows on its own node: `/livez`, `/readyz`, `/metrics`. On loopback; it tells nothing secret, and
//! takes nothing.

use std::sync::Arc;

use edge_tunnel_proto::telemetry::health::Health;
use edge_tunnel_proto::telemetry::{process, version};
use http::{Method, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod http1;

/// Where every metric of the agent is registered; names get the prefix `edge_tunnel_agent_`.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("edge_tunnel_agent");
    registry.register(
        "build",
        "The version that runs",
        Info::new([("version", version())]),
    );
    process::register(&mut registry);
    registry
}

/// What is shown.
#[derive(Debug)]
pub struct Pages {
    /// Asked by `/readyz`.
    pub health: Health,
    /// Shown by `/metrics`.
    pub registry: Registry,
}

/// Serves the pages until `stop`. Cancel it last, so that a draining agent still says that it drains.
pub async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) {
    let pages = Arc::new(pages);
    let answer = move |method: &Method, path: &str, query: &str| pages.answer(method, path, query);
    http1::serve(listener, answer, stop).await;
}

impl Pages {
    fn answer(&self, method: &Method, path: &str, query: &str) -> http1::Answer {
        if *method != Method::GET && *method != Method::HEAD {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let report = self.health.report(query == "verbose");
                let status = if report.ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                text(status, report.text)
            }
            "/metrics" => {
                let mut shown = String::new();
                match encode(&mut shown, &self.registry) {
                    Ok(()) => http1::Answer {
                        status: StatusCode::OK,
                        content_type: OPENMETRICS,
                        body: shown,
                    },
                    Err(error) => text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        format!("the metrics: {error}\n"),
                    ),
                }
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "here are /livez, /readyz, /readyz?verbose and /metrics\n",
            ),
        }
    }
}

/// The form in which prometheus-client writes (OpenMetrics 1.0, "Content-Type").
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn text(status: StatusCode, body: impl Into<String>) -> http1::Answer {
    http1::Answer {
        status,
        content_type: "text/plain; charset=utf-8",
        body: body.into(),
    }
}

#[cfg(test)]
mod tests;
