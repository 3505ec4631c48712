//! Peers that are gone while nothing is read from their sockets that would tell.

use tokio::net::UnixStream;

use super::*;

/// Longer than anybody is waited for who is gone.
const LONG: Duration = Duration::from_secs(600);

type Spliced<S> = tokio::task::JoinHandle<Outcome<S>>;

/// A splice whose far end takes nothing more of what its socket says, that end, and how much of it was taken.
async fn full<S: Socket>(
    near: S,
    mut client: impl AsyncWrite + Unpin,
    side: Side,
) -> (Spliced<S>, Stream)
where
    Outcome<S>: Send,
{
    let (target, caller) = streams().await;
    let splice = tokio::spawn(splice(near, caller, side));
    let more = async { while client.write_all(&[7; 64 * 1024]).await.is_ok() {} };
    // Nothing moves any more: everything on the way is full.
    let full = tokio::time::timeout(Duration::from_millis(500), more).await;
    assert!(full.is_err(), "somebody took it all");
    (splice, target)
}

async fn is_told(mut target: Stream) {
    let error = target.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(StreamError::of(&error).code(), Code::Reset);
}

#[tokio::test]
async fn a_caller_that_is_gone_is_found_though_its_target_takes_nothing() {
    let (client, near) = UnixStream::pair().unwrap();
    let (splice, target) = full(near, client, Side::Caller).await;
    tokio::time::pause();
    let outcome = tokio::time::timeout(LONG, splice).await.unwrap().unwrap();
    assert!(matches!(outcome.result, Err(SpliceError::Near(_))));
    is_told(target).await;

    let (mut client, near) = {
        tokio::time::resume();
        tcp().await
    };
    let (splice, target) = full(near, &mut client, Side::Caller).await;
    client.reset();
    drop(client);
    tokio::time::pause();
    let outcome = tokio::time::timeout(LONG, splice).await.unwrap().unwrap();
    assert!(matches!(outcome.result, Err(SpliceError::Near(_))));
    is_told(target).await;
}

#[tokio::test]
async fn a_caller_that_is_gone_behind_its_end_is_found_though_its_target_is_silent() {
    let (mut target, caller) = streams().await;
    let (mut client, near) = UnixStream::pair().unwrap();
    let splice = tokio::spawn(splice(near, caller, Side::Caller));
    client.write_all(b"all of it").await.unwrap();
    drop(client);
    let mut got = String::new();
    target.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "all of it");
    tokio::time::pause();
    let outcome = tokio::time::timeout(LONG, splice).await.unwrap().unwrap();
    assert!(matches!(outcome.result, Err(SpliceError::Near(_))));
    let told = std::future::poll_fn(|cx| target.poll_broken(cx)).await;
    assert_eq!(told.code(), Code::Reset, "{told:?}");
}

#[tokio::test]
async fn a_caller_that_is_there_is_waited_for_however_long_nothing_moves() {
    // One whose target takes nothing.
    let (mut client, near) = UnixStream::pair().unwrap();
    let (splice, target) = full(near, &mut client, Side::Caller).await;
    // One that has ended its side, and whose target says nothing.
    let (mut quiet_target, caller) = streams().await;
    let (mut quiet, near) = UnixStream::pair().unwrap();
    let quiet_splice = tokio::spawn(super::splice(near, caller, Side::Caller));
    quiet.shutdown().await.unwrap();
    quiet_target.read_to_end(&mut Vec::new()).await.unwrap();
    tokio::time::pause();
    tokio::time::sleep(LONG).await;
    assert!(!splice.is_finished() && !quiet_splice.is_finished());
    tokio::time::resume();
    quiet_target.write_all(b"at last").await.unwrap();
    quiet_target.shutdown().await.unwrap();
    let mut got = String::new();
    quiet.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "at last");
    drop((target, client));
}

#[tokio::test]
async fn what_a_target_said_before_it_was_gone_waits_for_its_caller() {
    let (mut client, near) = tcp().await;
    let (splice, mut caller) = full(near, &mut client, Side::Target).await;
    client.reset();
    drop(client);
    tokio::time::pause();
    tokio::time::sleep(LONG).await;
    tokio::time::resume();
    assert!(!splice.is_finished());
    let mut got = Vec::new();
    let end = caller.read_to_end(&mut got).await;
    assert!(got.len() > 100_000, "{}", got.len());
    assert_eq!(StreamError::of(&end.unwrap_err()).code(), Code::Reset);
}
