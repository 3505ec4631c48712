//! Whole lives of agents' certificates: handshake, classification, message, files.

mod callers;
mod house;
mod lost;
mod replaced;

use std::time::UNIX_EPOCH;

use edge_tunnel_agent::identity::Standing as AgentStanding;
use edge_tunnel_proto::code::Code;
use edge_tunnel_proto::message::enroll::{Evidence, Outcome, Renew};

use self::house::{DAY, House, open};
use super::*;

fn refusal(outcome: Option<Outcome>) -> (Code, String) {
    match outcome {
        Some(Outcome::Refusal(refusal)) => (Code::from_number(refusal.code), refusal.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_joins_and_is_known() {
    let house = House::new();
    let node = house.node();
    assert_eq!(node.identity.standing(), AgentStanding::Unenrolled);
    assert!(node.identity.session_config().is_err());
    let token = house.token("edge-1", false);
    let held = house.join(&node, &token).await.unwrap();
    let holder = house.dial(&node).unwrap();
    assert_eq!(
        (holder.node.as_str(), holder.registration),
        ("edge-1", held.registration)
    );
    assert_eq!(holder.not_after, held.not_after);
    // The answer was lost: the same agent asks again and is the same.
    assert_eq!(
        house.join(&node, &token).await.unwrap().registration,
        held.registration
    );
    // Another machine with the same token is not.
    let words = house.join(&house.node(), &token).await.unwrap_err();
    assert!(words.contains("used up, by edge-1"), "{words}");
}

#[tokio::test]
async fn a_token_of_another_installation_is_not_even_sent() {
    let (house, other) = (House::new(), House::new());
    let words = house
        .join(&house.node(), &other.token("edge-1", false))
        .await
        .unwrap_err();
    assert!(
        words.starts_with("client:") && words.contains("pin of the join token"),
        "{words}"
    );
}

#[tokio::test]
async fn renewal_over_a_session() {
    let house = House::new();
    let node = house.joined("edge-1").await;
    let before = house.dial(&node).unwrap();
    assert!(node.identity.renew_in().unwrap() >= 10 * DAY);
    house.pass(13 * DAY);
    let held = house.renew(&node).await.unwrap();
    assert_eq!(
        (held.registration, held.not_after),
        (before.registration, before.not_after + 13 * DAY)
    );
    assert_eq!(house.dial(&node).unwrap().not_after, held.not_after);
}

#[tokio::test]
async fn a_renewal_does_not_wait_behind_enrolments() {
    let house = House::new();
    let (node, stranger) = (house.joined("edge-1").await, house.node());
    let token = house.token("edge-2", false);
    let _enrolling = house.identity.0.enrolments.hold().await;
    let moment = Duration::from_millis(100);
    let waits = tokio::time::timeout(moment, house.join(&stranger, &token)).await;
    assert!(waits.is_err(), "{waits:?}");
    let renewed = tokio::time::timeout(Duration::from_secs(10), house.renew(&node)).await;
    renewed.unwrap().unwrap();
}

#[tokio::test]
async fn an_expired_certificate_renews_and_does_nothing_else() {
    let house = House::new();
    let node = house.joined("edge-1").await;
    house.pass(31 * DAY);
    let words = house.dial(&node).unwrap_err();
    assert!(words.contains("can be used to renew"), "{words}");
    house.renew_late(&node).await.unwrap();
    house.dial(&node).unwrap();

    house.pass(30 * DAY + RENEW_GRACE);
    house.renew_late(&node).await.unwrap();
    house.pass(30 * DAY + RENEW_GRACE + Duration::from_secs(1));
    let words = house.renew_late(&node).await.unwrap_err();
    assert!(words.contains("too long ago to renew"), "{words}");
    house
        .join(&node, &house.token("edge-1", true))
        .await
        .unwrap();
    house.dial(&node).unwrap();
}

#[tokio::test]
async fn a_revocation_ends_everything_and_survives_a_restart() {
    let house = House::new();
    let node = house.joined("edge-1").await;
    let holder = house.dial(&node).unwrap();
    let mut ended = house.identity.registrations().ended();
    house.revoke("edge-1");
    assert_eq!(ended.try_recv().unwrap().registration, holder.registration);
    assert!(
        house
            .dial(&node)
            .unwrap_err()
            .contains("edge-1 was revoked")
    );
    assert!(
        house
            .renew_late(&node)
            .await
            .unwrap_err()
            .contains("edge-1 was revoked")
    );
    // Over a session that is just about to be closed.
    let request = node.identity.renew_request().unwrap();
    let response = house.identity.renew(request, holder).await;
    assert_eq!(refusal(response.outcome).0, Code::Revoked);

    let again = House {
        identity: open(house.folder.path(), &house.clock),
        ..house
    };
    assert!(
        again
            .dial(&node)
            .unwrap_err()
            .contains("edge-1 was revoked")
    );
    again
        .join(&node, &again.token("edge-1", false))
        .await
        .unwrap();
    again.dial(&node).unwrap();
}

#[tokio::test]
async fn a_replaced_node_and_one_of_a_lost_state_are_told_so() {
    let house = House::new();
    let (old, new) = (house.joined("edge-1").await, house.node());
    house
        .join(&new, &house.token("edge-1", true))
        .await
        .unwrap();
    house.dial(&new).unwrap();
    let words = house.dial(&old).unwrap_err();
    assert!(words.contains("registered anew"), "{words}");
    std::fs::remove_file(house.folder.path().join("registrations/edge-1")).unwrap();
    house.identity.reload().unwrap();
    let words = house.dial(&new).unwrap_err();
    assert!(words.contains("not registered at this server"), "{words}");
}

#[tokio::test]
async fn clocks_that_disagree_are_named() {
    let house = House::new();
    let node = house.joined("edge-1").await;
    house.clock.set(house.clock.now() - DAY);
    let words = house.dial(&node).unwrap_err();
    assert!(
        words.contains("node edge-1") && words.contains("the server's clock is behind"),
        "{words}"
    );
}

#[tokio::test]
async fn a_node_without_a_battery_clock_joins_and_connects() {
    let house = House::new();
    let folder = tempfile::tempdir().unwrap();
    let settings = edge_tunnel_agent::identity::Settings {
        state_dir: folder.path().to_owned(),
        trust_domain: TrustDomain::default(),
        clock: Clock::fixed(UNIX_EPOCH),
    };
    // The house lives in the year of the agent's build and a half.
    let agent = edge_tunnel_agent::identity::Identity::open(&settings).unwrap();
    house.clock.set(settings.clock.now() + 500 * DAY);
    let house = House {
        identity: open(&house.folder.path().join("new"), &house.clock),
        ..house
    };
    let token = house.token("edge-1", false);
    let peer = house.meet(agent.join_config(&token)).unwrap();
    let response = house
        .identity
        .enroll(
            agent
                .join_request(&token, None, &"host".parse().unwrap())
                .unwrap(),
            peer,
        )
        .await;
    agent.take_in(response.outcome).await.unwrap();
    assert!(
        settings.clock.now() >= house.clock.now(),
        "its certificate's issue is its clock's floor"
    );
    assert!(matches!(
        house.meet(agent.session_config().unwrap()),
        Ok(Peer::Agent(_))
    ));
}

#[tokio::test]
async fn the_ca_changes_under_its_agents() {
    let house = House::new();
    let (diligent, lazy) = (house.joined("edge-1").await, house.joined("edge-2").await);
    let early = house.token("edge-3", false);
    let ca = house.identity.ca();
    for step in [Step::Introduce, Step::Sign] {
        ca.rotate(step).unwrap();
        for node in [&diligent, &lazy] {
            house.dial(node).unwrap();
        }
        house.renew(&diligent).await.unwrap();
        house.dial(&diligent).unwrap();
    }
    // Tokens of before and after, by different pins.
    house.join(&house.node(), &early).await.unwrap();
    let fresh = house.joined("edge-4").await;
    ca.rotate(Step::Finish).unwrap();
    house.dial(&diligent).unwrap();
    house.dial(&fresh).unwrap();
    assert!(house.dial(&lazy).unwrap_err().starts_with("client:"));
    house
        .join(&lazy, &house.token("edge-2", true))
        .await
        .unwrap();
    house.dial(&lazy).unwrap();
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_reason() {
    let house = House::new();
    let node = house.joined("edge-1").await;
    let nobody = || Peer::Enrolling { holder: None };
    let renew = node.identity.late_renew_request().unwrap();

    let later = EnrollRequest {
        evidence: None,
        ..renew.clone()
    };
    assert_eq!(
        refusal(house.identity.enroll(later, nobody()).await.outcome).0,
        Code::Unsupported
    );
    let (code, words) = refusal(house.identity.enroll(renew.clone(), nobody()).await.outcome);
    assert!(
        code == Code::NotAllowed && words.contains("showed none"),
        "{words}"
    );
    let peer = house.meet(node.identity.renew_config().unwrap()).unwrap();
    let junk = EnrollRequest {
        csr: vec![0x30; 100],
        evidence: Some(Evidence::Renew(Renew {})),
        ..renew
    };
    assert_eq!(
        refusal(house.identity.enroll(junk, peer).await.outcome).0,
        Code::Protocol
    );

    let token = house.token("edge-2", false);
    let request = node
        .identity
        .join_request(&token, None, &"host".parse().unwrap())
        .unwrap();
    let named = EnrollRequest {
        node: "Edge 2".to_owned(),
        ..request.clone()
    };
    assert_eq!(
        refusal(house.identity.enroll(named, nobody()).await.outcome).0,
        Code::Protocol
    );
    let Some(Evidence::JoinToken(mut cut)) = request.evidence.clone() else {
        panic!("a token")
    };
    cut.secret.pop();
    let cut = EnrollRequest {
        evidence: Some(Evidence::JoinToken(cut)),
        ..request
    };
    let (code, words) = refusal(house.identity.enroll(cut, nobody()).await.outcome);
    assert!(
        code == Code::NotAllowed && words.contains("not known here"),
        "{words}"
    );
}

#[tokio::test]
async fn a_hosts_name_counts_only_where_nothing_else_names_the_node() {
    let house = House::new();
    let pattern = Scope::Pattern {
        pattern: "shop-*".parse().unwrap(),
        uses: 2,
    };
    let (for_shops, _) = house
        .identity
        .create_token(pattern, Duration::from_secs(3600))
        .unwrap();
    for (token, told, host, joined) in [
        (house.token("edge-1", false), None, "shop-1", "edge-1"),
        (for_shops.clone(), None, "shop-1", "shop-1"),
        (for_shops, Some("shop-2"), "localhost", "shop-2"),
    ] {
        let node = house.node();
        let told = told.map(|name| name.parse().unwrap());
        let request = node
            .identity
            .join_request(&token, told.as_ref(), &host.parse().unwrap())
            .unwrap();
        let peer = Peer::Enrolling { holder: None };
        let outcome = house.identity.enroll(request, peer).await.outcome;
        let held = node.identity.take_in(outcome).await.unwrap();
        assert_eq!(held.node.as_str(), joined);
    }
}

#[tokio::test]
async fn a_full_disk_is_the_servers_fault_and_passes() {
    let house = House::new();
    let node = house.node();
    let token = house.token("edge-1", false);
    // A folder in the place of the record cannot be replaced by a file, whoever runs the test.
    std::fs::create_dir(house.folder.path().join("registrations/edge-1")).unwrap();
    let request = node
        .identity
        .join_request(&token, None, &"host".parse().unwrap())
        .unwrap();
    let response = house
        .identity
        .enroll(request, Peer::Enrolling { holder: None })
        .await;
    let Some(Outcome::Refusal(refusal)) = response.outcome else {
        panic!("refused")
    };
    assert_eq!(Code::from_number(refusal.code), Code::Internal);
    assert!(
        refusal.retry_after().is_some() && !refusal.message.contains('/'),
        "{}",
        refusal.message
    );
    std::fs::remove_dir(house.folder.path().join("registrations/edge-1")).unwrap();
    house.join(&node, &token).await.unwrap();
}
