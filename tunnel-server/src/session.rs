//! One agent's life on the server: it introduces itself, is entered in the registry, and is listened to until its
//! link ends, its identity does, or the server does.

mod ended;
mod leaving;
mod live;
mod metrics;
mod renewal;

use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::id::ReplicaId;
use edge_tunnel_proto::message::control::Kind as Say;
use edge_tunnel_proto::message::{Control, GoAway, Hello, PROTOCOL_VERSION, Welcome, capped};
use edge_tunnel_proto::shutdown::Shutdown;
use edge_tunnel_proto::stream::{Framed, Incoming, StreamError};
use edge_tunnel_proto::telemetry::version;
use edge_tunnel_proto::transport::Connected;
use tracing::{debug, info, warn};

use crate::identity::{Holder, Identity, Standing};
use crate::pace::{Pace, Turn};
use crate::sessions::{Session, Sessions};
use ended::Ended;
use leaving::{COME_BACK, GOODBYE, goodbye};
use live::Live;
pub use metrics::Metrics;

/// How long an agent may take to introduce itself after its handshake.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// When a second host may try again: long enough not to probe the first one all the time.
const RETRY_SECOND_HOST: Duration = Duration::from_secs(30);

/// How much of an agent's build is kept, in bytes.
pub(crate) const BUILD_MAX: usize = 100;

/// What sessions work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// This start of the server.
    pub replica: ReplicaId,
    /// Who is connected.
    pub sessions: Sessions,
    /// Who agents are.
    pub identity: Identity,
    /// The time.
    pub clock: Clock,
    /// After how long a silence a link is probed. Agents ask more often than that.
    pub silence: Duration,
    /// How many agents are taken in a second.
    pub pace: Pace,
    /// What is counted.
    pub metrics: Metrics,
    /// The process's end.
    pub shutdown: Shutdown,
}

/// Runs the session of the agent that is behind `connected`, to its end.
pub async fn run(connected: Connected, holder: Holder, context: &Context) {
    let lane = connected.lane.clone();
    let node = holder.node.clone();
    let outcome = introduce(connected, holder, context).await;
    let (Ok(ended) | Err(ended)) = &outcome;
    let reason = ended.to_string();
    match &outcome {
        Err(Ended::SecondHost(_)) => {
            context.metrics.second_host();
            warn!(%node, "{reason}");
        }
        // There are thousands of these where there is one.
        Err(Ended::NotYet(_)) => debug!(%node, "{reason}"),
        Err(_) => info!(%node, "an agent connected and no session came of it: {reason}"),
        Ok(Ended::Told { .. } | Ended::Silent(_) | Ended::Replaced(_) | Ended::Malformed(_)) => {
            warn!(%node, "session ended: {reason}");
        }
        Ok(_) => info!(%node, "session ended: {reason}"),
    }
    context.metrics.ended(ended.reason());
    lane.close(ended.code(), &reason);
}

/// The agent speaks first: `Hello`, on the control stream that it opens. `Ok`: there was a session, and it ended so.
async fn introduce(
    connected: Connected,
    holder: Holder,
    context: &Context,
) -> Result<Ended, Ended> {
    let hello = async {
        let stream = connected.lane.accept().await.map_err(Ended::Lane)?;
        match Incoming::read(stream).await? {
            Incoming::Control(
                control,
                Control {
                    kind: Some(Say::Hello(hello)),
                },
            ) => Ok((control, hello)),
            _ => Err(Ended::from(StreamError::Unexpected(Kind::Control))),
        }
    };
    let (control, hello) = tokio::time::timeout(HELLO_TIMEOUT, hello)
        .await
        .map_err(|_elapsed| Ended::NoHello(HELLO_TIMEOUT))??;
    welcome(connected, holder, context, control, &hello).await
}

async fn welcome(
    connected: Connected,
    holder: Holder,
    context: &Context,
    mut control: Framed,
    hello: &Hello,
) -> Result<Ended, Ended> {
    let (instance, _session) = hello.parse()?;
    let build = capped(&hello.build, BUILD_MAX).replace(char::is_control, " ");
    let connected_already = context.sessions.get(&holder.node).is_some();
    let turn = context.pace.turn(&holder.node, connected_already);
    let (since, lane) = (context.clock.now(), connected.lane);
    let session = Arc::new(Session::new(
        holder,
        instance,
        since,
        connected.remote,
        build,
        lane,
    ));
    if let Turn::In(wait) = turn {
        let told = Ended::NotYet(wait);
        let told = Say::GoAway(GoAway::new(told.code(), &told.to_string(), Some(wait)));
        goodbye(&mut control, &session, told, COME_BACK).await;
        return Err(Ended::NotYet(wait));
    }
    let registered = match context.sessions.claim(&session).await {
        Ok(registered) => registered,
        Err(second) => {
            let told = Say::GoAway(GoAway::new(
                Code::NotAllowed,
                &second.to_string(),
                Some(RETRY_SECOND_HOST),
            ));
            goodbye(&mut control, &session, told, GOODBYE).await;
            return Err(second.into());
        }
    };
    // A registration that ended between the handshake and the entry was not there to be closed.
    let holder = &session.holder;
    if context
        .identity
        .registrations()
        .standing(&holder.node, holder.registration)
        != Standing::Current
    {
        session.end(
            Code::Revoked,
            format!("the registration of node {} has ended", holder.node),
        );
    }
    let welcome = Welcome {
        replica: context.replica.0,
        build: version().to_owned(),
        version: PROTOCOL_VERSION,
        capabilities: Vec::new(),
    };
    let outcome = Live::new(session, control, context).run(welcome).await;
    let (Ok(ended) | Err(ended)) = &outcome;
    registered.leave(ended.to_string());
    outcome
}

#[cfg(test)]
mod tests;
