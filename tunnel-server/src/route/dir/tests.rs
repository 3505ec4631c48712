use std::fs;
use std::os::unix::fs::symlink;

use edge_tunnel_proto::id::Port;

use super::*;
use crate::route::index::Settings;
use crate::route::table::Table;

const A: Port = Port::known(9100);
const B: Port = Port::known(9200);

async fn open(dir: &Path) -> (Source, Routes) {
    let index = Index::new(Settings::default());
    Source::open(dir.to_owned(), index, Metrics::default())
        .await
        .unwrap()
}

/// Waits for a table in which this holds. Much shorter than the slow re-read, so only a notification helps.
async fn until(routes: &Routes, holds: impl Fn(&Table) -> bool) {
    let mut watch = routes.watch();
    let waiting = watch.wait_for(|table| holds(table));
    tokio::time::timeout(NET / 3, waiting)
        .await
        .expect("no such table in time")
        .unwrap();
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nothing");
    let error = Source::open(missing, Index::new(Settings::default()), Metrics::default())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("nothing") && text.contains("--config-dir"),
        "{text}"
    );
}

#[tokio::test]
async fn missing_keys_have_defaults_and_bad_files_are_problems() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("http-proxy-ports"), b"9100,\xff\xfe,9200").unwrap();
    fs::write(dir.path().join("nodes"), vec![b' '; 2 << 20]).unwrap();
    fs::create_dir(dir.path().join("callers")).unwrap();
    fs::write(dir.path().join("http-proxy-port"), "1").unwrap();
    fs::write(dir.path().join(".nodes.swp"), "1").unwrap();
    let (source, routes) = open(dir.path()).await;
    let table = routes.table();
    assert!(
        table.ports().http(A)
            && table.ports().http(B)
            && table.ports().localhost(Port::known(10266))
    );
    assert_eq!(table.problems().count(Key::HttpProxyPorts), 1);
    assert_eq!(table.problems().count(Key::Nodes), 1);
    assert_eq!(table.problems().count(Key::Callers), 1);
    assert_eq!(
        source.last.strangers,
        BTreeSet::from(["http-proxy-port".to_owned()])
    );
}

#[tokio::test]
async fn edits_in_place_renames_and_removals_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("http-proxy-ports");
    let (source, routes) = open(dir.path()).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(source.run(stop.clone()));
    fs::write(&file, "9100").unwrap();
    until(&routes, |table| table.ports().http(A)).await;
    let new = dir.path().join(".new");
    fs::write(&new, "9200").unwrap();
    fs::rename(&new, &file).unwrap();
    until(&routes, |table| {
        table.ports().http(B) && !table.ports().http(A)
    })
    .await;
    fs::remove_file(&file).unwrap();
    until(&routes, |table| !table.ports().http(B)).await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn the_symlink_swap_of_a_mounted_configmap_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let generation = |name: &str, ports: &str| {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("http-proxy-ports"), ports).unwrap();
        symlink(name, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    generation("..2026_01", "9100");
    symlink("..data/http-proxy-ports", at("http-proxy-ports")).unwrap();
    let (source, routes) = open(dir.path()).await;
    assert!(routes.table().ports().http(A));
    let stop = CancellationToken::new();
    let task = tokio::spawn(source.run(stop.clone()));
    generation("..2026_02", "9200");
    fs::remove_dir_all(at("..2026_01")).unwrap();
    until(&routes, |table| {
        table.ports().http(B) && !table.ports().http(A)
    })
    .await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn an_unreadable_directory_keeps_the_last_table_and_its_successor_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    fs::create_dir(&live).unwrap();
    fs::write(live.join("http-proxy-ports"), "9100").unwrap();
    let (mut source, routes) = open(&live).await;
    fs::remove_dir_all(&live).unwrap();
    source.reload().await;
    assert!(routes.table().ports().http(A));
    fs::create_dir(&live).unwrap();
    fs::write(live.join("http-proxy-ports"), "9200").unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(source.run(stop.clone()));
    until(&routes, |table| table.ports().http(B)).await;
    stop.cancel();
    task.await.unwrap();
}
