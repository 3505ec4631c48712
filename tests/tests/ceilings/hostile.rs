//! An agent with a good certificate that breaks every rule, over TLS, where the rules are this project's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use edge_tunnel_proto::codec::{self, Kind};
use edge_tunnel_proto::message::control::Kind as Say;
use edge_tunnel_proto::message::{Control, Hello, PROTOCOL_VERSION, Ping};
use edge_tunnel_tests::caller;
use edge_tunnel_tests::fleet::Fleet;
use edge_tunnel_tests::programs::{Cloud, Memory};
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{until, within};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{MIB, house, started};

/// Kinds of mux frame, as docs/protocol.md has them.
const DATA: u8 = 0;
const OPEN: u8 = 1;
const PING: u8 = 5;

/// Longer than a server listens to nothing.
const CUT_OFF: Duration = Duration::from_secs(60);

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let word = u32::from(kind) << 24 | length;
    let mut frame = word.to_be_bytes().to_vec();
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn control(message: Say) -> BytesMut {
    let mut bytes = BytesMut::new();
    codec::put_message(&mut bytes, Kind::Control, &Control::from(message));
    bytes
}

/// A connection in an agent's name that has introduced itself.
async fn introduced(server: &Cloud, fleet: &Fleet) -> TlsStream<TcpStream> {
    let config = fleet.identity(1).session_config().unwrap();
    let tcp = TcpStream::connect(server.agents()).await.unwrap();
    let name = ServerName::try_from("lb.example").unwrap();
    let mut io = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let hello = Hello {
        build: "hostile".to_owned(),
        version: PROTOCOL_VERSION,
        capabilities: Vec::new(),
        instance: vec![1; 16],
        session: vec![2; 16],
        lane: 0,
    };
    let hello = frame(OPEN, 1, &control(Say::Hello(hello)));
    io.write_all(&hello).await.unwrap();
    io.flush().await.unwrap();
    io
}

/// What the agent says next, over and over; `None`: nothing.
type Deed = Box<dyn FnMut() -> Option<Vec<u8>> + Send>;

fn always(bytes: Vec<u8>) -> Deed {
    Box::new(move || Some(bytes.clone()))
}

fn once(bytes: Vec<u8>) -> Deed {
    let mut bytes = Some(bytes);
    Box::new(move || bytes.take())
}

/// The deeds: what it is, whether the agent reads, and under which reasons the server counts the end.
fn deeds() -> Vec<(&'static str, bool, &'static [&'static str], Deed)> {
    let full = vec![0; 32 * 1024];
    let beyond = [(); 40].map(|()| frame(DATA, 1, &full)).concat();
    let ping = control(Say::Ping(Ping {
        nonce: 1,
        rtt_micros: 0,
    }));
    let mut next = 1;
    let opens = move || {
        let mut many = Vec::new();
        for _ in 0..1000 {
            next += 2;
            many.extend(frame(OPEN, next, b"x"));
        }
        Some(many)
    };
    vec![
        ("more than its window", true, &["protocol"], once(beyond)),
        (
            "a stream that nobody opened",
            true,
            &["protocol"],
            once(frame(DATA, 99, b"x")),
        ),
        (
            "a stream with the other side's number",
            true,
            &["protocol"],
            once(frame(OPEN, 2, b"x")),
        ),
        (
            "a frame of no kind",
            true,
            &["protocol"],
            once(frame(77, 1, b"x")),
        ),
        (
            "endless streams",
            false,
            &["protocol", "silent"],
            Box::new(opens),
        ),
        (
            "endless questions",
            false,
            &["protocol", "silent"],
            always(frame(DATA, 1, &ping)),
        ),
        (
            "endless pings",
            false,
            &["protocol", "silent"],
            always(frame(PING, 0, &[0; 8])),
        ),
        (
            "nothing, and reads nothing",
            false,
            &["silent"],
            once(Vec::new()),
        ),
    ]
}

/// Does it until the server has cut it off, and says what it heard.
async fn misbehave(mut io: TlsStream<TcpStream>, reads: bool, mut deed: Deed) -> Vec<u8> {
    let mut heard = Vec::new();
    while let Some(bytes) = deed() {
        let written = async {
            io.write_all(&bytes).await?;
            io.flush().await
        };
        if written.await.is_err() {
            break;
        }
    }
    if reads {
        let _ = io.read_to_end(&mut heard).await;
    } else {
        // Until the connection is gone, which a write finds without reading.
        while io.get_ref().0.peer_addr().is_ok() && io.write_all(b"").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_breaks_the_rules_is_cut_off_and_nobody_else_notices() {
    let Some((server, mut fleet)) = house(&[], 2).await else {
        return;
    };
    // Another speaks in the name of the last one.
    fleet.only(1);
    started(&mut fleet, &server, 1, |_| "tls://").await;
    let service = Service::start().await;
    let at = format!("{}:{}", Fleet::name(0), service.port());
    let mut honest = caller::uds(&server.uds(), &at).await.unwrap();
    caller::say(&mut honest, "echo").await.unwrap();
    let idle = Memory::of(server.pid());
    for (what, reads, reasons, deed) in deeds() {
        let ended = async || {
            let metrics = server.metrics().await.unwrap();
            let of = |reason: &&str| {
                let label = format!("reason=\"{reason}\"");
                metrics.sum("sessions_ended_total", &[&label])
            };
            reasons.iter().map(of).sum::<f64>()
        };
        let before = ended().await;
        let io = introduced(&server, &fleet).await;
        let deed = tokio::spawn(misbehave(io, reads, deed));
        let cut_off = async || {
            caller::echo(&mut honest, "still here").await.unwrap();
            let now = ended().await;
            if now > before {
                Ok(())
            } else {
                Err(format!("{:?}", server.metrics().await.unwrap()))
            }
        };
        let (_, took) = until(&format!("{what}: it is cut off"), CUT_OFF, cut_off).await;
        if reads {
            let heard = within(what, CUT_OFF, deed).await.unwrap();
            let heard = String::from_utf8_lossy(&heard).into_owned();
            assert!(
                heard.contains("window")
                    || heard.contains("cannot be")
                    || heard.contains("unknown kind"),
                "{what}: {heard:?}"
            );
        } else {
            deed.abort();
        }
        let memory = Memory::of(server.pid());
        println!(
            "{what}: cut off after {took:?}; resident {} MiB, at the most {} MiB",
            memory.now / MIB,
            memory.peak / MIB
        );
        assert!(memory.peak < idle.now + 48 * MIB, "{what}: {memory:?}");
    }
}
