//! Where the ways in meet what opens streams: one trait, so that they run on memory alone in tests.

use bytes::Bytes;
use edge_tunnel_proto::splice::Socket;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::metrics::OPENED;
use super::socket::{Prefixed, part};
use crate::inbound::Inbound;
use crate::refusal::Refusal;
use crate::route::{Here, Route};

/// Opens streams to nodes.
pub trait Open: Here + Clone + Send + Sync + 'static {
    /// A stream to a node's target.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Which node and target `inbound` means, if it may reach them.
    fn resolve(&self, inbound: &Inbound) -> Result<Route, Refusal>;

    /// Opens a stream to `route`, in bounded time.
    fn open(
        &self,
        inbound: &Inbound,
        route: &Route,
    ) -> impl Future<Output = Result<Self::Stream, Refusal>> + Send;

    /// Opens the stream that `inbound` asks for, if it may have it, be it to what is no node's.
    fn connect(
        &self,
        inbound: &Inbound,
    ) -> impl Future<Output = Result<Self::Stream, Refusal>> + Send {
        async move {
            let route = self.resolve(inbound)?;
            self.open(inbound, &route).await
        }
    }

    /// Cancelled when what is under the stream is to end with its last one: whoever only keeps it for later lets go.
    fn retired(stream: &Self::Stream) -> CancellationToken;

    /// Copies both ways, half-closes included, until both directions have ended or one has failed, which the
    /// other side then sees as a failure.
    fn splice<C: Socket>(client: C, stream: Self::Stream) -> impl Future<Output = ()> + Send;
}

impl<O: Open> Context<O> {
    /// Opens the stream, tells the caller so by `greeting`, in one write, and passes bytes until the end.
    /// `ahead` are the caller's bytes that were read before and belong to the target. Where the stream is
    /// refused the caller gets what `answer` makes of it.
    pub(super) async fn carry<C: Socket>(
        &self,
        inbound: &Inbound,
        client: C,
        ahead: Bytes,
        greeting: &[u8],
        answer: impl FnOnce(&Refusal) -> Vec<u8>,
    ) {
        let mut client = Prefixed::new(ahead, client);
        let stream = match self.opener.connect(inbound).await {
            Ok(stream) => stream,
            Err(refusal) => {
                self.refused(inbound, &refusal);
                part(client, &answer(&refusal)).await;
                return;
            }
        };
        self.metrics.request(self.way, OPENED);
        let (caller, destination) = (&inbound.caller, &inbound.destination);
        tracing::debug!(%caller, %destination, request = %inbound.request_id, "opened");
        let greeted = async {
            client.write_all(greeting).await?;
            client.flush().await
        };
        // A caller that is gone already: the drop aborts the stream.
        if let Err(error) = greeted.await {
            tracing::debug!(%error, "the caller went away while its stream was opened");
            return;
        }
        O::splice(client, stream).await;
    }
}
