//! The renewal of a certificate over a session, beside everything else that is said there: it may have to wait its
//! turn, and an agent that heard nothing meanwhile would take the link for dead.

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::message::enroll::{Outcome, Refusal, RenewRequest, RenewResponse};
use futures_util::future::BoxFuture;

use super::Context;
use crate::sessions::Session;

/// A session's renewal.
pub(super) struct Renewal<'a> {
    context: &'a Context,
    session: &'a Session,
    under_way: Option<BoxFuture<'a, RenewResponse>>,
    /// A refusal is in the log; an agent may go on asking as often as it likes.
    told: bool,
}

impl<'a> Renewal<'a> {
    /// None is under way.
    pub(super) fn new(context: &'a Context, session: &'a Session) -> Self {
        Self {
            context,
            session,
            under_way: None,
            told: false,
        }
    }

    /// Begins one. An agent has one place among those that wait: asked again before the answer, `Err` is what to say to
    /// that.
    pub(super) fn ask(&mut self, request: RenewRequest) -> Result<(), RenewResponse> {
        if self.under_way.is_some() {
            let words =
                "this node is being renewed; the answer to its first request is still to come";
            let refusal = Refusal::new(Code::Overloaded, words, None);
            return Err(RenewResponse {
                outcome: Some(Outcome::Refusal(refusal)),
            });
        }
        let (identity, holder) = (&self.context.identity, self.session.holder.clone());
        self.under_way = Some(Box::pin(identity.renew(request, holder)));
        Ok(())
    }

    /// Waits for the answer; for ever where nothing was asked. Cancel safe.
    pub(super) async fn answer(&mut self) -> RenewResponse {
        let Some(under_way) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let response = under_way.await;
        self.under_way = None;
        if let Some(Outcome::Refusal(refusal)) = &response.outcome
            && !self.told
        {
            self.told = true;
            let node = &self.session.holder.node;
            tracing::info!(%node, "a renewal of its certificate was refused: {}", refusal.message);
        }
        response
    }
}
