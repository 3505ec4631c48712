use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::DuplexStream;

use super::*;
use crate::inbound::Way;
use crate::ingress::testing::{Fake, context};

const MOMENT: Duration = Duration::from_millis(10);

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
            tokio::time::sleep(MOMENT).await;
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
    assert!(tokio::time::timeout(MOMENT, both).await.is_err());
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
