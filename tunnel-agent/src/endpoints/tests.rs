use std::fs;

use edge_tunnel_proto::telemetry::health::Health;
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, Endpoints) {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = Endpoints::new(Vec::new(), Some(folder.path().to_owned()));
    (folder, endpoints)
}

async fn servers(endpoints: &Endpoints) -> Vec<String> {
    shown(&endpoints.servers().await)
}

#[tokio::test]
async fn the_file_is_read_anew_each_time() {
    let (folder, endpoints) = folder();
    let path = folder.path().join(SERVERS);
    assert!(servers(&endpoints).await.is_empty());
    fs::write(&path, "lb.example:10262\n").unwrap();
    assert_eq!(servers(&endpoints).await, ["lb.example:10262"]);
    let text = "# two balancers\nquic://a.example:1 # UDP\r\n\n  tls://[2001:db8::1]:2\nquic://a.example:1\n";
    fs::write(&path, text).unwrap();
    let two = ["quic://a.example:1", "tls://[2001:db8::1]:2"];
    assert_eq!(servers(&endpoints).await, two);
    assert_eq!(shown(&endpoints.known()), two);
    assert_eq!(endpoints.complaint(), None);
}

#[tokio::test]
async fn what_is_wrong_takes_nothing_away_and_is_told() {
    let (folder, endpoints) = folder();
    let path = folder.path().join(SERVERS);
    let told = || endpoints.complaint().unwrap_or_default();
    fs::write(&path, "a.example:1\nhttps://b.example:2\nc.example\n").unwrap();
    assert_eq!(servers(&endpoints).await, ["a.example:1"]);
    assert!(
        told().contains("line 2") && told().contains("line 3"),
        "{}",
        told()
    );
    for (text, words) in [
        ("", "names no server"),
        ("nothing here\n", "line 1"),
        ("a\0b", "NUL"),
        (&"#".repeat(17 * 1024), "larger than"),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(servers(&endpoints).await, ["a.example:1"], "{words}");
        assert!(told().contains(words), "{words}: {}", told());
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(servers(&endpoints).await, ["a.example:1"]);
    assert!(told().contains("there is no"), "{}", told());
    fs::create_dir(&path).unwrap();
    assert_eq!(servers(&endpoints).await, ["a.example:1"]);
    assert!(told().contains("it is no file"), "{}", told());
}

#[tokio::test]
async fn so_many_servers_are_used_and_no_more() {
    let (folder, endpoints) = folder();
    let text: String = (1..=40).map(|n| format!("192.0.2.{n}:1\n")).collect();
    fs::write(folder.path().join(SERVERS), text).unwrap();
    assert_eq!(servers(&endpoints).await.len(), USED_MAX);
    let told = endpoints.complaint().unwrap();
    assert!(told.contains("line 17: only 16 servers"), "{told}");
}

#[tokio::test]
async fn what_the_command_line_says_stands_whatever_the_folder_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(SERVERS), "b.example:2\n").unwrap();
    let dir = Some(folder.path().to_owned());
    let endpoints = Endpoints::new(vec!["a.example:1".parse().unwrap()], dir);
    assert_eq!(servers(&endpoints).await, ["a.example:1"]);
    assert_eq!(shown(&endpoints.known()), ["a.example:1"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_server_says_so_and_goes_on_soon() {
    let (folder, endpoints) = folder();
    let health = Health::default();
    let part = health.register("session", "no session yet; dialling");
    let waiting = tokio::spawn(async move {
        endpoints.wait(&part).await;
        (endpoints, part)
    });
    let says = async |words: &str| {
        while !health.report(false).text.contains(words) {
            sleep(LOOK / 4).await;
        }
    };
    says("no server is known yet: there is no ").await;
    assert!(!waiting.is_finished());
    fs::write(folder.path().join(SERVERS), "").unwrap();
    says("names no server").await;
    fs::write(folder.path().join(SERVERS), "a.example:1\n").unwrap();
    let (endpoints, _part) = waiting.await.unwrap();
    assert_eq!(shown(&endpoints.known()), ["a.example:1"]);
    says("session: no session yet; dialling").await;
}

#[tokio::test]
async fn a_bundle_that_is_none_is_told() {
    let (folder, endpoints) = folder();
    let error = async || endpoints.bundle().await.unwrap().unwrap_err().to_string();
    assert!(
        error().await.contains("ca.crt cannot be read"),
        "{}",
        error().await
    );
    fs::write(folder.path().join(BUNDLE), "no PEM").unwrap();
    assert!(
        error().await.contains("holds no certificate"),
        "{}",
        error().await
    );
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).unwrap();
    let pem = edge_tunnel_proto::identity::certificates_to_pem(&[certificate.der().clone()]);
    fs::write(folder.path().join(BUNDLE), pem).unwrap();
    let bundle = endpoints.bundle().await.unwrap().unwrap();
    assert_eq!(bundle.certificates(), [certificate.der().clone()]);
    let none = Endpoints::new(vec!["a:1".parse().unwrap()], None);
    assert!(none.bundle().await.is_none());
}
