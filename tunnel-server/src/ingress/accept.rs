//! The accept loop: it only accepts. What comes of a connection happens in a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Context;
use super::open::Open;
use super::socket::Socket;

/// How many connections one listener serves at a time; more wait in the kernel's queue. Each listener has permits of
/// its own: they are taken before it is known who comes, and strangers on a port must not keep out the callers of
/// a unix socket.
const CONNECTIONS: usize = 16_384;
/// How long to wait after the first failed accept; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

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
    let mut pause = PAUSE_MIN;
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
                pause = PAUSE_MIN;
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
            // The caller gave up while it waited: nothing is wrong here (accept(2) passes such errors on).
            (Err(error), _) if is_the_callers(&error) => {
                tracing::debug!(%error, "a connection ended before its accept");
            }
            (Err(error), permit) => {
                drop(permit);
                context.metrics.accept_error(context.way);
                tracing::warn!(%error, way = context.way.name(), "cannot accept; is the limit on open files (ulimit -n) reached?");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted | Kind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::DuplexStream;

    use super::*;
    use crate::inbound::Way;
    use crate::ingress::testing::{Fake, context};

    /// Fails with what is at hand: out of file descriptors first, then a caller's reset, then a connection.
    struct Failing(AtomicUsize);

    impl Listener for Failing {
        type Io = DuplexStream;

        async fn accept(&self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0..5 => Err(io::Error::from_raw_os_error(24)),
                5 => Err(io::ErrorKind::ConnectionAborted.into()),
                6 => Ok((tokio::io::duplex(1).0, None)),
                _ => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn errors_are_waited_out_and_shutdown_ends_the_loop() {
        let context = context(Way::Http, Fake::refusing());
        let served = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        let counter = Arc::clone(&served);
        let begun = tokio::time::Instant::now();
        let serve = move |_io, _client| {
            let counter = Arc::clone(&counter);
            async move {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        };
        let looping = accept_loop(&context, Failing(AtomicUsize::new(0)), &stop, serve);
        let stopping = async {
            while served.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(PAUSE_MIN).await;
            }
            context.shutdown.draining().cancel();
        };
        tokio::join!(looping, stopping);
        // 10 + 20 + 40 + 80 + 160 ms.
        assert!(
            begun.elapsed() >= Duration::from_millis(310),
            "{:?}",
            begun.elapsed()
        );
    }

    /// Has as many callers as are let in, and counts them.
    struct Flooded(Arc<AtomicUsize>);

    impl Listener for Flooded {
        type Io = DuplexStream;

        async fn accept(&self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
            self.0.fetch_add(1, Ordering::Relaxed);
            // As a socket's accept does under load: others have their turn.
            tokio::task::consume_budget().await;
            Ok((tokio::io::duplex(1).0, None))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_on_one_listener_leaves_the_others_their_places() {
        let context = context(Way::Connect, Fake::refusing());
        let never = CancellationToken::new();
        let [flooded, beside] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let holding = |_io, _client| std::future::pending();
        let flood = |count: &Arc<AtomicUsize>| {
            accept_loop(&context, Flooded(Arc::clone(count)), &never, holding)
        };
        let both = async { tokio::join!(flood(&flooded), flood(&beside)) };
        // Time passes only when nobody has anything left to do.
        assert!(tokio::time::timeout(PAUSE_MIN, both).await.is_err());
        for count in [flooded, beside] {
            assert_eq!(count.load(Ordering::Relaxed), CONNECTIONS);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_kill_ends_connections_that_would_not_end() {
        let context = context(Way::Tls, Fake::refusing());
        let stop = CancellationToken::new();
        let listener = Failing(AtomicUsize::new(6));
        let looping = accept_loop(&context, listener, &stop, |_io, _client| {
            stop.cancel();
            std::future::pending()
        });
        looping.await;
        assert!(!context.shutdown.finish(Duration::from_secs(5)).await);
        assert!(context.shutdown.tasks().is_empty());
    }
}
