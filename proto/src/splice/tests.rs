mod gone;

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;

use super::*;
use crate::id::{Port, RequestId, StreamId, Target, TargetHost};
use crate::message::OpenRequest;
use crate::stream::{Incoming, Opening};

/// The two ends of an open stream.
async fn streams() -> (Stream, Stream) {
    let (agent, server) = crate::testing::lanes();
    let request = OpenRequest {
        id: StreamId::random(),
        request_id: RequestId::random(),
        caller: String::new(),
        hops: 0,
        deadline: None,
        target: Target {
            host: TargetHost::Loopback,
            port: Port::known(1),
        },
    };
    let accept = async {
        let Incoming::Open(mut answer) =
            Incoming::read(agent.accept().await.unwrap()).await.unwrap()
        else {
            panic!("not an open");
        };
        answer.accepted().await.unwrap();
        answer.opened().await.unwrap()
    };
    let open = async {
        Opening::start(&server, &request)
            .await
            .unwrap()
            .opened()
            .await
            .unwrap()
    };
    let (target, caller) = tokio::join!(accept, open);
    // The lanes close with their last handle; the tests' end is soon enough.
    tokio::spawn(async move { (agent.closed().await, server.closed().await) });
    (target, caller)
}

async fn spliced() -> (
    DuplexStream,
    Stream,
    tokio::task::JoinHandle<Outcome<DuplexStream>>,
) {
    let (target, caller) = streams().await;
    let (client, near) = tokio::io::duplex(1024);
    (
        client,
        target,
        tokio::spawn(splice(near, caller, Side::Caller)),
    )
}

#[tokio::test]
async fn a_half_close_leaves_the_other_direction_flowing() {
    let (mut client, mut target, splice) = spliced().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = String::new();
    target.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "question");
    let write = async {
        target.write_all(&vec![7; 1_000_000]).await.unwrap();
        target.shutdown().await.unwrap();
    };
    let mut answer = Vec::new();
    let (read, ()) = tokio::join!(client.read_to_end(&mut answer), write);
    read.unwrap();
    assert_eq!(answer, vec![7; 1_000_000]);
    let outcome = splice.await.unwrap();
    assert_eq!((outcome.sent, outcome.received), (8, 1_000_000));
    outcome.result.unwrap();
}

#[tokio::test]
async fn an_abort_of_the_far_end_is_an_error_even_after_its_half_close() {
    let (mut client, mut target, splice) = spliced().await;
    target.write_all(b"some").await.unwrap();
    target.shutdown().await.unwrap();
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "some");
    target.abort(Code::ConnectionRefused, "no more").await;
    match splice.await.unwrap().result.unwrap_err() {
        SpliceError::Far(StreamError::Aborted { code, reason }) => {
            assert_eq!(
                (code, reason.as_str()),
                (Code::ConnectionRefused, "no more")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_caller_that_vanishes_aborts_the_stream() {
    let (client, mut target, splice) = spliced().await;
    drop(client);
    // The caller's end arrives as a half-close; writing to it fails, and that is told.
    let mut rest = Vec::new();
    target.read_to_end(&mut rest).await.unwrap();
    let error = loop {
        if let Err(error) = target.write_all(&[1; 4096]).await {
            break error;
        }
    };
    assert_eq!(StreamError::of(&error).code(), Code::Reset);
    assert!(matches!(
        splice.await.unwrap().result,
        Err(SpliceError::Near(_))
    ));
}

#[tokio::test]
async fn dropping_a_splice_breaks_the_stream_off() {
    let (_client, mut target, splice) = spliced().await;
    splice.abort();
    let error = target.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(StreamError::of(&error).code(), Code::Cancelled);
}

/// A TCP connection of a caller, the caller's end first.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, near) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), near.unwrap().0)
}

#[tokio::test]
async fn a_splice_that_does_not_end_in_order_resets_its_socket() {
    for dropped in [true, false] {
        let (mut target, caller) = streams().await;
        let (mut client, near) = tcp().await;
        let splice = tokio::spawn(splice(near, caller, Side::Caller));
        target.write_all(b"some").await.unwrap();
        target.flush().await.unwrap();
        client.read_exact(&mut [0; 4]).await.unwrap();
        if dropped {
            splice.abort();
        } else {
            target.abort(Code::Unreachable, "gone").await;
        }
        let error = client.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_splice_that_ends_in_order_ends_its_socket_in_order() {
    let (mut target, caller) = streams().await;
    let (mut client, near) = tcp().await;
    let splice = tokio::spawn(splice(near, caller, Side::Caller));
    client.shutdown().await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(target.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    splice.await.unwrap().result.unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

/// What a socket's peer said before it closed, while the stream took nothing of it yet and then speaks itself.
async fn closed_with_much_unread(reset: bool) -> (Vec<u8>, io::Result<usize>) {
    let (mut target, caller) = streams().await;
    let (mut client, near) = tcp().await;
    let splice = tokio::spawn(splice(near, caller, Side::Caller));
    // More than the stream's first window, less than what two sockets hold.
    let said = vec![9; 150_000];
    client.write_all(&said).await.unwrap();
    if reset {
        SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    drop(client);
    // The first write is answered with a reset where there was none, the second one fails.
    for _ in 0..3 {
        target.write_all(b"late").await.unwrap();
        target.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut got = Vec::new();
    let read = target.read_to_end(&mut got).await;
    assert!(said.starts_with(&got));
    assert!(matches!(
        splice.await.unwrap().result,
        Err(SpliceError::Near(_))
    ));
    let error = target.write_all(&[1]).await.unwrap_err();
    assert_eq!(StreamError::of(&error).code(), Code::Reset);
    (got, read)
}

#[tokio::test]
async fn what_was_said_before_a_close_arrives_although_writing_fails() {
    let (got, read) = closed_with_much_unread(false).await;
    assert_eq!(got.len(), 150_000);
    read.unwrap();
}

#[tokio::test]
async fn a_reset_that_a_write_found_is_no_end() {
    let (_, read) = closed_with_much_unread(true).await;
    assert_eq!(StreamError::of(&read.unwrap_err()).code(), Code::Reset);
}

#[tokio::test]
async fn what_the_far_end_said_before_it_closed_arrives_while_the_caller_speaks() {
    const LARGE: usize = 5_000_000;
    let (mut target, caller) = streams().await;
    let (client, near) = tcp().await;
    let splice = tokio::spawn(splice(near, caller, Side::Caller));
    let told = async {
        target.write_all(&vec![3; LARGE]).await.unwrap();
        target.shutdown().await.unwrap();
        target.abort(Code::Reset, "closed").await;
    };
    let (mut read, mut write) = client.into_split();
    let caller = async {
        let mut got = vec![0; LARGE];
        for part in got.chunks_mut(LARGE / 50) {
            // May fail when all is said: nobody listens any more.
            let _ = write.write_all(b"still there?").await;
            read.read_exact(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(read.read(&mut [0]).await.unwrap(), 0);
        assert!(got.iter().all(|byte| *byte == 3));
        drop((read, write));
    };
    tokio::join!(told, caller);
    let outcome = splice.await.unwrap();
    assert_eq!(outcome.received, LARGE as u64);
    assert!(matches!(outcome.result, Err(SpliceError::Far(_))));
}

/// A splice whose far end has said everything and was then closed.
async fn parted() -> (TcpStream, Parting<TcpStream>) {
    let (mut target, caller) = streams().await;
    let (client, near) = tcp().await;
    let splice = tokio::spawn(splice(near, caller, Side::Caller));
    target.write_all(b"all").await.unwrap();
    target.shutdown().await.unwrap();
    target.abort(Code::Reset, "closed").await;
    (client, splice.await.unwrap().parting.unwrap())
}

#[tokio::test]
async fn who_was_told_everything_may_close_in_order() {
    let (mut client, parting) = parted().await;
    let waited = tokio::spawn(parting.wait());
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "all");
    client.shutdown().await.unwrap();
    waited.await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_still_speaks_reads_everything_and_learns_that_nobody_heard() {
    let (mut client, parting) = parted().await;
    let waited = tokio::spawn(parting.wait());
    client.write_all(b"still there?").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut got = String::new();
    client.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "all");
    client.shutdown().await.unwrap();
    waited.await.unwrap();
    assert!(client.write(b"more").await.is_err());
}

#[tokio::test]
async fn who_goes_on_sending_to_nobody_is_reset() {
    let (mut client, parting) = parted().await;
    let waited = tokio::spawn(parting.wait());
    while client.write_all(&[0; 4096]).await.is_ok() {}
    waited.await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_ever_for_a_peer_that_does_not_close() {
    let (client, parting) = parted().await;
    tokio::time::pause();
    parting.wait().await;
    drop(client);
}

#[tokio::test]
async fn a_target_that_took_less_than_the_caller_said_is_no_clean_end() {
    // The target's end and its close come, while much is under way to it and the caller has ended.
    let (mut caller_far, agent_far) = streams().await;
    let (target, near) = tcp().await;
    let agent = tokio::spawn(splice(near, agent_far, Side::Target));
    let (mut target_read, mut target_write) = target.into_split();
    target_write.write_all(b"answer").await.unwrap();
    let upload = async {
        // Fails when the splice has given up; what counts is what is read after it.
        let _ = caller_far.write_all(&vec![5; 30_000_000]).await;
        let _ = caller_far.shutdown().await;
        let mut got = Vec::new();
        let read = caller_far.read_to_end(&mut got).await;
        assert_eq!(got, b"answer");
        read.unwrap();
        std::future::poll_fn(|cx| caller_far.poll_broken(cx)).await
    };
    let closing = async {
        target_read.read_exact(&mut [0; 1000]).await.unwrap();
        target_write.shutdown().await.unwrap();
        // Let the end be seen before the reset, which the close with bytes unread is.
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop((target_read, target_write));
    };
    let (told, ()) = tokio::join!(upload, closing);
    assert_eq!(told.code(), Code::Reset, "{told:?}");
    assert!(matches!(
        agent.await.unwrap().result,
        Err(SpliceError::Near(_))
    ));
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_not_read_on_for() {
    let (target, caller) = streams().await;
    let (mut client, near) = tcp().await;
    let splice = tokio::spawn(splice(near, caller, Side::Caller));
    target.abort(Code::Overloaded, "too many").await;
    let written = async { while client.write_all(&[0; 4096]).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), written)
        .await
        .unwrap();
    assert!(splice.await.unwrap().parting.is_none());
}
