use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use edge_tunnel_proto::id::RegistrationId;
use edge_tunnel_proto::identity::TrustDomain;
use tempfile::TempDir;

use super::*;
use crate::identity::{RENEW_GRACE, Settings};
use crate::route::index::Index;
use crate::route::ports::Listeners;

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
        let table = Index::new(Listeners::default()).apply([]);
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
    let error = control.ca_rotate(Step::Finish).await.unwrap_err();
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
        control.ca_rotate(Step::Introduce).await.unwrap_err(),
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
