//! Programs that are out of open files: what is there lives, what comes anew is told or waits, and it is over by itself.

use std::time::Duration;

use edge_tunnel_tests::caller::{self, get};
use edge_tunnel_tests::census::Census;
use edge_tunnel_tests::link::Link;
use edge_tunnel_tests::programs::{Cloud, Edge, Surroundings};
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until, within};
use edge_tunnel_tests::web::Web;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// What the program needs for itself is about a third of it.
const FILES: usize = 60;

async fn open(cloud: &Cloud, at: &str) -> Result<UnixStream, String> {
    let opened = timeout(Duration::from_secs(3), caller::uds(&cloud.uds(), at)).await;
    let mut io = opened
        .map_err(|_elapsed| "no answer".to_owned())?
        .map_err(|refused| format!("{} {}", refused.status, refused.phrase))?;
    let said = async {
        caller::say(&mut io, "echo").await?;
        caller::echo(&mut io, "hello").await
    };
    said.await.map_err(|error| error.to_string())?;
    Ok(io)
}

/// Opens streams until no more can be had; says why.
async fn fill(cloud: &Cloud, at: &str) -> (Vec<UnixStream>, String) {
    let mut streams = Vec::new();
    loop {
        assert!(streams.len() < 2 * FILES, "there is no limit");
        match open(cloud, at).await {
            Ok(io) => streams.push(io),
            Err(words) => return (streams, words),
        }
    }
}

async fn live(streams: &mut [UnixStream]) {
    for io in streams {
        let said = within("an echo", SOON, caller::echo(io, "still here")).await;
        said.unwrap();
    }
}

async fn opens(cloud: &Cloud, at: &str) {
    let look = async || open(cloud, at).await.map(drop);
    until("a stream opens", 3 * SOON, look).await;
}

async fn agent_without(transport: &str) {
    let service = Service::start().await;
    let flags = ["--heartbeat", "1s"];
    let Some(cloud) = Cloud::start(&Surroundings::default(), &flags).await else {
        return;
    };
    let link = Link::to(cloud.agents()).await;
    let dial = format!("{transport}://{}", link.address());
    let name = format!("files-agent-{transport}");
    let around = Surroundings::open_files(FILES);
    let Some(mut edge) = Edge::start(&name, &cloud, &dial, &around, &flags).await else {
        return;
    };
    edge.ready().await;
    let at = edge.at(service.port());
    drop(open(&cloud, &at).await.unwrap());
    let counted = [cloud.counted(), edge.counted()];
    let before = Census::settled(&counted).await;

    let (mut streams, why) = fill(&cloud, &at).await;
    assert!(
        why.starts_with("503") && why.contains("LimitNOFILE"),
        "{why}"
    );
    assert!(streams.len() > FILES / 4, "{}", streams.len());
    live(&mut streams).await;
    // For longer than a heartbeat, and than it takes to look at the state folder again.
    sleep(Duration::from_secs(11)).await;
    live(&mut streams).await;
    // One that ends makes room for one.
    drop(streams.pop());
    opens(&cloud, &at).await;
    drop(streams);
    opens(&cloud, &at).await;
    before.comes_back(&counted).await;

    // A session that is lost just then is dialled again, since its streams went with it.
    let (streams, _) = fill(&cloud, &at).await;
    link.path(transport).cut();
    opens(&cloud, &at).await;
    drop(streams);
    before.comes_back(&counted).await;
    edge.daemon().says(&["connected"]).await;
}

#[tokio::test]
async fn an_agent_that_is_out_of_open_files_says_so_and_recovers() {
    tokio::join!(agent_without("quic"), agent_without("tls"));
}

async fn server_without(transport: &str) {
    let (service, web) = (Service::start().await, Web::start("web").await);
    let flags = ["--heartbeat", "1s"];
    let around = Surroundings::open_files(FILES);
    let Some(mut cloud) = Cloud::start(&around, &flags).await else {
        return;
    };
    let dial = format!("{transport}://{}", cloud.agents());
    let name = format!("files-server-{transport}");
    let Some(edge) = Edge::start(&name, &cloud, &dial, &Surroundings::default(), &flags).await
    else {
        return;
    };
    edge.ready().await;
    let at = edge.at(service.port());
    drop(open(&cloud, &at).await.unwrap());
    let counted = [cloud.counted(), edge.counted()];
    let before = Census::settled(&counted).await;

    let (mut streams, _no_answer) = fill(&cloud, &at).await;
    assert!(streams.len() > FILES / 4, "{}", streams.len());
    cloud
        .daemon()
        .says(&["cannot be accepted", "ulimit -n"])
        .await;
    live(&mut streams).await;
    // What is read again and what is asked for meanwhile does no harm.
    let key = cloud.config_dir().join("http-proxy-ports");
    std::fs::write(key, web.port().to_string()).unwrap();
    sleep(Duration::from_secs(11)).await;
    live(&mut streams).await;
    // It does not fill a disk with that news.
    let lines = cloud.daemon().log().lines().count();
    assert!(lines < 200, "{lines} lines of log");
    drop(streams);
    opens(&cloud, &at).await;
    before.comes_back(&counted).await;
    // The key that was written then is in force, and tokens can be made.
    let answers = async || {
        let asked = caller::http(cloud.http(), get("/name", &edge.at(web.port())));
        match timeout(Duration::from_secs(3), asked).await {
            Ok(Ok(answer)) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    until("the new key is in force", SOON, answers).await;
    cloud.token("another").await;
}

#[tokio::test]
async fn a_server_that_is_out_of_open_files_lets_callers_wait_and_recovers() {
    tokio::join!(server_without("quic"), server_without("tls"));
}
