use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use edge_tunnel_proto::id::RegistrationId;
use edge_tunnel_proto::identity::{Pin, Token, TrustDomain, rfc3339};
use tempfile::TempDir;

use super::*;
use crate::admin::control::TokenState;
use crate::identity::{RENEW_GRACE, Settings};
use crate::route::index::{Index, Settings as Told};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

struct House {
    control: Control,
    folder: TempDir,
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
        let table = Index::new(Told::default()).table();
        let control = Control::new(
            ReplicaId(1),
            Sessions::new(clock.clone(), identity.visits().clone()),
            identity,
            Routes::new(table),
            clock,
        );
        Self { control, folder }
    }

    fn register(&self, node: &str) {
        let registrations = self.control.identity.registrations();
        let (id, now) = (RegistrationId(1), self.control.clock.now());
        registrations
            .register(&node.parse().unwrap(), id, None, now)
            .unwrap();
    }

    fn pass(&self, time: Duration) {
        let clock = &self.control.clock;
        clock.set(clock.now() + time);
    }

    /// From now on this file, or this folder, of the state folder cannot be used: something else stands there.
    fn breaks(&self, name: &str) {
        let path = self.folder.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
            fs::write(&path, "").unwrap();
        } else {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
        }
    }
}

fn token(pattern: &str, ttl: u64) -> NewToken {
    let pattern = pattern.to_owned();
    NewToken {
        subject: TokenSubject::Pattern { pattern, uses: 1 },
        ttl: Duration::from_secs(ttl),
    }
}

fn client(nodes: &str) -> NewClient {
    NewClient {
        name: "alice".parse().unwrap(),
        nodes: nodes.to_owned(),
        ports: Vec::new(),
    }
}

#[tokio::test]
async fn nodes_stand_in_the_order_of_their_names() {
    let house = House::new();
    let mut names: Vec<String> = (0..20).map(|number| format!("edge-{number}")).collect();
    for name in &names {
        house.register(name);
    }
    names.sort();
    let nodes = house.control.nodes().await.unwrap();
    let listed: Vec<_> = nodes.iter().map(|node| node.node.as_str()).collect();
    assert_eq!(listed, names);
}

#[tokio::test]
async fn a_revoked_node_is_listed_as_such() {
    let house = House::new();
    house.register("edge-1");
    house.register("edge-2");
    house.pass(HOUR);
    let node = "edge-1".parse().unwrap();
    house.control.revoke_node(node).await.unwrap();
    let nodes = house.control.nodes().await.unwrap();
    let revoked: Vec<_> = nodes
        .iter()
        .map(|node| (node.node.as_str(), node.revoked))
        .collect();
    let now = house.control.clock.now();
    assert_eq!(revoked, [("edge-1", Some(now)), ("edge-2", None)]);
}

#[tokio::test]
async fn a_token_that_would_be_refused_says_so_when_it_is_made() {
    let house = House::new();
    house.register("edge-1");
    house.register("edge-2");
    let revoked = house.control.revoke_node("edge-2".parse().unwrap()).await;
    revoked.unwrap();
    for (name, replace, warned) in [
        ("edge-1", false, true),
        ("edge-1", true, false),
        ("edge-2", false, false),
        ("edge-3", false, false),
    ] {
        let name = name.parse().unwrap();
        let wanted = NewToken {
            subject: TokenSubject::Node { name, replace },
            ttl: HOUR,
        };
        let made = house.control.token_create(wanted).await.unwrap();
        let warning = made.warning.unwrap_or_default();
        let told = ["edge-1 is registered already", "refused", "--replace"];
        assert_eq!(
            told.iter().all(|words| warning.contains(words)),
            warned,
            "{warning}"
        );
        assert_eq!(warning.is_empty(), !warned, "{warning}");
    }
}

#[tokio::test]
async fn tokens_of_the_last_week_are_listed_with_what_became_of_them() {
    let house = House::new();
    let make = async |pattern: &str, ttl| {
        house
            .control
            .token_create(token(pattern, ttl))
            .await
            .unwrap()
    };
    make("expires-*", 3600).await;
    let revoked = make("revoked-*", 7200).await;
    let used = make("used-*", 10_800).await;
    make("usable-*", 3 * 86_400).await;
    let by: NodeName = "used-1".parse().unwrap();
    let parsed: Token = used.token.parse().unwrap();
    let identity = &house.control.identity;
    let (key, registrations) = (Pin::of_key(b"key"), identity.registrations());
    let tokens = identity.tokens();
    tokens
        .redeem(used.id, &parsed.secret, Some(&by), key, registrations)
        .unwrap();
    house.control.token_revoke(revoked.id).await.unwrap();
    house.pass(2 * HOUR);
    let listed = async || {
        let listed = house.control.token_list().await.unwrap();
        let state = |token: TokenStatus| match token.subject {
            TokenSubject::Pattern { pattern, .. } => (pattern, token.state, token.used_by),
            TokenSubject::Node { .. } => panic!("all are of patterns"),
        };
        listed.into_iter().map(state).collect::<Vec<_>>()
    };
    let is =
        |pattern: &str, state, used_by: &[NodeName]| (pattern.to_owned(), state, used_by.to_vec());
    let usable = is("usable-*", TokenState::Usable, &[]);
    assert_eq!(
        listed().await,
        [
            is("expires-*", TokenState::Expired, &[]),
            is("revoked-*", TokenState::Revoked, &[]),
            is("used-*", TokenState::Used, &[by]),
            usable.clone(),
        ]
    );
    // Days later those three are gone from the list, though nobody has made another token since.
    house.pass(8 * DAY);
    assert_eq!(listed().await, [is("usable-*", TokenState::Expired, &[])]);
}

#[tokio::test]
async fn a_step_that_could_shut_out_agents_waits_or_wants_to_be_told_so() {
    use ControlError::Conflict;
    let house = House::new();
    house.register("edge-1");
    let control = &house.control;
    let began = rfc3339(control.clock.now());
    let shown = control.ca_show().await.unwrap();
    assert!(shown.phase.starts_with("steady"), "{shown:?}");
    assert!(shown.next.contains("`ca rotate introduce`"), "{shown:?}");
    control.ca_rotate(Step::Introduce, false).await.unwrap();
    let until = rfc3339(control.clock.now() + 13 * DAY);
    let shown = control.ca_show().await.unwrap();
    assert!(
        shown.phase.starts_with("introduced") && shown.phase.contains(&began),
        "{shown:?}"
    );
    assert!(
        shown.next.contains(&until) && shown.next.contains("1 registered"),
        "{shown:?}"
    );
    house.pass(13 * DAY - Duration::from_secs(1));
    let Err(Conflict(said)) = control.ca_rotate(Step::Sign, false).await else {
        panic!("it is too soon");
    };
    for words in [
        &began,
        &until,
        "`ca rotate sign`",
        "no agent is connected",
        "--now",
    ] {
        assert!(said.contains(words), "{words:?}: {said}");
    }
    // Another step is out of its turn, however much hurry there is.
    let error = control.ca_rotate(Step::Finish, true).await.unwrap_err();
    assert!(
        matches!(&error, Conflict(why) if why.contains("`ca rotate sign`")),
        "{error}"
    );
    house.pass(Duration::from_secs(1));
    control.ca_rotate(Step::Sign, false).await.unwrap();
    let Err(Conflict(said)) = control.ca_rotate(Step::Finish, false).await else {
        panic!("it is too soon");
    };
    assert!(said.contains("enrol anew"), "{said}");
    let done = control.ca_rotate(Step::Finish, true).await.unwrap();
    assert!(
        done.phase.starts_with("steady") && done.authorities.len() == 1,
        "{done:?}"
    );
}

#[tokio::test]
async fn a_wish_that_cannot_be_granted_is_the_fault_of_whoever_has_it() {
    use ControlError::{Conflict, Invalid, NotFound};
    let house = House::new();
    let control = &house.control;
    let node = "edge-1".parse().unwrap();
    let error = control.revoke_node(node).await.unwrap_err();
    assert!(matches!(error, NotFound(_)), "{error:?}");
    let error = control.token_revoke(TokenId::random()).await.unwrap_err();
    assert!(matches!(error, NotFound(_)), "{error:?}");
    for wanted in [token("no pattern", 60), token("edge-*", 0)] {
        let error = control.token_create(wanted).await.map(drop).unwrap_err();
        assert!(matches!(error, Invalid(_)), "{error:?}");
    }
    for nodes in ["no pattern".to_owned(), vec!["edge-*"; 200].join(",")] {
        let error = control
            .issue_client(client(&nodes))
            .await
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, Invalid(_)), "{error:?}");
    }
    let error = control.ca_rotate(Step::Finish, true).await.unwrap_err();
    assert!(matches!(error, Conflict(_)), "{error:?}");
}

#[tokio::test]
async fn a_state_folder_that_fails_is_the_servers_own_fault() {
    use ControlError::{Conflict, Internal};
    let house = House::new();
    house.register("edge-1");
    for name in ["registrations", "tokens", "ca"] {
        house.breaks(name);
    }
    let control = &house.control;
    let errors = [
        control
            .revoke_node("edge-1".parse().unwrap())
            .await
            .unwrap_err(),
        control
            .token_create(token("edge-*", 60))
            .await
            .map(drop)
            .unwrap_err(),
        control.token_list().await.unwrap_err(),
        control.token_revoke(TokenId::random()).await.unwrap_err(),
        control.ca_rotate(Step::Introduce, false).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Internal(_)), "{error:?}");
    }
    // It signs from memory; what stops it is its time.
    control.clock.set(control.clock.now() + 100 * YEAR);
    let error = control
        .issue_client(client("edge-*"))
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Conflict(_)), "{error:?}");
}
