//! A request that left HTTP: from the 101 on its connection is bytes both ways.

use edge_tunnel_proto::splice::Socket;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::guard::Guarded;
use crate::ingress::open::Open;
use crate::ingress::socket::Prefixed;

/// Joins the two ends once hyper lets go of them, until both directions have ended.
pub(super) async fn join<O: Open, C: Socket>(client: OnUpgrade, node: OnUpgrade) {
    let (client, node) = match tokio::try_join!(client, node) {
        Ok(ends) => ends,
        Err(error) => {
            tracing::debug!(%error, "an upgrade was agreed on and one end went away");
            return;
        }
    };
    let client: Parts<TokioIo<Guarded<C>>> = inner(client);
    let node: Parts<TokioIo<O::Stream>> = inner(node);
    // What either sent right behind its head is the other's.
    let mut client = Prefixed::new(client.read_buf, client.io.into_inner());
    if let Err(error) = client.write_all(&node.read_buf).await {
        tracing::debug!(%error, "the caller went away at its upgrade");
        return;
    }
    O::splice(client, node.io.into_inner()).await;
}

fn inner<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    upgraded: Upgraded,
) -> Parts<TokioIo<T>> {
    upgraded
        .downcast()
        .expect("hyper gives back the socket that it was given")
}
