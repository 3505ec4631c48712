//! From a request on the admin socket to a question to [`Control`], and back.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::control::{Control, ControlError};

/// The largest request body, in bytes. Real ones have some hundred.
const BODY_MAX: usize = 16 * 1024;

pub(super) async fn answer<C: Control>(
    control: Arc<C>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    match route(&*control, request).await {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => {
            let text = serde_json::json!({ "error": error.to_string() });
            json(status(&error), text.to_string())
        }
    }
}

async fn route<C: Control>(
    control: &C,
    request: Request<Incoming>,
) -> Result<String, ControlError> {
    let (head, body) = request.into_parts();
    let path: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
    match (&head.method, path.as_slice()) {
        (&Method::GET, ["v1", "nodes"]) => shown(control.nodes().await),
        (&Method::POST, ["v1", "nodes", node, "revoke"]) => {
            shown(control.revoke_node(parse(node)?).await)
        }
        (&Method::GET, ["v1", "tokens"]) => shown(control.token_list().await),
        (&Method::POST, ["v1", "tokens"]) => shown(control.token_create(read(body).await?).await),
        (&Method::DELETE, ["v1", "tokens", id]) => shown(control.token_revoke(parse(id)?).await),
        (&Method::POST, ["v1", "clients"]) => shown(control.issue_client(read(body).await?).await),
        (&Method::GET, ["v1", "ca"]) => shown(control.ca_show().await),
        (&Method::POST, ["v1", "ca", "rotate", step]) => {
            let at_once = match head.uri.query() {
                None => false,
                Some("now") => true,
                Some(other) => {
                    let what = format!("{other:?} is no way to take a step: only ?now is");
                    return Err(ControlError::Invalid(what));
                }
            };
            shown(control.ca_rotate(parse(step)?, at_once).await)
        }
        (method, _) => {
            let what = format!(
                "this server knows no {method} {}; is the command of another version?",
                head.uri.path()
            );
            Err(ControlError::NotFound(what))
        }
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ControlError> {
    text.parse()
        .map_err(|error: T::Err| ControlError::Invalid(error.to_string()))
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, ControlError> {
    let body = Limited::new(body, BODY_MAX).collect().await;
    let body = body
        .map_err(|error| ControlError::Invalid(format!("the request cannot be read: {error}")))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| {
        ControlError::Invalid(format!("the request is not what is expected here: {error}"))
    })
}

fn shown<T: Serialize>(answer: Result<T, ControlError>) -> Result<String, ControlError> {
    serde_json::to_string(&answer?).map_err(|error| ControlError::Internal(error.to_string()))
}

fn status(error: &ControlError) -> StatusCode {
    match error {
        ControlError::Invalid(_) => StatusCode::BAD_REQUEST,
        ControlError::NotFound(_) => StatusCode::NOT_FOUND,
        ControlError::Conflict(_) => StatusCode::CONFLICT,
        ControlError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
