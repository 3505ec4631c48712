use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::frame::{self, HEADER, Header, Kind};
use super::*;

const LIMITS: Limits = Limits {
    inbound: 10,
    outbound: 10,
};

/// A server's mux, and what is at the other end of its connection.
fn server(
    buffer: usize,
) -> (
    Mux,
    DuplexStream,
    impl Future<Output = ()> + Send + use<>,
    Budget,
) {
    let (near, far) = tokio::io::duplex(buffer);
    let budget = Budget::new(1 << 30);
    let (mux, driver) = Mux::new(near, Side::Server, LIMITS, &budget);
    (mux, far, driver, budget)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_up_a_close_for_a_second_at_most() {
    let (mux, _far, driver, budget) = server(64);
    let driver = tokio::spawn(driver);
    let mut stream = mux.open().unwrap();
    stream.write_all(&[0; 1000]).await.unwrap();
    let start = Instant::now();
    mux.close(Code::Draining, "bye");
    let here = Closed::Here {
        code: Code::Draining,
        reason: "bye".to_owned(),
    };
    assert_eq!(mux.closed().await, here);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    drop((stream, mux));
    driver.await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(2));
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_told_so() {
    let (mux, mut far, driver, _budget) = server(64 * 1024);
    tokio::spawn(driver);
    let mut wire = BytesMut::new();
    frame::put(&mut wire, Kind::Open, 1, b"good");
    frame::put(&mut wire, Kind::Open, 1, b"bad");
    far.write_all(&wire).await.unwrap();
    let said = "a mux frame Open for stream 1, which cannot be";
    assert_eq!(
        mux.closed().await,
        Closed::Here {
            code: Code::Protocol,
            reason: said.to_owned()
        }
    );
    let mut wire = Vec::new();
    // The server hangs up once it has the other side's end, or after a second.
    far.shutdown().await.unwrap();
    far.read_to_end(&mut wire).await.unwrap();
    let mut rest = &wire[..];
    let goodbye = loop {
        let header = Header::peek(rest).unwrap().expect("a goodbye");
        let (frame, more) = rest.split_at(HEADER + header.length);
        rest = more;
        if header.kind == Kind::Close {
            break &frame[HEADER..];
        }
    };
    assert_eq!(goodbye[..4], Code::Protocol.number().to_be_bytes());
    assert_eq!(&goodbye[4..], said.as_bytes());
}

#[tokio::test]
async fn a_driver_that_is_stopped_leaves_nobody_waiting() {
    let (mux, _far, driver, _budget) = server(64 * 1024);
    let driver = tokio::spawn(driver);
    let mut stream = mux.open().unwrap();
    stream.write_all(b"x").await.unwrap();
    let reading = tokio::spawn(async move { stream.read(&mut [0; 1]).await });
    tokio::task::yield_now().await;
    driver.abort();
    reading.await.unwrap().unwrap_err();
    assert!(matches!(mux.closed().await, Closed::Lost(_)));
    assert!(mux.accept().await.is_err());
}

#[tokio::test]
async fn a_goodbye_is_read_even_when_nothing_can_be_written_any_more() {
    let (mux, mut far, driver, _budget) = server(64 * 1024);
    let mut wire = BytesMut::new();
    frame::put(
        &mut wire,
        Kind::Close,
        0,
        &Code::Draining.number().to_be_bytes(),
    );
    far.write_all(&wire).await.unwrap();
    // The other side is gone: writes fail from now on, its last words still lie here.
    drop(far);
    let mut stream = mux.open().unwrap();
    stream.write_all(b"x").await.unwrap();
    tokio::spawn(driver);
    let there = Closed::There {
        code: Code::Draining,
        reason: String::new(),
    };
    assert_eq!(mux.closed().await, there);
}
