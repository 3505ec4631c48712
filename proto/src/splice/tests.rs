use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

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

async fn spliced() -> (DuplexStream, Stream, tokio::task::JoinHandle<Outcome>) {
    let (target, caller) = streams().await;
    let (client, near) = tokio::io::duplex(1024);
    (client, target, tokio::spawn(splice(near, caller)))
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
        let splice = tokio::spawn(splice(near, caller));
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
    let splice = tokio::spawn(splice(near, caller));
    client.shutdown().await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(target.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    splice.await.unwrap().result.unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}
