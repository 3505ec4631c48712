use super::*;

fn now() -> SystemTime {
    instant(1_800_000_000_000)
}

fn open(folder: &std::path::Path) -> Registrations {
    let clock = Clock::fixed(now());
    Registrations::open(Store::open(folder).unwrap(), clock).unwrap()
}

#[test]
fn a_revocation_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (node, id): (NodeName, _) = ("edge-1".parse().unwrap(), RegistrationId::random());
    let registrations = open(folder.path());
    let mut ended = registrations.ended();
    assert_eq!(registrations.standing(&node, id), Standing::Unknown);
    registrations.register(&node, id, None, now()).unwrap();
    registrations.register(&node, id, None, now()).unwrap();
    assert_eq!(registrations.standing(&node, id), Standing::Current);
    assert!(ended.try_recv().is_err());
    registrations.revoke(&node).unwrap();
    assert_eq!(
        ended.try_recv().unwrap(),
        Ended {
            node: node.clone(),
            registration: id
        }
    );
    registrations.revoke(&node).unwrap();
    assert!(ended.try_recv().is_err(), "it ended only once");

    let again = open(folder.path());
    assert_eq!(again.standing(&node, id), Standing::Revoked);
    assert!(matches!(
        again.register(&node, id, None, now()),
        Err(RegistrationError::Moved(_))
    ));
    let (next, before) = (RegistrationId::random(), now() - Duration::from_secs(1));
    assert!(
        again.register(&node, next, Some(id), before).is_err(),
        "by a right from before"
    );
    again.register(&node, next, Some(id), now()).unwrap();
    assert_eq!(again.standing(&node, next), Standing::Current);
    let other = "edge-2".parse().unwrap();
    assert!(matches!(
        again.revoke(&other),
        Err(RegistrationError::Unknown(_))
    ));
}

#[test]
fn a_replacement_names_what_it_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let node: NodeName = "edge-1".parse().unwrap();
    let ids: [_; 3] = std::array::from_fn(|_| RegistrationId::random());
    let registrations = open(folder.path());
    let mut ended = registrations.ended();
    registrations.register(&node, ids[0], None, now()).unwrap();
    assert!(registrations.register(&node, ids[1], None, now()).is_err());
    assert!(
        registrations
            .register(&node, ids[1], Some(ids[2]), now())
            .is_err()
    );
    registrations
        .register(&node, ids[1], Some(ids[0]), now())
        .unwrap();
    assert_eq!(ended.try_recv().unwrap().registration, ids[0]);
    assert_eq!(registrations.standing(&node, ids[0]), Standing::Replaced);
    // A late repetition of the first does not come back over the second.
    assert!(registrations.register(&node, ids[0], None, now()).is_err());
    assert_eq!(registrations.standing(&node, ids[1]), Standing::Current);
}

#[test]
fn another_process_revokes_and_reload_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (node, id): (NodeName, _) = ("edge-1".parse().unwrap(), RegistrationId::random());
    let (ours, theirs) = (open(folder.path()), open(folder.path()));
    ours.register(&node, id, None, now()).unwrap();
    let mut ended = ours.ended();
    theirs.revoke(&node).unwrap();
    assert_eq!(ours.standing(&node, id), Standing::Current);
    ours.reload().unwrap();
    assert_eq!(ended.try_recv().unwrap().registration, id);
    assert_eq!(ours.standing(&node, id), Standing::Revoked);
}

#[test]
fn a_damaged_registration_keeps_its_own_node_out_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (damaged, whole): (NodeName, NodeName) =
        ("edge-1".parse().unwrap(), "edge-2".parse().unwrap());
    let id = RegistrationId::random();
    let registrations = open(folder.path());
    registrations.register(&damaged, id, None, now()).unwrap();
    registrations.register(&whole, id, None, now()).unwrap();
    let file = folder.path().join("registrations").join("edge-1");
    std::fs::write(&file, "{").unwrap();

    // What is known is kept, what is not lets nobody in.
    registrations.reload().unwrap();
    assert_eq!(registrations.standing(&damaged, id), Standing::Current);
    let again = open(folder.path());
    assert_eq!(again.standing(&whole, id), Standing::Current);
    assert_eq!(again.standing(&damaged, id), Standing::Unknown);
    // It is no free name for somebody else.
    let error = again
        .register(&damaged, RegistrationId::random(), None, now())
        .unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert!(error.to_string().contains("edge-1"), "{error}");
}

#[test]
fn a_folder_in_the_place_of_a_registration_keeps_its_own_node_out_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (lost, whole): (NodeName, NodeName) =
        ("edge-1".parse().unwrap(), "edge-2".parse().unwrap());
    let id = RegistrationId::random();
    let registrations = open(folder.path());
    registrations.register(&lost, id, None, now()).unwrap();
    registrations.register(&whole, id, None, now()).unwrap();
    let file = folder.path().join("registrations").join("edge-1");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();

    registrations.reload().unwrap();
    assert_eq!(registrations.standing(&lost, id), Standing::Current);
    let again = open(folder.path());
    assert_eq!(again.standing(&whole, id), Standing::Current);
    assert_eq!(again.standing(&lost, id), Standing::Unknown);
    assert!(
        again
            .register(&lost, RegistrationId::random(), None, now())
            .is_err()
    );
}

#[test]
fn a_closed_registration_keeps_its_own_node_out_and_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (closed, whole): (NodeName, NodeName) =
        ("edge-1".parse().unwrap(), "edge-2".parse().unwrap());
    let id = RegistrationId::random();
    let registrations = open(folder.path());
    registrations.register(&closed, id, None, now()).unwrap();
    registrations.register(&whole, id, None, now()).unwrap();
    let file = folder.path().join("registrations").join("edge-1");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&file).is_ok() {
        // `a_file_that_is_not_ours_is_a_matter_of_its_own` says as much for root.
        eprintln!("skipped: root may read a file of mode 0");
        return;
    }
    registrations.reload().unwrap();
    assert_eq!(registrations.standing(&closed, id), Standing::Current);
    let again = open(folder.path());
    assert_eq!(again.standing(&whole, id), Standing::Current);
    assert_eq!(again.standing(&closed, id), Standing::Unknown);
    let error = again
        .register(&closed, RegistrationId::random(), None, now())
        .unwrap_err();
    assert!(error.to_string().contains("mode 0600"), "{error}");
}

#[test]
fn a_disk_that_does_not_answer_makes_nobody_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let (unread, whole): (NodeName, NodeName) =
        ("edge-1".parse().unwrap(), "edge-2".parse().unwrap());
    let id = RegistrationId::random();
    let (registrations, other) = (open(folder.path()), open(folder.path()));
    registrations.register(&unread, id, None, now()).unwrap();
    registrations.register(&whole, id, None, now()).unwrap();
    let file = folder.path().join("registrations").join("edge-1");
    std::fs::remove_file(&file).unwrap();
    // The one file whose reading the kernel answers with EIO: address 0 of a process is never mapped.
    std::os::unix::fs::symlink("/proc/self/mem", &file).unwrap();
    other.revoke(&whole).unwrap();

    let error = registrations.reload().unwrap_err();
    assert!(error.to_string().contains("edge-1"), "{error}");
    assert_eq!(registrations.standing(&unread, id), Standing::Current);
    assert_eq!(registrations.standing(&whole, id), Standing::Revoked);
    let store = Store::open(folder.path()).unwrap();
    assert!(Registrations::open(store, Clock::fixed(now())).is_err());
}
