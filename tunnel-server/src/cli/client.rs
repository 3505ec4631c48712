//! One question to a running server over its admin socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

/// How long the server may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer, in bytes: a list of some hundred thousand nodes.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no server answers on {0}: it does not run, or it has another state folder. Start it with `edge-tunnel-server \
         run --state-dir {1}`, or say where it is with --state-dir or --admin-socket"
    )]
    NotRunning(PathBuf, String),
    /// The socket is another user's.
    #[error(
        "{0} may not be opened by this user; run the command as the user that runs the server, or as root"
    )]
    NotAllowed(PathBuf),
    /// The connection failed otherwise.
    #[error("the server on {0} cannot be asked: {1}")]
    Failed(PathBuf, String),
    /// It says no.
    #[error("{0}")]
    Refused(String),
}

/// A running server.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Client {
    pub(super) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks one question and reads its answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let body = serde_json::to_vec(body).map_err(|error| self.failed(error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.failed(error))?;
        let exchanged = tokio::time::timeout(TIMEOUT, self.exchange(stream, request)).await;
        let (status, body) = exchanged.map_err(|_elapsed| {
            let waited = TIMEOUT.as_secs();
            self.failed(format!(
                "no answer within {waited} seconds; it may do what was asked all the same, so look before you try again"
            ))
        })??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                self.failed(format!(
                    "its answer is not understood ({error}); is it of another version?"
                ))
            });
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => Err(ClientError::Refused(refusal.error)),
            Err(_no_reason) => Err(self.failed(format!("it answered {status}"))),
        }
    }

    async fn exchange(
        &self,
        stream: UnixStream,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.failed(error))?;
        let answer = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| self.failed(error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX)
                .collect()
                .await
                .map_err(|error| self.failed(error))?;
            Ok((head.status, body.to_bytes()))
        };
        // The connection must be driven while the answer is awaited; when it ends first, the answer says so.
        let driven = async {
            let _ended = connection.await;
            std::future::pending().await
        };
        tokio::select! {
            answer = answer => answer,
            never = driven => never,
        }
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                let folder = socket
                    .parent()
                    .map_or_else(|| ".".into(), |folder| folder.display().to_string());
                ClientError::NotRunning(socket, folder)
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed(socket),
            _ => self.failed(error),
        }
    }

    fn failed(&self, error: impl std::fmt::Display) -> ClientError {
        ClientError::Failed(self.socket.clone(), error.to_string())
    }
}
