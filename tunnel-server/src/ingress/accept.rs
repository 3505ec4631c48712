//! The accept loop: it only accepts. What comes of a connection happens in a task of its own.

use edge_tunnel_proto::accepting::Accepting;
use edge_tunnel_proto::splice::Socket;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Context;
use super::open::Open;

/// How many connections one listener serves at a time; more wait in the kernel's queue. Each listener has permits of
/// its own: they are taken before it is known who comes, and strangers on a port must not keep out the callers of
/// a unix socket.
const CONNECTIONS: usize = 16_384;

/// A bound listener.
pub trait Listener: Send + Sync + 'static {
    /// A caller's connection.
    type Io: Socket;

    /// The next connection, and where it comes from if that has an address. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;
}

/// Accepts until `stop` or the context's shutdown, then closes the listener; connections go on. A
/// connection's task starts with a permit that was there before its accept, so a flood waits in the kernel.
pub(super) async fn accept_loop<O, L, F>(
    context: &Context<O>,
    listener: L,
    stop: &CancellationToken,
    serve: impl Fn(L::Io, Option<SocketAddr>) -> F,
) where
    O: Open,
    L: Listener,
    F: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut accepting = Accepting::default();
    loop {
        let permits = Arc::clone(&permits);
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = context.shutdown.draining().cancelled() => return,
            accepted = async {
                let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
                (listener.accept().await, permit)
            } => accepted,
        };
        match accepted {
            (Ok((io, client)), permit) => {
                accepting.came();
                let open = context.metrics.connection(context.way);
                let span = tracing::debug_span!(
                    "ingress",
                    way = context.way.name(),
                    client = client.map(tracing::field::display)
                );
                let serving = serve(io, client);
                let task = async move {
                    serving.await;
                    drop((open, permit));
                };
                context.shutdown.spawn(task.instrument(span));
            }
            (Err(error), permit) => {
                drop(permit);
                let who = format!("callers of {}", context.way.name());
                if accepting.failed(&error, &who).await {
                    context.metrics.accept_error(context.way);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
