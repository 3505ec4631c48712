//! Sessions over memory, by a clock that jumps ahead when nothing happens.

use std::time::UNIX_EPOCH;

use edge_tunnel_proto::id::{NodeName, RegistrationId};
use edge_tunnel_proto::identity::TrustDomain;
use edge_tunnel_proto::message::enroll::{Outcome, RenewRequest};
use edge_tunnel_proto::message::{Ping, Pong};
use edge_tunnel_proto::testing::lanes;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::identity::{RENEW_GRACE, Settings};

const SECOND: Duration = Duration::from_secs(1);

struct House {
    context: Context,
    _folder: TempDir,
}

/// An agent by hand, and the task of its session at the server.
struct ByHand {
    lane: edge_tunnel_proto::transport::Lane,
    control: Framed,
    session: JoinHandle<()>,
}

fn node() -> NodeName {
    "edge-1".parse().unwrap()
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(UNIX_EPOCH + Duration::from_secs(2_200_000_000));
        let identity = Identity::open(Settings {
            state_dir: folder.path().to_owned(),
            trust_domain: TrustDomain::default(),
            clock: clock.clone(),
            renew_grace: RENEW_GRACE,
            operator_ca: None,
        });
        let identity = identity.unwrap();
        let registered =
            identity
                .registrations()
                .register(&node(), RegistrationId(1), None, clock.now());
        registered.unwrap();
        let context = Context {
            replica: ReplicaId(1),
            sessions: Sessions::new(clock.clone(), identity.visits().clone()),
            identity,
            clock,
            silence: Duration::from_secs(20),
            pace: Pace::new(100),
            metrics: Metrics::register(&mut Registry::default()),
            shutdown: Shutdown::new(),
        };
        Self {
            context,
            _folder: folder,
        }
    }

    /// An agent that is welcome.
    async fn agent(&self) -> ByHand {
        let mut agent = self.knock().await;
        assert!(matches!(agent.hears().await, Say::Welcome(_)));
        agent
    }

    /// An agent that has introduced itself.
    async fn knock(&self) -> ByHand {
        let (lane, server) = lanes();
        let connected = Connected {
            lane: server,
            alpn: None,
            certificates: Vec::new(),
            remote: "192.0.2.1:1".parse().unwrap(),
        };
        let holder = Holder {
            node: node(),
            registration: RegistrationId(1),
            issued: self.context.clock.now(),
            not_after: self.context.clock.now() + SECOND,
        };
        let context = self.context.clone();
        let session = async move { run(connected, holder, &context).await };
        let mut agent = ByHand {
            control: Framed::new(lane.open().unwrap()),
            lane,
            session: tokio::spawn(session),
        };
        let hello = Hello {
            build: "by hand".to_owned(),
            version: PROTOCOL_VERSION,
            capabilities: Vec::new(),
            instance: vec![1; 16],
            session: vec![2; 16],
            lane: 0,
        };
        agent.say(Say::Hello(hello)).await;
        agent
    }

    fn session(&self) -> Arc<Session> {
        self.context.sessions.get(&node()).unwrap()
    }
}

impl ByHand {
    async fn say(&mut self, message: Say) {
        let message = Control::from(message);
        self.control.send(Kind::Control, &message).await.unwrap();
    }

    /// The next word of the server that is no question whether the agent is there; those are answered.
    async fn hears(&mut self) -> Say {
        let hears = async {
            loop {
                let frame = self.control.receive().await.unwrap();
                match frame.message::<Control>().unwrap().kind.unwrap() {
                    Say::Ping(ping) => self.say(Say::Pong(Pong { nonce: ping.nonce })).await,
                    other => return other,
                }
            }
        };
        // After that a real agent takes the link for dead.
        timeout(3 * SECOND, hears)
            .await
            .expect("the server says something")
    }

    async fn refusal(&mut self) -> Code {
        match self.hears().await {
            Say::Renewed(response) => match response.outcome.unwrap() {
                Outcome::Refusal(refusal) => Code::from_number(refusal.code),
                Outcome::Issued(_) => panic!("a certificate for nothing"),
            },
            other => panic!("{other:?}"),
        }
    }
}

fn ping(nonce: u64) -> Say {
    let rtt_micros = 0;
    Say::Ping(Ping { nonce, rtt_micros })
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_waits_keeps_nothing_else_waiting() {
    let house = House::new();
    let mut agent = house.agent().await;
    let held = house.context.identity.hold_renewals().await;
    let renew = Say::Renew(RenewRequest { csr: Vec::new() });
    agent.say(renew.clone()).await;
    agent.say(ping(7)).await;
    assert_eq!(agent.hears().await, Say::Pong(Pong { nonce: 7 }));
    // One at a time: an agent that asks again takes no second place in the queue.
    agent.say(renew).await;
    assert_eq!(agent.refusal().await, Code::Overloaded);
    // A second host would be let in if this one did not answer.
    tokio::time::sleep(5 * SECOND).await;
    let session = house.session();
    tokio::select! {
        answers = session.answers() => assert!(answers),
        other = agent.hears() => panic!("{other:?}"),
    }
    drop(held);
    assert_eq!(agent.refusal().await, Code::Protocol, "no request at all");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reads_nothing_is_shut_out_at_once() {
    let house = House::new();
    let mut agent = house.agent().await;
    let session = house.session();
    // Until the server waits for room to answer in, and so reads no more.
    while timeout(SECOND, agent.say(ping(1))).await.is_ok() {}
    assert!(!agent.session.is_finished());
    session.end(Code::Revoked, "node edge-1 was revoked");
    timeout(SECOND, agent.session)
        .await
        .expect("revoked")
        .unwrap();
    let closed = agent.lane.closed().await.to_string();
    assert!(closed.contains("edge-1 was revoked"), "{closed}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_drains_ends_however_much_its_agent_says() {
    let house = House::new();
    let mut agent = house.agent().await;
    house.context.shutdown.draining().cancel();
    assert!(matches!(agent.hears().await, Say::GoAway(_)));
    let began = Instant::now();
    while !agent.session.is_finished() {
        assert!(began.elapsed() < 3 * SECOND);
        agent.say(ping(1)).await;
        agent.hears().await;
        tokio::time::sleep(SECOND * 7 / 10).await;
    }
    agent.session.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_drains_waits_for_a_stream_that_was_late() {
    let house = House::new();
    let agent = house.agent().await;
    let session = house.session();
    house.context.shutdown.draining().cancel();
    tokio::time::sleep(SECOND).await;
    let late = session.count();
    tokio::time::sleep(2 * SECOND).await;
    assert!(!agent.session.is_finished());
    drop(late);
    timeout(3 * SECOND, agent.session)
        .await
        .expect("the session is over")
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_above_the_pace_is_told_when_to_come_back_and_is_taken_then() {
    let house = House::new();
    let mut number = 0;
    while house
        .context
        .pace
        .turn(&format!("other-{number}").parse().unwrap(), false)
        == Turn::Now
    {
        number += 1;
    }
    let mut early = house.knock().await;
    let Say::GoAway(told) = early.hears().await else {
        panic!("it is no GoAway")
    };
    assert_eq!(told.code, Code::Overloaded.number());
    let wait = Duration::from_millis(told.retry_after_millis.into());
    assert!(SECOND <= wait && wait < 2 * SECOND, "{wait:?}");
    assert!(told.reason.contains("in 1.0 s"), "{}", told.reason);
    drop(early.lane);
    early.session.await.unwrap();
    tokio::time::sleep(wait).await;
    house.agent().await;
}
