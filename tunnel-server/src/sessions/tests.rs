use std::time::{Duration, UNIX_EPOCH};

use edge_tunnel_proto::heartbeat::PROBE;
use edge_tunnel_proto::id::{InstanceId, RegistrationId};
use edge_tunnel_proto::transport::Lane;
use tokio::time::Instant;

use super::*;
use crate::identity::Holder;

/// A session of `edge-1`, and the agent's end of its lane.
fn session(instance: u128, remote: &str) -> (Arc<Session>, Lane) {
    let (agent, server) = edge_tunnel_proto::testing::lanes();
    (session_of(node(), instance, remote, server), agent)
}

fn session_of(node: NodeName, instance: u128, remote: &str, lane: Lane) -> Arc<Session> {
    let holder = Holder {
        node,
        registration: RegistrationId(1),
        issued: UNIX_EPOCH,
        not_after: UNIX_EPOCH,
    };
    let remote = remote.parse().unwrap();
    Arc::new(Session::new(
        holder,
        InstanceId(instance),
        UNIX_EPOCH,
        remote,
        String::new(),
        lane,
    ))
}

fn sessions() -> Sessions {
    let clock = Clock::fixed(UNIX_EPOCH + Duration::from_secs(7));
    Sessions::new(clock, Visits::default())
}

fn node() -> NodeName {
    "edge-1".parse().unwrap()
}

/// What is noted of the node's last session.
fn last(sessions: &Sessions) -> (SocketAddr, Option<crate::identity::Left>) {
    let visit = sessions.0.visits.get(&node()).unwrap();
    (visit.remote, visit.left)
}

#[tokio::test]
async fn an_old_sessions_end_does_not_remove_its_successor() {
    let sessions = sessions();
    let (first, _first) = session(1, "192.0.2.1:1");
    let (second, _second) = session(1, "192.0.2.1:2");
    let old = sessions.claim(&first).await.unwrap();
    let new = sessions.claim(&second).await.unwrap();
    drop(old);
    assert_eq!(sessions.get(&node()).unwrap().remote, second.remote);
    assert_eq!(last(&sessions), (second.remote, None));
    new.leave("the agent left".to_owned());
    assert!(sessions.get(&node()).is_none());
    let (remote, left) = last(&sessions);
    let left = left.unwrap();
    assert_eq!(
        (remote, left.at(), left.reason.as_str()),
        (
            second.remote,
            UNIX_EPOCH + Duration::from_secs(7),
            "the agent left"
        )
    );
}

#[tokio::test]
async fn a_session_that_never_got_going_gives_its_place_back() {
    let sessions = sessions();
    let (first, _first) = session(1, "192.0.2.1:1");
    let (second, _second) = session(1, "192.0.2.1:2");
    let _registered = sessions.claim(&first).await.unwrap();
    drop(sessions.claim(&second).await.unwrap());
    assert_eq!(sessions.get(&node()).unwrap().remote, first.remote);
    assert_eq!(last(&sessions), (first.remote, None));
}

#[tokio::test]
async fn a_second_host_is_refused_while_the_first_answers() {
    let sessions = sessions();
    let (first, _first) = session(1, "192.0.2.1:1");
    let (second, _second) = session(2, "192.0.2.2:2");
    let _registered = sessions.claim(&first).await.unwrap();
    let answering = Arc::clone(&first);
    tokio::spawn(async move {
        answering.probe.notified().await;
        answering.heard.send_replace(Instant::now());
    });
    let refused = sessions.claim(&second).await.unwrap_err().to_string();
    assert!(
        refused.contains("192.0.2.1:1") && refused.contains("192.0.2.2:2"),
        "{refused}"
    );
    assert_eq!(sessions.get(&node()).unwrap().instance, InstanceId(1));
}

#[tokio::test(start_paused = true)]
async fn a_second_host_replaces_one_that_does_not_answer_and_that_one_is_told() {
    let sessions = sessions();
    let (first, _first) = session(1, "192.0.2.1:1");
    let (second, _second) = session(2, "192.0.2.2:2");
    let old = sessions.claim(&first).await.unwrap();
    let began = Instant::now();
    let _new = sessions.claim(&second).await.unwrap();
    assert!(began.elapsed() >= PROBE && began.elapsed() < PROBE * 2);
    let (code, reason) = first.told_to_end().await;
    assert_eq!(code, Code::NotAllowed);
    assert!(reason.contains("192.0.2.2:2"), "{reason}");
    drop(old);
    assert_eq!(sessions.get(&node()).unwrap().instance, InstanceId(2));
}

#[tokio::test]
async fn a_retired_session_takes_no_streams() {
    let sessions = sessions();
    let (first, _first) = session(1, "192.0.2.1:1");
    let _registered = sessions.claim(&first).await.unwrap();
    first.retired.cancel();
    assert!(sessions.get(&node()).is_none());
    assert_eq!(sessions.connected(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retired_session_makes_room_for_its_agents_next_start_at_once() {
    let sessions = sessions();
    let (first, _first) = session(1, "192.0.2.1:1");
    let (second, _second) = session(2, "192.0.2.1:2");
    let _draining = sessions.claim(&first).await.unwrap();
    first.retired.cancel();
    let began = Instant::now();
    let _new = sessions.claim(&second).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(sessions.get(&node()).unwrap().instance, InstanceId(2));
}

#[tokio::test]
async fn a_replaced_session_runs_until_it_ends() {
    let sessions = sessions();
    let (first, _first) = session(1, "192.0.2.1:1");
    let (second, _second) = session(1, "192.0.2.1:2");
    let old = sessions.claim(&first).await.unwrap();
    let _new = sessions.claim(&second).await.unwrap();
    assert_eq!((sessions.connected(), sessions.running().len()), (1, 2));
    drop(old);
    assert_eq!(sessions.running()[0].remote, second.remote);
}

#[tokio::test]
async fn a_place_is_given_back_within_its_node_and_to_none_that_leaves() {
    let sessions = sessions();
    let (first, lane) = session(1, "192.0.2.1:1");
    let (leaving, _leaving) = session(1, "192.0.2.1:2");
    let (last, _last) = session(1, "192.0.2.1:3");
    let other = session_of("edge-2".parse().unwrap(), 1, "192.0.2.1:4", lane);
    let _first = sessions.claim(&first).await.unwrap();
    let _leaving = sessions.claim(&leaving).await.unwrap();
    let last = sessions.claim(&last).await.unwrap();
    let _other = sessions.claim(&other).await.unwrap();
    leaving.retired.cancel();
    drop(last);
    assert_eq!(sessions.get(&node()).unwrap().remote, first.remote);
}

#[tokio::test]
async fn everybody_may_leave_at_once() {
    const NODES: u128 = 20_000;
    let sessions = sessions();
    let (_agent, lane) = edge_tunnel_proto::testing::lanes();
    let mut entered = Vec::new();
    for number in 0..NODES {
        let node = format!("edge-{number}").parse().unwrap();
        let session = session_of(node, number, "192.0.2.1:1", lane.clone());
        entered.push(sessions.claim(&session).await.unwrap());
    }
    let began = Instant::now();
    drop(entered);
    let took = began.elapsed();
    // Far more than it takes, and far less than a look at every session for each one that ends.
    assert!(took < Duration::from_millis(500), "{took:?}");
}
