//! Plain HTTP/1.1: requests are read, routed one by one, and sent on over connections to the nodes that are
//! kept and used again. Bodies stream, upgrades pass, errors say which node and why.
//!
//! ```text
//! caller ── Guarded ── hyper server ── Exchange ── pool or dial ── hyper client ── stream to the node
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::splice::Socket;
use edge_tunnel_proto::sync::Mutex;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use self::activity::{Activity, Due, Whole};
use self::exchange::Exchange;
use self::guard::Guarded;
use self::pool::Pool;
use super::Context;
use super::accept::accept_loop;
use super::bind::Tcp;
use super::open::Open;
use crate::route::Routes;

mod activity;
mod body;
mod destination;
mod exchange;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guard;
mod headers;
mod node;
mod pool;
#[cfg(test)]
mod tests;
mod upgrade;

/// The most that hyper buffers of a message, and so the largest head (431 beyond it), in bytes.
const BUFFER_MAX: usize = framing::HEAD_MAX;
/// How often waiting connections to nodes are looked through.
const SWEEP: Duration = Duration::from_secs(30);

/// What is settable.
#[derive(Debug, Clone)]
pub struct Settings {
    /// From a request's last byte to the head of its response.
    pub request: Duration,
    /// How long a connection, a caller's or a node's, waits for the next request.
    pub idle_connection: Duration,
    /// How long a request or response may stand still; kubelet ports and upgrades may for ever.
    pub idle_stream: Duration,
    /// Who is served: `None` is everybody, for a listener on loopback.
    pub allow_from: Option<Vec<IpNet>>,
}

impl Settings {
    /// The defaults for a listener on `address`. Off loopback only sources in `allow_from` are served, since
    /// whoever reaches this way in reaches every `http-proxy-ports` port and 10255 of every node.
    #[must_use]
    pub fn new(address: SocketAddr, allow_from: Vec<IpNet>) -> Self {
        let everybody = address.ip().to_canonical().is_loopback();
        Self {
            request: Duration::from_secs(60),
            idle_connection: Duration::from_secs(5 * 60),
            idle_stream: Duration::from_secs(5 * 60),
            allow_from: (!everybody).then_some(allow_from),
        }
    }

    fn allows(&self, client: Option<SocketAddr>) -> bool {
        match (&self.allow_from, client) {
            (None, _) => true,
            (Some(networks), Some(client)) => networks
                .iter()
                .any(|network| network.contains(&client.ip())),
            (Some(_), None) => false,
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Http<O> {
    context: Context<O>,
    routes: Routes,
    settings: Settings,
    pool: Pool,
}

/// Serves plain HTTP until the context's shutdown; connections then close after the response in hand.
pub async fn serve<O: Open>(
    context: Context<O>,
    listener: Tcp,
    routes: Routes,
    settings: Settings,
) {
    let http = Arc::new(Http::new(context, routes, settings));
    let serving = Arc::clone(&http);
    let serve = move |io, client| {
        let http = Arc::clone(&serving);
        async move { http.connection(io, client).await }
    };
    let never = CancellationToken::new();
    tokio::join!(
        accept_loop(&http.context, listener, &never, serve),
        http.tidy()
    );
}

impl<O: Open> Http<O> {
    fn new(context: Context<O>, routes: Routes, settings: Settings) -> Self {
        let pool = Pool::new(
            settings.idle_connection,
            context.metrics.idle_node_connections.clone(),
        );
        Self {
            context,
            routes,
            settings,
            pool,
        }
    }

    async fn tidy(&self) {
        let draining = self.context.shutdown.draining();
        while !draining.is_cancelled() {
            tokio::select! {
                () = draining.cancelled() => {}
                () = tokio::time::sleep(SWEEP) => self.pool.sweep(),
            }
        }
        self.pool.close();
    }

    async fn connection<C: Socket>(self: Arc<Self>, io: C, client: Option<SocketAddr>) {
        let activity = Activity::new();
        let io = TokioIo::new(Guarded::new(io, Arc::clone(&activity)));
        let exchange = Arc::new(Exchange {
            http: Arc::clone(&self),
            client,
            activity: Arc::clone(&activity),
            upgraded: Mutex::default(),
        });
        let serving = Arc::clone(&exchange);
        let service = service_fn(move |request| {
            let exchange = Arc::clone(&serving);
            let unanswered = exchange.activity.unanswered();
            async move {
                let answer = exchange.answer(request).await;
                drop(unanswered);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .max_buf_size(BUFFER_MAX)
            .serve_connection(io, service)
            .with_upgrades();
        tokio::pin!(connection);
        // Drops before the connection, which then sees what it has to say.
        let _whole = Whole(Arc::clone(&activity));
        let mut draining = false;
        loop {
            let due = match activity.due(&self.settings) {
                Due::Later(when) => when,
                Due::Close => return,
                Due::Abort(why) => {
                    tracing::debug!(why, "gave up a caller's connection");
                    activity.broke();
                    return;
                }
            };
            tokio::select! {
                result = &mut connection => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a caller's connection ended");
                        return;
                    }
                    break;
                }
                () = self.context.shutdown.draining().cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = activity.changed() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
        let upgraded = exchange.upgraded.lock().take();
        if let Some((client, node)) = upgraded {
            upgrade::join::<O, C>(client, node).await;
        }
    }
}
