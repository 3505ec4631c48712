use std::future::pending;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn dialer(limits: Limits) -> (Dialer, Registry) {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    (
        Dialer::new(Live::new("edge-1".parse().unwrap()), limits, metrics),
        registry,
    )
}

fn target(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 80))
}

fn shown(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    text
}

#[tokio::test]
async fn a_listener_is_reached_without_delay_and_with_keepalive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dialer, registry) = dialer(Limits::default());
    let mut stream = dialer
        .dial(listener.local_addr().unwrap(), None)
        .await
        .unwrap();
    assert!(stream.nodelay().unwrap());
    assert!(SockRef::from(&stream).keepalive().unwrap());
    let (mut accepted, _) = listener.accept().await.unwrap();
    accepted.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    let metrics = shown(&registry);
    assert!(
        metrics.contains("dials_total{outcome=\"connected\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("dial_duration_seconds_count 1"),
        "{metrics}"
    );
    assert!(metrics.contains("dials_pending 0"), "{metrics}");
}

#[tokio::test]
async fn a_closed_port_is_refused_by_name() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let (dialer, registry) = dialer(Limits::default());
    let error = dialer.dial(address, None).await.unwrap_err();
    assert_eq!(error.code, Code::ConnectionRefused);
    assert_eq!(
        error.message,
        format!("node edge-1: {address}: connection refused: nothing listens there")
    );
    assert!(shown(&registry).contains("dials_total{outcome=\"connection_refused\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_openers_deadline_within_the_agents_own_limit() {
    let (dialer, _) = dialer(Limits::default());
    let table = [
        (None, 5_000),
        (Some(2_000), 2_000),
        (Some(10_000), 10_000),
        (Some(300_000), 60_000),
    ];
    for (deadline, expected) in table {
        let began = Instant::now();
        let deadline = deadline.map(Duration::from_millis);
        let error = dialer
            .dial_by(target(1), deadline, pending::<io::Result<()>>)
            .await
            .unwrap_err();
        assert_eq!(error.code, Code::TimedOut);
        assert_eq!(began.elapsed(), Duration::from_millis(expected));
        assert!(
            error.message.contains("192.0.2.1:80 did not answer within"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn pending_dials_are_bounded_per_target_and_in_all() {
    let limits = Limits {
        pending_per_target: 2,
        pending: 3,
        ..Limits::default()
    };
    let (dialer, registry) = dialer(limits);
    let silent = |last: u8| {
        let dialer = dialer.clone();
        tokio::spawn(async move {
            dialer
                .dial_by(target(last), None, pending::<io::Result<()>>)
                .await
        })
    };
    let begun = [silent(1), silent(1)];
    tokio::task::yield_now().await;

    let second = Some(Duration::from_secs(1));
    let quick = async |last: u8| dialer.dial_by(target(last), second, async || Ok(())).await;
    let began = Instant::now();
    let refused = quick(1).await.unwrap_err();
    assert_eq!(refused.code, Code::Overloaded);
    assert!(refused.message.contains("to 192.0.2.1:80"), "{refused}");
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    quick(2)
        .await
        .expect("a target that does not answer blocks no other");

    let third = silent(3);
    tokio::task::yield_now().await;
    let refused = quick(2).await.unwrap_err();
    assert_eq!(refused.code, Code::Overloaded);
    assert!(
        refused.message.contains("3 dials are under way"),
        "{refused}"
    );
    assert!(shown(&registry).contains("dials_pending 3"));

    // Both an answer and an opener that goes away give their places back.
    third.abort();
    assert!(third.await.unwrap_err().is_cancelled());
    quick(2).await.unwrap();
    for dial in begun {
        assert_eq!(dial.await.unwrap().unwrap_err().code, Code::TimedOut);
    }
    quick(1).await.unwrap();
    assert!(
        dialer.0.pending.lock().by_target.is_empty(),
        "no place is kept for targets of the past"
    );
    assert!(shown(&registry).contains("dials_pending 0"));
}

#[tokio::test(start_paused = true)]
async fn a_burst_to_a_target_that_answers_waits_its_turn() {
    let limits = Limits {
        pending_per_target: 2,
        ..Limits::default()
    };
    let (dialer, _) = dialer(limits);
    let began = Instant::now();
    let mut burst = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let dialer = dialer.clone();
        burst.spawn(async move {
            let answers = async || {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(())
            };
            dialer.dial_by(target(1), None, answers).await
        });
    }
    for dialled in burst.join_all().await {
        dialled.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn every_failure_has_its_code_and_words() {
    let (dialer, _) = dialer(Limits::default());
    let table = [
        (
            io::Error::from_raw_os_error(EMFILE),
            Code::TooManyOpenFiles,
            "LimitNOFILE",
        ),
        (
            io::Error::from_raw_os_error(ENFILE),
            Code::TooManyOpenFiles,
            "LimitNOFILE",
        ),
        (
            io::ErrorKind::ConnectionRefused.into(),
            Code::ConnectionRefused,
            "nothing listens",
        ),
        (
            io::ErrorKind::HostUnreachable.into(),
            Code::Unreachable,
            "no route",
        ),
        (
            io::ErrorKind::NetworkUnreachable.into(),
            Code::Unreachable,
            "network unreachable",
        ),
        (io::ErrorKind::TimedOut.into(), Code::TimedOut, "no answer"),
        (io::ErrorKind::ConnectionReset.into(), Code::Reset, "reset"),
        (
            io::ErrorKind::PermissionDenied.into(),
            Code::NotAllowed,
            "packet filter",
        ),
        (
            io::ErrorKind::AddrNotAvailable.into(),
            Code::Overloaded,
            "local port",
        ),
        (
            io::ErrorKind::OutOfMemory.into(),
            Code::Overloaded,
            "memory",
        ),
        (io::Error::other("odd"), Code::Internal, "odd"),
    ];
    for (failure, code, words) in table {
        let error = dialer
            .dial_by(target(1), None, async || Err::<(), _>(failure))
            .await
            .unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(
            error.message.contains(words) && error.message.contains("edge-1"),
            "{error}"
        );
    }
}
