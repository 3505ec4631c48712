use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn key() -> Key {
    Key::registration(&"edge-1".parse().unwrap())
}

#[test]
fn what_is_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/state");
    let store = Store::open(&path).unwrap();
    assert!(store.read::<u32>(&key()).unwrap().is_none());
    let version = store.write(&key(), &7_u32, None).unwrap();
    let again = Store::open(&path).unwrap();
    assert_eq!(
        again.read::<u32>(&key()).unwrap(),
        Some((7, version.clone()))
    );
    assert_eq!(again.names(Kind::Registration).unwrap(), ["edge-1"]);
    assert!(again.names(Kind::Token).unwrap().is_empty());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&path), mode(&path.join("registrations/edge-1"))),
        (0o700, 0o600)
    );
    again.remove(&key(), &version).unwrap();
    assert!(store.read::<u32>(&key()).unwrap().is_none());
}

#[test]
fn a_write_replaces_only_what_it_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let first = store.write(&key(), &1_u32, None).unwrap();
    assert!(matches!(
        store.write(&key(), &2_u32, None),
        Err(StoreError::Conflict { .. })
    ));
    let second = store.write(&key(), &2_u32, Some(&first)).unwrap();
    assert!(matches!(
        store.write(&key(), &3_u32, Some(&first)),
        Err(StoreError::Conflict { .. })
    ));
    assert!(matches!(
        store.remove(&key(), &first),
        Err(StoreError::Conflict { .. })
    ));
    // A value that was removed and made anew is not the one that was read, however equal.
    store.remove(&key(), &second).unwrap();
    store.write(&key(), &2_u32, None).unwrap();
    assert!(matches!(
        store.remove(&key(), &second),
        Err(StoreError::Conflict { .. })
    ));
}

#[test]
fn updates_of_many_writers_are_all_counted() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // A store of its own each, as several processes would have.
            let store = Store::open(folder.path()).unwrap();
            scope.spawn(move || {
                for _ in 0..10 {
                    let add = |value: Option<u32>| Ok((Some(value.unwrap_or(0) + 1), ()));
                    store.update::<u32, (), StoreError>(&key(), add).unwrap();
                }
            });
        }
    });
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.read::<u32>(&key()).unwrap().unwrap().0, 40);
}

#[test]
fn the_longest_node_name_has_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let node = ["a".repeat(63).as_str(); 4].join(".");
    let node = node.get(..253).unwrap().parse().unwrap();
    store
        .write(&Key::registration(&node), &1_u32, None)
        .unwrap();
    assert_eq!(store.names(Kind::Registration).unwrap(), [node.as_str()]);
}

#[test]
fn what_a_dead_writer_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let left = folder.path().join("tokens/.tmp-1");
    fs::write(&left, "half").unwrap();
    assert!(store.names(Kind::Token).unwrap().is_empty());
    Store::open(folder.path()).unwrap();
    assert!(!left.exists());
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for damaged in ["", "{", "{\"version\":\"1\",\"value\":\"text\"}", "[]"] {
        fs::write(folder.path().join("registrations/edge-1"), damaged).unwrap();
        let words = store.read::<u32>(&key()).unwrap_err().to_string();
        assert!(words.contains("registrations/edge-1 is damaged"), "{words}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let words = Store::open(&file).unwrap_err().to_string();
    assert!(
        words.contains("/file cannot be used") && words.contains("--state-dir"),
        "{words}"
    );
}

#[test]
fn what_is_no_file_is_damaged_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let path = folder.path().join("registrations/edge-1");
    fs::create_dir(&path).unwrap();
    let error = store.read::<u32>(&key()).unwrap_err();
    assert!(error.is_of_one_file(), "{error}");
    let words = error.to_string();
    assert!(
        words.contains("edge-1 is damaged: it is no file") && words.contains("enrol"),
        "{words}"
    );
    fs::remove_dir(&path).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = store.read::<u32>(&key()).unwrap_err();
    assert!(error.is_of_one_file(), "{error}");
    drop(socket);
}

#[test]
fn a_damaged_ca_says_what_a_new_one_costs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    fs::write(folder.path().join("ca"), "{").unwrap();
    let words = store
        .read::<u32>(&Key::authority())
        .unwrap_err()
        .to_string();
    assert!(
        words.contains("/ca is damaged") && words.contains("every agent has to enrol anew"),
        "{words}"
    );
}

#[test]
fn the_culprit_in_the_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".lock")).unwrap();
    let words = Store::open(folder.path()).unwrap_err().to_string();
    assert!(
        words.contains("/.lock cannot be used") && words.contains("move it away"),
        "{words}"
    );
    fs::remove_dir(folder.path().join(".lock")).unwrap();
    fs::create_dir_all(folder.path().join("tokens/.tmp-1")).unwrap();
    let words = Store::open(folder.path()).unwrap_err().to_string();
    assert!(
        words.contains("/.tmp-1 cannot be used") && words.contains("move it away"),
        "{words}"
    );
    fs::remove_dir_all(folder.path().join("tokens")).unwrap();
    fs::write(folder.path().join("tokens"), "").unwrap();
    let words = Store::open(folder.path()).unwrap_err().to_string();
    assert!(words.contains("/tokens cannot be used"), "{words}");
    assert!(words.contains("move it away"), "{words}");
}

#[test]
fn out_of_open_files_is_no_matter_of_a_mode() {
    for (errno, advised) in [
        (nix::libc::EMFILE, "ulimit -n"),
        (nix::libc::ENFILE, "fs.file-max"),
    ] {
        let of = || (PathBuf::from("/s/ca"), io::Error::from_raw_os_error(errno));
        for make in [
            |path, error| StoreError::Read { path, error },
            |path, error| StoreError::Write { path, error },
            |path, error| StoreError::Open { path, error },
        ] {
            let (path, error) = of();
            let error = make(path, error);
            let words = error.to_string();
            assert!(
                words.contains(advised) && !words.contains("mode") && !error.is_of_one_file(),
                "{words}"
            );
        }
    }
}

#[test]
fn a_file_that_is_not_ours_is_a_matter_of_its_own() {
    let of = |errno| StoreError::unopened("/s/ca".into(), io::Error::from_raw_os_error(errno));
    let closed = of(nix::libc::EACCES);
    assert!(closed.is_of_one_file(), "{closed}");
    assert!(closed.to_string().contains("must own it"), "{closed}");
    for errno in [nix::libc::EMFILE, nix::libc::ENFILE, nix::libc::EIO] {
        assert!(!of(errno).is_of_one_file(), "{}", of(errno));
    }
}
