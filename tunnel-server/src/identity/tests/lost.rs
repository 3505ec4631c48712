//! State folders of which a part is gone.

use std::fs;

use super::super::*;
use super::house::{House, open};

#[tokio::test]
async fn a_lost_ca_is_not_replaced_behind_the_backs_of_its_nodes() {
    let house = House::new();
    house.joined("edge-1").await;
    let pin = house.identity.ca().pin();
    let ca = house.folder.path().join("ca");
    let saved = fs::read(&ca).unwrap();
    fs::remove_file(&ca).unwrap();
    let settings = Settings {
        state_dir: house.folder.path().to_owned(),
        trust_domain: TrustDomain::default(),
        clock: house.clock.clone(),
        renew_grace: RENEW_GRACE,
        operator_ca: None,
    };
    let words = Identity::open(settings).unwrap_err().to_string();
    assert!(
        words.contains("although 1 nodes are registered") && words.contains("from a backup"),
        "{words}"
    );
    assert!(!ca.exists(), "a new one was made");
    // Either advice helps.
    fs::write(&ca, saved).unwrap();
    assert_eq!(open(house.folder.path(), &house.clock).ca().pin(), pin);
    for name in ["ca", "registrations", "tokens"] {
        let path = house.folder.path().join(name);
        fs::rename(&path, house.folder.path().join(format!("old-{name}"))).unwrap();
    }
    assert_ne!(open(house.folder.path(), &house.clock).ca().pin(), pin);
}
