//! Bodies on the way through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::activity::{Activity, Busy};

/// A request's body, to a node.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, hyper::Error>;
/// A response's body, to a caller.
pub(super) type Answer = UnsyncBoxBody<Bytes, hyper::Error>;

/// No body.
pub(super) fn none() -> Outgoing {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// One line of ours.
pub(super) fn text(line: &str) -> Answer {
    Full::new(Bytes::from(format!("{line}\n")))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A node's body on its way to the caller: its request counts until it is through, and where it breaks off
/// so does the caller's connection.
pub(super) struct FromNode {
    body: Incoming,
    activity: Arc<Activity>,
    _busy: Busy,
}

impl FromNode {
    pub(super) fn new(body: Incoming, activity: Arc<Activity>, busy: Busy) -> Self {
        Self {
            body,
            activity,
            _busy: busy,
        }
    }
}

impl Body for FromNode {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Err(_)) = &frame {
            self.activity.broke();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
