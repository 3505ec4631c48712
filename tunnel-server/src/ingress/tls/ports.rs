//! The listeners of `https-proxy-ports`: one for each port, opened and closed as the table changes. One
//! that cannot be had is an error of its own entry, tried again, and no business of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::id::Port;
use edge_tunnel_proto::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::{Context, bind};
use super::{Tcp, serve};
use crate::ingress::open::Open;
use crate::route::Routes;

/// How often a listener that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How the listener of one node port fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It listens here.
    Listening(SocketAddr),
    /// It could not be had, for this reason.
    Failed(String),
}

/// How all of them fare, by node port: for the status page. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct States(Arc<Mutex<BTreeMap<Port, State>>>);

impl States {
    /// How they fare at this moment.
    #[must_use]
    pub fn get(&self) -> BTreeMap<Port, State> {
        self.0.lock().clone()
    }
}

/// A listener that is there, until this drops.
struct Listening {
    listen: Port,
    address: SocketAddr,
    _stop: DropGuard,
}

/// Keeps the listeners of `routes` on `ip` until the context's shutdown.
pub async fn serve_ports<O: Open>(context: Context<O>, routes: Routes, ip: IpAddr, states: States) {
    let mut tables = routes.watch();
    let mut listening = BTreeMap::new();
    let mut failed = BTreeMap::new();
    loop {
        let wanted: BTreeMap<Port, Port> =
            tables.borrow_and_update().ports().own_listeners().collect();
        // First the closing, so that a listener may move from one port to another. The accept loop gives
        // its socket back a moment later, which the retry below covers.
        listening.retain(|port, open: &mut Listening| wanted.get(port) == Some(&open.listen));
        let before: BTreeSet<Port> = failed.keys().copied().collect();
        failed.clear();
        for (port, listen) in wanted {
            if listening.contains_key(&port) {
                continue;
            }
            match open(&context, SocketAddr::new(ip, listen.get()), port) {
                Ok((address, stop)) => {
                    tracing::info!(%port, %address, "listening for a port of https-proxy-ports");
                    listening.insert(
                        port,
                        Listening {
                            listen,
                            address,
                            _stop: stop,
                        },
                    );
                }
                Err(error) => {
                    if !before.contains(&port) {
                        tracing::error!(%port, %error, "no listener for a port of https-proxy-ports; trying again");
                    }
                    failed.insert(port, error.to_string());
                }
            }
        }
        context
            .metrics
            .port_listeners(listening.len(), failed.len());
        *states.0.lock() = listening
            .iter()
            .map(|(port, open)| (*port, State::Listening(open.address)))
            .chain(
                failed
                    .iter()
                    .map(|(port, reason)| (*port, State::Failed(reason.clone()))),
            )
            .collect();
        tokio::select! {
            () = context.shutdown.draining().cancelled() => return,
            changed = tables.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if !failed.is_empty() => {}
        }
    }
}

fn open<O: Open>(
    context: &Context<O>,
    at: SocketAddr,
    port: Port,
) -> Result<(SocketAddr, DropGuard), bind::Error> {
    let listener = Tcp::bind(at, "https-proxy-ports")?;
    let address = listener.address();
    let stop = CancellationToken::new();
    context
        .shutdown
        .spawn(serve(context.clone(), listener, port, stop.clone()));
    Ok((address, stop.drop_guard()))
}
