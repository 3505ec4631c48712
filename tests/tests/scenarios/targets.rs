//! Targets that misbehave, each in its way: nobody else notices, whoever asked is told, and nothing is left.

use std::time::Duration;

use edge_tunnel_proto::splice::Socket as _;
use edge_tunnel_tests::caller::{self, Io, get};
use edge_tunnel_tests::census::Census;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::TRANSPORTS;

/// What a target does with a connection that it has accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    /// Nothing at all.
    NeitherReadsNorWrites,
    /// Takes what comes and says nothing.
    NeverWrites,
    /// Says something for ever and takes nothing.
    NeverReads,
    /// Answers, ends its half first, and takes the rest.
    EndsFirst,
    /// Closes at once.
    Closes,
    /// Resets at once.
    Resets,
    /// Half an answer, then a reset.
    ResetsInTheMiddle,
    /// An answer, byte by byte.
    Trickles,
}

const MANNERS: [Manner; 8] = [
    Manner::NeitherReadsNorWrites,
    Manner::NeverWrites,
    Manner::NeverReads,
    Manner::EndsFirst,
    Manner::Closes,
    Manner::Resets,
    Manner::ResetsInTheMiddle,
    Manner::Trickles,
];

/// What is asked.
const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nHost: target\r\n\r\n";

/// An answer of HTTP, whole.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// More than every buffer on the way holds.
const FLOOD: usize = 32_000_000;

struct Target {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Target {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((io, _)) = listener.accept().await {
                connections.spawn(behave(io, manner));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            _tasks: tasks,
        }
    }
}

/// One of each manner, and their ports as a list.
async fn targets() -> (Vec<(Manner, Target)>, String) {
    let mut targets = Vec::new();
    for manner in MANNERS {
        targets.push((manner, Target::start(manner).await));
    }
    let ports: Vec<_> = targets
        .iter()
        .map(|(_, target)| target.port.to_string())
        .collect();
    (targets, ports.join(","))
}

async fn behave(mut io: TcpStream, manner: Manner) {
    let mut sink = vec![0; 64 * 1024];
    match manner {
        Manner::NeitherReadsNorWrites => std::future::pending().await,
        Manner::NeverWrites => while io.read(&mut sink).await.is_ok_and(|count| count > 0) {},
        Manner::NeverReads => {
            while io.write_all(b"on and on ").await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        }
        Manner::EndsFirst => {
            asked(&mut io).await;
            let _ = io.write_all(ANSWER).await;
            let _ = io.shutdown().await;
            while io.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        }
        Manner::Closes => {}
        Manner::Resets => io.reset(),
        Manner::ResetsInTheMiddle => {
            asked(&mut io).await;
            let _ = io.write_all(&ANSWER[..ANSWER.len() - 2]).await;
            // The half arrives before the reset overtakes it.
            sleep(Duration::from_millis(100)).await;
            io.reset();
        }
        Manner::Trickles => {
            asked(&mut io).await;
            let _ = io.set_nodelay(true);
            for byte in ANSWER {
                let _ = io.write_all(&[*byte]).await;
                sleep(Duration::from_millis(10)).await;
            }
            let _ = io.shutdown().await;
            while io.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        }
    }
}

/// Waits for the whole head of a request: an answer before it would be none (RFC 9112, 9.3).
async fn asked(io: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_gone) => return,
        }
    }
}

/// What the caller of `connect` sees.
async fn over_connect(manner: Manner, mut io: impl Io) {
    match manner {
        Manner::NeitherReadsNorWrites | Manner::NeverReads => {
            // What cannot be taken is not taken, and the caller's own patience is what ends it.
            let bytes = vec![1; FLOOD];
            let sent = tokio::time::timeout(Duration::from_secs(2), io.write_all(&bytes)).await;
            assert!(sent.is_err(), "{manner:?}: {FLOOD} bytes were taken");
        }
        Manner::NeverWrites => {
            io.write_all(&vec![1; 1_000_000]).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(1), io.read_u8()).await;
            assert!(heard.is_err(), "{heard:?}");
        }
        Manner::EndsFirst | Manner::Trickles => {
            io.write_all(QUESTION).await.unwrap();
            let (tally, end) = within("the answer", SOON, caller::read_all(&mut io)).await;
            end.unwrap();
            assert_eq!(tally, Tally::of(ANSWER), "{manner:?}");
            // The other half lives on.
            io.write_all(&payload::bytes(1, 100_000)).await.unwrap();
            io.shutdown().await.unwrap();
        }
        Manner::Closes => {
            let (tally, end) = within("the end", SOON, caller::read_all(&mut io)).await;
            end.unwrap();
            assert_eq!(tally.count(), 0);
        }
        Manner::Resets | Manner::ResetsInTheMiddle => {
            // The reset may be there before the question.
            let _ = io.write_all(QUESTION).await;
            let (_, end) = within("the reset", SOON, caller::read_all(&mut io)).await;
            end.expect_err("a reset is no end");
        }
    }
}

#[tokio::test]
async fn every_manner_of_target_over_connect() {
    let service = Service::start().await;
    for transport in TRANSPORTS {
        let server = Server::start(&[]).await;
        let (targets, ports) = targets().await;
        let ports = format!("{ports},{}", service.port());
        let files = server.issue_client(transport, &["--ports", &ports]).await;
        let dial = format!("{transport}://{}", server.agents());
        let mut node = Node::new(&format!("manners-{transport}"), &dial);
        node.enrol(&server).await;
        let open = async |port: u16| caller::mtls(server.connect(), &files, &node.at(port)).await;
        drop(open(service.port()).await.unwrap());
        let counted = [server.admin().into(), node.admin().into()];
        let before = Census::settled(&counted).await;
        // One that behaves, all the while.
        let mut beside = open(service.port()).await.unwrap();
        caller::say(&mut beside, "echo").await.unwrap();
        let misbehaving = async {
            for (manner, target) in &targets {
                match open(target.port).await {
                    Ok(io) => over_connect(*manner, io).await,
                    // So soon that the agent was not connected yet.
                    Err(refused) => {
                        let fits = *manner == Manner::Resets && refused.status == 502;
                        assert!(fits, "{transport} {manner:?}: {refused:?}");
                    }
                }
            }
        };
        let talking = async {
            loop {
                let said = within("an echo", SOON, caller::echo(&mut beside, "still here")).await;
                said.unwrap();
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = misbehaving => {}
            () = talking => {}
        }
        // Those of a target that reads nothing any more live as long as that does, or minutes after their caller.
        drop((beside, targets));
        before.comes_back(&counted).await;
    }
}

#[tokio::test]
async fn every_manner_of_target_over_http() {
    let (targets, ports) = targets().await;
    for transport in TRANSPORTS {
        let server = Server::with_keys(&[("http-proxy-ports", &ports)]).await;
        let dial = format!("{transport}://{}", server.agents());
        let mut node = Node::new(&format!("http-manners-{transport}"), &dial);
        node.enrol(&server).await;
        let counted = [server.admin().into(), node.admin().into()];
        let before = Census::settled(&counted).await;
        for (manner, target) in &targets {
            let asked = caller::http(server.http(), get("/", &node.at(target.port)));
            // A service that says nothing has 60 s; a caller's own patience is what ends it here.
            let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
            let answer = answer.map(|answer| answer.map(|answer| (answer.status, answer.text())));
            let fits = match manner {
                Manner::NeitherReadsNorWrites | Manner::NeverWrites => answer.is_err(),
                Manner::EndsFirst | Manner::Trickles => {
                    matches!(&answer, Ok(Ok((200, text))) if text == "hello")
                }
                Manner::NeverReads | Manner::Closes | Manner::Resets => {
                    matches!(answer, Ok(Ok((502, _))))
                }
                Manner::ResetsInTheMiddle => matches!(answer, Ok(Err(_) | Ok((502, _)))),
            };
            assert!(fits, "{transport} {manner:?}: {answer:?}");
        }
        before.comes_back(&counted).await;
    }
}
