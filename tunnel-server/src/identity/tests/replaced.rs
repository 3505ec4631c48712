//! Files that others put in place, in one step each and as often as they can, while handshakes and enrolments run: what
//! is seen is the old one or the new one, and nobody fails by it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use edge_tunnel_proto::identity::write_private;

use super::super::*;
use super::house::House;

const NODES: usize = 8;
const TURNS: usize = 40;

/// Puts one text after the other in the place of each file, over and over.
fn replace(files: &[(PathBuf, Vec<Vec<u8>>)], over: &AtomicBool, replaced: &AtomicUsize) {
    let mut turn = 0;
    while !over.load(Ordering::Relaxed) {
        for (path, texts) in files {
            write_private(path, &texts[turn % texts.len()]).unwrap();
            replaced.fetch_add(1, Ordering::Relaxed);
        }
        turn += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_replaced_under_load_are_old_or_new_and_nobody_fails() {
    let house = House::new();
    let mut nodes = Vec::new();
    for number in 0..NODES {
        nodes.push(house.joined(&format!("edge-{number}")).await);
    }
    let in_house = |name: &str| house.folder.path().join(name);
    let read = |path: &PathBuf| std::fs::read(path).unwrap();
    // The CA alone, and with the next one introduced.
    let ca = in_house("ca");
    let (steady, alone) = (read(&ca), house.identity.ca().show().bundle);
    house.identity.ca().rotate(Step::Introduce).unwrap();
    let both = house.identity.ca().show().bundle;
    let mut files = vec![(ca.clone(), vec![steady, read(&ca)])];
    // Registrations and an unused token, as by a restored backup; of the agents' folders, certificate and bundle.
    for (number, node) in nodes.iter().enumerate() {
        let registration = in_house(&format!("registrations/edge-{number}"));
        let text = read(&registration);
        files.push((registration, vec![text]));
        let own = |name: &str| node.folder.path().join(name);
        let (certificate, bundle) = (own("certificate.pem"), own("bundle.pem"));
        let before = [read(&certificate), read(&bundle)];
        house.renew(node).await.unwrap();
        files.push((
            certificate.clone(),
            vec![before[0].clone(), read(&certificate)],
        ));
        files.push((bundle.clone(), vec![before[1].clone(), read(&bundle)]));
    }
    let spare = house.token("spare", false);
    let token = in_house(&format!("tokens/{}", spare.id));
    files.push((token.clone(), vec![read(&token)]));

    let (over, replaced) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut ended = house.identity.registrations().ended();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| replace(&files, &over, &replaced));
        let reloads = scope.spawn(|| {
            let mut reloads = 0;
            while !over.load(Ordering::Relaxed) {
                house.identity.reload().unwrap();
                for node in &nodes {
                    node.identity.reload().unwrap();
                }
                reloads += 1;
            }
            reloads
        });
        let work = async {
            for turn in 0..TURNS {
                for node in &nodes {
                    house.dial(node)?;
                }
                let found = house.identity.ca().show().bundle;
                if found != alone && found != both {
                    return Err(format!("neither the old bundle nor the new one: {found:?}"));
                }
                let name = format!("new-{turn}");
                house
                    .join(&house.node(), &house.token(&name, false))
                    .await?;
                if house.identity.tokens().list().is_err() {
                    return Err("the tokens cannot be listed".to_owned());
                }
            }
            Ok::<_, String>(())
        };
        let outcome =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
        over.store(true, Ordering::Relaxed);
        (outcome, reloads.join().unwrap())
    });
    let (outcome, reloads) = outcome;
    outcome.unwrap();
    assert!(
        ended.try_recv().is_err(),
        "a registration was taken to have ended"
    );
    let replaced = replaced.load(Ordering::Relaxed);
    assert!(
        reloads > 5 && replaced > TURNS,
        "{reloads} readings, {replaced} files"
    );
    house.join(&house.node(), &spare).await.unwrap();
}
