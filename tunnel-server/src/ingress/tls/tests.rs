use std::collections::BTreeMap;
use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;

use super::hello::tests::{hello, sni};
use super::ports::{State, States, serve_ports};
use super::*;
use crate::ingress::testing::{Fake, context};
use crate::route::Routes;
use crate::route::index::{Content, Index, Settings};
use crate::route::keys::Key;

mod hellos;

const KUBELET: Port = Port::known(10250);

/// A target that sends back what it gets.
fn echo() -> Fake {
    Fake::to(|_inbound, mut stream: DuplexStream| async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
    })
}

async fn answer(fake: Fake, bytes: &[u8]) -> (Vec<u8>, Context<Fake>) {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let context = context(Way::Tls, fake);
    let serving = context.clone();
    context
        .shutdown
        .spawn(async move { serving.pass(server, None, KUBELET).await });
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    (answer, context)
}

#[tokio::test]
async fn bytes_pass_untouched_to_the_named_node_and_the_listeners_port() {
    let fake = echo();
    let mut bytes = hello(&[sni(b"EDGE-1")], 7);
    bytes.extend(b"whatever comes next");
    let (answer, context) = answer(fake.clone(), &bytes).await;
    assert_eq!(answer, bytes);
    assert_eq!(fake.destinations(), ["edge-1:10250"]);
    assert_eq!(context.metrics.requests(Way::Tls, "opened"), 1);
}

#[tokio::test]
async fn without_a_usable_name_the_answer_is_unrecognized_name() {
    for (extensions, reason) in [
        (vec![], "no_server_name"),
        (vec![sni(b"edge_1")], "bad_server_name"),
    ] {
        let fake = echo();
        let (answer, context) = answer(fake.clone(), &hello(&extensions, 500)).await;
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 112]);
        assert_eq!(context.metrics.requests(Way::Tls, reason), 1);
        assert!(fake.destinations().is_empty());
    }
}

#[tokio::test]
async fn a_refusal_is_an_alert() {
    let (answer, context) = answer(Fake::refusing(), &hello(&[sni(b"edge-1")], 500)).await;
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 80]);
    assert_eq!(context.metrics.requests(Way::Tls, "not_connected"), 1);
    let alert = |kind, reason| Alert::of(&Refusal::new(kind, reason, ""));
    assert_eq!(
        alert(Kind::Unavailable, "unknown_node"),
        Alert::UnrecognizedName
    );
    assert_eq!(alert(Kind::Forbidden, "port_not_open"), Alert::AccessDenied);
}

#[tokio::test]
async fn plain_http_is_told_where_to_go() {
    let (answer, _) = answer(echo(), b"GET / HTTP/1.1\r\nHost: edge-1\r\n\r\n").await;
    let text = String::from_utf8(answer).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 400 this port takes TLS") && text.contains("--http-listen"),
        "{text}"
    );
}

#[tokio::test]
async fn what_never_ends_is_cut_off() {
    // A message of 60 KiB, in records of one byte.
    let mut flood = vec![22, 3, 1, 0, 4, 1, 0, 0xf0, 0];
    flood.extend([22, 3, 1, 0, 1, 1].repeat(30_000));
    let (answer, _) = answer(echo(), &flood).await;
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_says_nothing_is_not_waited_for() {
    let (mut client, server) = tokio::io::duplex(64);
    let context = context(Way::Tls, echo());
    context.pass(server, None, KUBELET).await;
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(context.metrics.requests(Way::Tls, "hello_timeout"), 1);
}

fn https(ports: &str) -> crate::route::Table {
    let mut index = Index::new(Settings::default());
    index.keys([(Key::HttpsProxyPorts, Content::Text(ports.to_owned()))]);
    index.table()
}

/// Free ports of an address that other tests do not use.
fn free<const N: usize>(ip: IpAddr) -> [u16; N] {
    let held: Vec<_> = (0..N)
        .map(|_| std::net::TcpListener::bind((ip, 0)).unwrap())
        .collect();
    std::array::from_fn(|index| held[index].local_addr().unwrap().port())
}

async fn until(
    states: &States,
    holds: impl Fn(&BTreeMap<Port, State>) -> bool,
) -> BTreeMap<Port, State> {
    let waiting = async {
        loop {
            let now = states.get();
            if holds(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), waiting)
        .await
        .expect("listeners in time")
}

#[tokio::test]
async fn listeners_follow_the_table_and_one_that_fails_is_alone() {
    let ip: IpAddr = "127.7.7.7".parse().unwrap();
    let [a, b, taken] = free(ip);
    let occupant = std::net::TcpListener::bind((ip, taken)).unwrap();
    let fake = echo();
    let context = context(Way::Tls, fake.clone());
    let routes = Routes::new(https(&format!("9445={a}, 9446={taken}")));
    let states = States::default();
    let task = tokio::spawn(serve_ports(
        context.clone(),
        routes.clone(),
        ip,
        states.clone(),
    ));
    let port = |number| Port::new(number).unwrap();
    let now = until(&states, |states| states.len() == 2).await;
    assert_eq!(now[&port(9445)], State::Listening((ip, a).into()));
    assert!(
        matches!(&now[&port(9446)], State::Failed(why) if why.contains("https-proxy-ports")),
        "{now:?}"
    );

    let mut client = TcpStream::connect((ip, a)).await.unwrap();
    client
        .write_all(&hello(&[sni(b"edge-1")], 500))
        .await
        .unwrap();
    while fake.destinations().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fake.destinations(), ["edge-1:9445"]);

    // The listener closes; the stream through it ends by itself.
    drop(occupant);
    routes.publish(https(&format!("9446={taken}, 9447={b}")));
    let all = |states: &BTreeMap<_, _>| {
        states.len() == 2 && states.values().all(|s| matches!(s, State::Listening(_)))
    };
    let now = until(&states, all).await;
    assert!(!now.contains_key(&port(9445)), "{now:?}");
    client.shutdown().await.unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, hello(&[sni(b"edge-1")], 500));
    assert!(TcpStream::connect((ip, a)).await.is_err());
    context.shutdown.draining().cancel();
    task.await.unwrap();
}
