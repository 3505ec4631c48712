//! Programs that are told to stop while streams are open.

use std::time::Duration;

use edge_tunnel_tests::caller;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::payload::{self, Tally};
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::{Ended, Service};
use edge_tunnel_tests::wait::{SOON, give_up, until, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const DRAIN: Duration = Duration::from_secs(4);

/// Longer than any transfer here takes.
const PATIENT: Duration = Duration::from_secs(40);

/// A transfer that no buffer on the way holds.
const BULK: usize = 8_000_000;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Who {
    Server,
    Agent,
}

struct Place {
    server: Server,
    _link: Link,
    node: Node,
    service: Service,
    files: std::path::PathBuf,
}

impl Place {
    async fn new(name: &str, transport: &str, drain: Duration) -> Self {
        let drain = format!("{}s", drain.as_secs());
        let server = Server::start(&["--drain-timeout", &drain]).await;
        let link = Link::to(server.agents()).await;
        let dial = format!("{transport}://{}", link.address());
        let mut node =
            Node::new(&format!("{name}-{transport}"), &dial).flags(&["--drain-timeout", &drain]);
        node.enrol(&server).await;
        // A round trip, so that what is sent last is still under way when its sender is done.
        link.path(transport).delay(Duration::from_millis(20));
        let service = Service::start().await;
        let files = server
            .issue_client("caller", &["--ports", &service.port().to_string()])
            .await;
        Self {
            server,
            _link: link,
            node,
            service,
            files,
        }
    }

    async fn open(&self) -> TlsStream<TcpStream> {
        let at = self.node.at(self.service.port());
        caller::mtls(self.server.connect(), &self.files, &at)
            .await
            .unwrap()
    }

    /// Stops one of the two, and says how long that took.
    async fn stop(&mut self, who: Who) -> Duration {
        match who {
            Who::Server => self.server.stop().await,
            Who::Agent => self.node.stop().await,
        }
    }
}

/// A download and an upload are under way when `who` is told to stop: both end whole, and then the program ends.
async fn streams_finish(who: Who, transport: &str) {
    let name = format!("finish-{who:?}").to_lowercase();
    let mut place = Place::new(&name, transport, PATIENT).await;
    let mut down = place.open().await;
    caller::say(&mut down, &format!("source {BULK} 1"))
        .await
        .unwrap();
    let mut first = vec![0; 1000];
    down.read_exact(&mut first).await.unwrap();
    let mut up = place.open().await;
    let bytes = payload::bytes(2, BULK);
    caller::say(&mut up, "sink").await.unwrap();
    up.write_all(&bytes[..1000]).await.unwrap();
    let target = place.node.at(place.service.port());
    let uds = place.server.uds();

    let download = async {
        let mut tally = Tally::of(&first);
        let mut piece = vec![0; 64 * 1024];
        loop {
            match down.read(&mut piece).await {
                Ok(0) => break,
                Ok(count) => tally.add(&piece[..count]),
                Err(error) => give_up(format!(
                    "{who:?} {transport}: {error} after {}",
                    tally.count()
                )),
            }
        }
        assert_eq!(tally, Tally::of(&payload::bytes(1, BULK)));
        down.shutdown().await.unwrap();
    };
    let upload = async {
        up.write_all(&bytes[1000..]).await.unwrap();
        up.shutdown().await.unwrap();
        let (answer, end) = caller::read_all(&mut up).await;
        end.unwrap_or_else(|error| give_up(format!("{who:?} {transport}: {error}")));
        let said = format!("{} done", Tally::of(&bytes));
        assert_eq!(answer, Tally::of(said.as_bytes()));
    };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let refused = async || match caller::uds(&uds, &target).await {
            Err(refused) => Ok(refused),
            Ok(_) => Err("it was let in"),
        };
        let refused = async {
            until("nothing new is begun", SOON, async || {
                refused().await.map_err(str::to_owned)
            })
            .await;
        };
        tokio::join!(place.stop(who), refused)
    };
    let all = async { tokio::join!(download, upload, stop) };
    let ((), (), (took, ())) = within("everything ends", Duration::from_secs(60), all).await;
    assert!(took < PATIENT, "{took:?}: the streams had ended");
}

#[tokio::test]
async fn streams_finish_when_the_server_stops_over_quic() {
    streams_finish(Who::Server, "quic").await;
}

#[tokio::test]
async fn streams_finish_when_the_server_stops_over_tls() {
    streams_finish(Who::Server, "tls").await;
}

#[tokio::test]
async fn streams_finish_when_the_agent_stops_over_quic() {
    streams_finish(Who::Agent, "quic").await;
}

#[tokio::test]
async fn streams_finish_when_the_agent_stops_over_tls() {
    streams_finish(Who::Agent, "tls").await;
}

/// A stream that does not end is broken off at the deadline: an error on both sides, and the program ends.
async fn broken_off_at_the_deadline(who: Who, transport: &str) {
    let name = format!("deadline-{who:?}").to_lowercase();
    let mut place = Place::new(&name, transport, DRAIN).await;
    let mut io = place.open().await;
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
    let took = within("the program ends", SOON, place.stop(who)).await;
    assert!(
        took >= DRAIN && took < DRAIN + Duration::from_secs(4),
        "{took:?}"
    );
    let (_, end) = within("the caller hears of it", SOON, caller::read_all(&mut io)).await;
    end.expect_err("what is broken off is no end");
    let ended = place.service.ended(1).await;
    assert!(matches!(ended[0], Ended::Broken(_)), "{ended:?}");
}

#[tokio::test]
async fn a_stream_is_broken_off_at_the_servers_deadline() {
    let over = async |transport: &str| {
        broken_off_at_the_deadline(Who::Server, transport).await;
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn a_stream_is_broken_off_at_the_agents_deadline() {
    let over = async |transport: &str| {
        broken_off_at_the_deadline(Who::Agent, transport).await;
    };
    tokio::join!(over("quic"), over("tls"));
}

#[tokio::test]
async fn a_server_that_drains_is_not_ready_and_says_so() {
    let server = Server::start(&["--drain-timeout", "4s"]).await;
    let node = Node::join("draining", &server).await;
    let service = Service::start().await;
    let mut io = caller::uds(&server.uds(), &node.at(service.port()))
        .await
        .unwrap();
    caller::say(&mut io, "echo").await.unwrap();
    caller::echo(&mut io, "hello").await.unwrap();
    server.tell_to_stop();
    let drains = async || {
        let answer = edge_tunnel_tests::metrics::page(server.admin(), "/readyz").await;
        match answer {
            Ok(answer) if answer.status == 503 && answer.text().contains("draining") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    until(
        "the server says that it drains",
        Duration::from_secs(2),
        drains,
    )
    .await;
    caller::echo(&mut io, "still here").await.unwrap();
}
