use std::path::Path;

use super::*;
use crate::identity::registrations::instant;

struct Desk {
    tokens: Tokens,
    registrations: Registrations,
    clock: Clock,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

fn desk(folder: &Path) -> Desk {
    let clock = Clock::fixed(instant(1_800_000_000_000));
    let store = Store::open(folder).unwrap();
    let registrations = Registrations::open(store.clone(), clock.clone()).unwrap();
    Desk {
        tokens: Tokens::new(store, clock.clone()),
        registrations,
        clock,
    }
}

fn key(name: &str) -> Pin {
    Pin::of_key(name.as_bytes())
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn for_node(name: &str, replace: bool) -> Scope {
    Scope::Node {
        node: node(name),
        replace,
    }
}

impl Desk {
    fn create(&self, scope: Scope) -> Token {
        self.tokens.create(scope, HOUR, key("ca")).unwrap().0
    }

    fn redeem(
        &self,
        token: &Token,
        wanted: Option<&str>,
        by: &str,
    ) -> Result<(NodeName, RegistrationId), RedeemError> {
        let wanted = wanted.map(node);
        self.tokens.redeem(
            token.id,
            &token.secret,
            wanted.as_ref(),
            key(by),
            &self.registrations,
        )
    }
}

#[test]
fn a_token_registers_its_node_once() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let token = desk.create(for_node("edge-1", false));
    assert!(matches!(
        desk.redeem(&token, Some("edge-2"), "k"),
        Err(RedeemError::WrongNode { .. })
    ));
    let (name, id) = desk.redeem(&token, None, "k").unwrap();
    assert_eq!(name, node("edge-1"));
    assert_eq!(desk.registrations.get(&name).unwrap().id, id);
    // The answer was lost: the same key gets the same again, another key nothing.
    assert_eq!(
        desk.redeem(&token, Some("edge-1"), "k").unwrap(),
        (name, id)
    );
    assert!(matches!(
        desk.redeem(&token, None, "other"),
        Err(RedeemError::Used { .. })
    ));
    desk.registrations.revoke(&node("edge-1")).unwrap();
    assert!(matches!(
        desk.redeem(&token, None, "k"),
        Err(RedeemError::Moved(_))
    ));
    assert!(matches!(
        desk.redeem(&token, None, "other"),
        Err(RedeemError::Used { .. })
    ));
    assert_eq!(desk.tokens.list().unwrap()[0].used_by, [node("edge-1")]);
}

#[test]
fn wrong_secrets_and_unknown_tokens_look_alike() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let token = desk.create(for_node("edge-1", false));
    let Token { id, secret, pin } = token.clone();
    let forged = Token {
        id,
        secret: Secret::random(),
        pin,
    };
    let unknown = Token {
        id: TokenId::random(),
        secret,
        pin,
    };
    for other in [forged, unknown] {
        assert!(matches!(
            desk.redeem(&other, None, "k"),
            Err(RedeemError::Unknown)
        ));
    }
    assert!(
        desk.redeem(&token, None, "k").is_ok(),
        "and nothing was used up"
    );
    let stored =
        std::fs::read_to_string(folder.path().join("tokens").join(token.id.to_string())).unwrap();
    assert!(!stored.contains(token.expose().split('.').nth(2).unwrap()));
}

#[test]
fn one_token_that_cannot_be_read_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let (damaged, lost, whole) = (
        desk.create(for_node("edge-1", false)),
        desk.create(for_node("edge-2", false)),
        desk.create(for_node("edge-3", false)),
    );
    let file = |token: &Token| folder.path().join("tokens").join(token.id.to_string());
    std::fs::write(file(&damaged), "{").unwrap();
    std::fs::remove_file(file(&lost)).unwrap();
    std::fs::create_dir(file(&lost)).unwrap();

    let listed = |desk: &Desk| {
        let tokens = desk.tokens.list().unwrap();
        tokens.into_iter().map(|info| info.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&desk), [whole.id]);
    let next = desk.create(for_node("edge-4", false));
    assert_eq!(listed(&desk).len(), 2);
    assert!(desk.redeem(&next, None, "k").is_ok());
    // Those two let nobody in.
    for token in [damaged, lost] {
        assert!(matches!(
            desk.redeem(&token, None, "k"),
            Err(RedeemError::Store(_))
        ));
        let error = desk.tokens.revoke(token.id).unwrap_err().to_string();
        assert!(error.contains("create another token"), "{error}");
    }
}

#[test]
fn expiry_and_revocation() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let (one, two) = (
        desk.create(for_node("edge-1", false)),
        desk.create(for_node("edge-2", false)),
    );
    desk.tokens.revoke(two.id).unwrap();
    assert!(matches!(
        desk.redeem(&two, None, "k"),
        Err(RedeemError::Revoked)
    ));
    desk.clock.set(desk.clock.now() + HOUR);
    let words = desk.redeem(&one, None, "k").unwrap_err().to_string();
    assert!(words.contains("2027-01-15T09:00:00Z"), "{words}");
    assert!(matches!(
        desk.tokens.revoke(TokenId::random()),
        Err(TokensError::Unknown(_))
    ));
    // Both are forgotten after a week, when the next is made.
    desk.clock.set(desk.clock.now() + KEPT + HOUR);
    let three = desk.create(for_node("edge-3", false));
    assert_eq!(
        desk.tokens
            .list()
            .unwrap()
            .into_iter()
            .map(|info| info.id)
            .collect::<Vec<_>>(),
        [three.id]
    );
    assert!(matches!(
        desk.tokens
            .create(for_node("a", false), Duration::ZERO, key("ca")),
        Err(TokensError::Ttl)
    ));
}

#[test]
fn a_registered_node_is_replaced_only_by_a_token_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let (_, first) = desk
        .redeem(&desk.create(for_node("edge-1", false)), None, "k")
        .unwrap();
    let plain = desk.create(for_node("edge-1", false));
    assert!(matches!(
        desk.redeem(&plain, None, "new"),
        Err(RedeemError::Registered(_))
    ));
    let mut ended = desk.registrations.ended();
    let replace = desk.create(for_node("edge-1", true));
    let (_, second) = desk.redeem(&replace, None, "new").unwrap();
    assert_eq!(ended.try_recv().unwrap().registration, first);
    assert_eq!(desk.redeem(&replace, None, "new").unwrap().1, second);
    // A third comes; the repetition of the second does not push it out.
    let (_, third) = desk
        .redeem(&desk.create(for_node("edge-1", true)), None, "newer")
        .unwrap();
    assert!(matches!(
        desk.redeem(&replace, None, "new"),
        Err(RedeemError::Moved(_))
    ));
    assert_eq!(desk.registrations.get(&node("edge-1")).unwrap().id, third);
}

#[test]
fn a_revoked_node_comes_back_by_a_later_token_for_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    desk.redeem(&desk.create(for_node("edge-1", false)), None, "k")
        .unwrap();
    let before = desk.create(for_node("edge-1", true));
    let pattern = desk.create(Scope::Pattern {
        pattern: "edge-*".parse().unwrap(),
        uses: 9,
    });
    desk.clock.set(desk.clock.now() + Duration::from_secs(1));
    desk.registrations.revoke(&node("edge-1")).unwrap();
    assert!(matches!(
        desk.redeem(&before, None, "k2"),
        Err(RedeemError::Moved(_))
    ));
    assert!(matches!(
        desk.redeem(&pattern, Some("edge-1"), "k2"),
        Err(RedeemError::Registered(_))
    ));
    assert!(
        desk.redeem(&desk.create(for_node("edge-1", false)), None, "k2")
            .is_ok()
    );
}

#[test]
fn a_pattern_lets_in_so_many_new_names() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let scope = |uses| Scope::Pattern {
        pattern: "shop-*".parse().unwrap(),
        uses,
    };
    let token = desk.create(scope(2));
    assert!(matches!(
        desk.redeem(&token, None, "a"),
        Err(RedeemError::NameMissing { .. })
    ));
    assert!(matches!(
        desk.redeem(&token, Some("till-1"), "a"),
        Err(RedeemError::WrongNode { .. })
    ));
    let (_, first) = desk.redeem(&token, Some("shop-1"), "a").unwrap();
    assert!(matches!(
        desk.redeem(&token, Some("shop-1"), "b"),
        Err(RedeemError::Registered(_))
    ));
    desk.redeem(&token, Some("shop-2"), "b").unwrap();
    assert!(matches!(
        desk.redeem(&token, Some("shop-3"), "c"),
        Err(RedeemError::Used { .. })
    ));
    assert_eq!(
        desk.redeem(&token, Some("shop-1"), "a").unwrap().1,
        first,
        "a lost answer"
    );
    for uses in [0, USES_MAX + 1] {
        assert!(matches!(
            desk.tokens.create(scope(uses), HOUR, key("ca")),
            Err(TokensError::Uses)
        ));
    }
}

#[test]
fn of_many_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let token = desk(folder.path()).create(for_node("edge-1", false));
    let winners: Vec<_> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|index| {
                // Each with its own view of the folder, as processes have.
                let (desk, token) = (desk(folder.path()), &token);
                scope.spawn(move || desk.redeem(token, None, &format!("key {index}")).ok())
            })
            .collect();
        tries
            .into_iter()
            .filter_map(|one| one.join().unwrap())
            .collect()
    });
    assert_eq!(winners.len(), 1);
    assert_eq!(
        desk(folder.path())
            .registrations
            .get(&winners[0].0)
            .unwrap()
            .id,
        winners[0].1
    );
}
