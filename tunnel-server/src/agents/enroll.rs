//! Enrolment from the server's side: one request and one answer, then the connection closes.

use std::time::Duration;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::message::capped;
use edge_tunnel_proto::message::enroll::Outcome;
use edge_tunnel_proto::stream::{Incoming, StreamError};
use edge_tunnel_proto::transport::Connected;
use tracing::{debug, info};

use super::Agents;
use crate::identity::Peer;
use crate::session::BUILD_MAX;

/// How long the request may take to come, and the agent to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers one enrolment.
pub(super) async fn serve(connected: Connected, peer: Peer, agents: &Agents) {
    let (lane, remote) = (connected.lane, connected.remote);
    let ask = async {
        let stream = lane
            .accept()
            .await
            .map_err(|closed| StreamError::Io(closed.to_string()))?;
        match Incoming::read(stream).await? {
            Incoming::Enroll(framed, request) => Ok((framed, request)),
            _ => Err(StreamError::Unexpected(Kind::Enroll)),
        }
    };
    let (mut framed, request) = match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(error)) => {
            debug!(%remote, %error, "an enrolment without a request");
            return lane.close(error.code(), "an enrolment begins with its request");
        }
        Err(_elapsed) => return lane.close(Code::TimedOut, "the request did not come"),
    };
    let version = capped(&request.version, BUILD_MAX).to_owned();
    let response = agents.context.identity.enroll(request, peer).await;
    match &response.outcome {
        Some(Outcome::Issued(_)) => {
            agents.metrics.enrolment("issued");
            debug!(%remote, "enrolled");
        }
        Some(Outcome::Refusal(refusal)) => {
            agents
                .metrics
                .enrolment(Code::from_number(refusal.code).name());
            if let Some(line) = agents.strangers.take() {
                let unwritten = line.unwritten;
                info!(%remote, version, unwritten, "enrolment refused: {}", refusal.message);
            }
        }
        None => {}
    }
    let answer = async {
        if framed.send(Kind::Enrolled, &response).await.is_ok() {
            framed.finish().await;
            // The agent closes when it has read the answer.
            lane.closed().await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, answer).await;
    lane.close(Code::Draining, "done");
}
