//! The renewal of a certificate over a session, beside everything else that is said there: it may have to wait its
//! turn, and an agent that heard nothing meanwhile would take the link for dead.

use std::time::SystemTime;

use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::message::enroll::{Outcome, Refusal, RenewRequest, RenewResponse};
use futures_util::future::BoxFuture;

use super::Context;
use crate::sessions::Session;

/// A session's renewal.
pub(super) struct Renewal<'a> {
    context: &'a Context,
    session: &'a Session,
    /// And since when: a certificate, and the bundle that comes with it, are at least as new as the wish for them.
    under_way: Option<(SystemTime, BoxFuture<'a, RenewResponse>)>,
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
        let work = Box::pin(identity.renew(request, holder));
        self.under_way = Some((self.context.clock.now(), work));
        Ok(())
    }

    /// Waits for the answer; for ever where nothing was asked. Cancel safe.
    pub(super) async fn answer(&mut self) -> RenewResponse {
        let Some((asked, under_way)) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let (asked, response) = (*asked, under_way.await);
        self.under_way = None;
        match &response.outcome {
            Some(Outcome::Issued(_)) => self.session.renewed(asked),
            Some(Outcome::Refusal(refusal)) if !self.told => {
                self.told = true;
                let node = &self.session.holder.node;
                tracing::info!(%node, "a renewal of its certificate was refused: {}", refusal.message);
            }
            _ => {}
        }
        response
    }
}
