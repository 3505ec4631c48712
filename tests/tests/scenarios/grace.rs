//! What an expired certificate is good for, tried by somebody who holds the key and keeps no rule of ours.

use std::time::Duration;

use edge_tunnel_agent::identity::{Identity, Settings};
use edge_tunnel_proto::clock::Clock;
use edge_tunnel_proto::codec::Kind;
use edge_tunnel_proto::identity::TrustDomain;
use edge_tunnel_proto::message::enroll::{EnrollResponse, Outcome};
use edge_tunnel_proto::stream::Framed;
use edge_tunnel_proto::transport::{Connected, Transport};
use edge_tunnel_tests::caller;
use edge_tunnel_tests::forge::DAY;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::raw;
use edge_tunnel_tests::server::Server;

struct Place {
    server: Server,
    clock: Clock,
    node: Node,
    /// What the node holds, by the clock that the server has too.
    held: Identity,
}

async fn place(name: &str) -> Place {
    let clock = Clock::fixed(Clock::system().now());
    let server = Server::start_with(&[], &[], clock.clone()).await;
    let mut node = Node::new(name, &server.agents()).clock(&clock);
    node.enrol(&server).await;
    node.stop().await;
    let held = Identity::open(&Settings {
        state_dir: node.state_dir(),
        trust_domain: TrustDomain::default(),
        clock: clock.clone(),
    })
    .unwrap();
    Place {
        server,
        clock,
        node,
        held,
    }
}

impl Place {
    /// A connection for enrolments, which shows the certificate.
    async fn renewing(&self, transport: Transport) -> Result<Connected, String> {
        let config = self.held.renew_config().unwrap();
        raw::dial(transport, self.server.agents(), config).await
    }

    async fn asks(&self, connected: &Connected) -> Result<Outcome, String> {
        let request = self.held.late_renew_request().unwrap();
        let Ok(stream) = connected.lane.open() else {
            return Err(raw::last_words(connected).await);
        };
        let mut stream = Framed::new(stream);
        let exchange = async {
            stream.send(Kind::Enroll, &request).await?;
            stream.receive().await?.message::<EnrollResponse>()
        };
        match exchange.await {
            Ok(response) => Ok(response.outcome.unwrap()),
            Err(_broken) => Err(raw::last_words(connected).await),
        }
    }

    async fn nothing_is_there(&self) {
        let status = self.server.node(self.node.name()).await.unwrap();
        assert_eq!(status.session, None);
        let refused = caller::uds(&self.server.uds(), &self.node.at(22)).await;
        assert_eq!(refused.map(drop).unwrap_err().status, 503);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_good_for_a_renewal_and_for_nothing_else() {
    let over = async |transport: Transport| {
        let place = place(&format!("grace-{transport}")).await;
        let agents = place.server.agents();
        place.clock.set(place.clock.now() + 31 * DAY);

        // A session.
        let config = place.held.session_config().unwrap();
        let words = raw::session(transport, agents, config).await.unwrap_err();
        assert!(words.contains("for nothing else"), "{transport}: {words}");
        place.nothing_is_there().await;

        // A session on a connection that is for enrolments, a stream to somewhere, and a frame out of the blue.
        let connected = place.renewing(transport).await.unwrap();
        let words = raw::greet(&connected).await.unwrap_err();
        assert!(
            words.contains("an enrolment begins"),
            "{transport}: {words}"
        );
        for kind in [Kind::Open, Kind::Data, Kind::Opened] {
            let connected = place.renewing(transport).await.unwrap();
            let mut stream = Framed::new(connected.lane.open().unwrap());
            let _ = stream.send_empty(kind).await;
            let words = raw::last_words(&connected).await;
            assert!(
                words.contains("an enrolment begins"),
                "{transport}, {kind:?}: {words}"
            );
        }
        place.nothing_is_there().await;

        // A renewal; and then nothing more on that connection.
        let connected = place.renewing(transport).await.unwrap();
        let outcome = place.asks(&connected).await.unwrap();
        assert!(matches!(outcome, Outcome::Issued(_)), "{outcome:?}");
        let mut control = Framed::new(connected.lane.open().unwrap());
        let _ = control.send(Kind::Control, &raw::hello()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        place.nothing_is_there().await;
        let refused = place.server.metrics().await;
        let label = format!("transport=\"{transport}\"");
        let refused = refused.sum("handshakes_total", &["outcome=\"refused\"", &label]);
        assert!((refused - 1.0).abs() < 0.5, "{transport}: {refused}");

        // After the grace not even that, with what to do.
        place.clock.set(place.clock.now() + 91 * DAY);
        let connected = place.renewing(transport).await;
        let words = match connected {
            Ok(connected) => place.asks(&connected).await.unwrap_err(),
            Err(words) => words,
        };
        for word in [
            "--renew-grace",
            "certificate.pem",
            "--replace",
            "92 days later",
        ] {
            assert!(words.contains(word), "{transport}: {word:?} in {words}");
        }
    };
    tokio::join!(over(Transport::Quic), over(Transport::Tls));
}
