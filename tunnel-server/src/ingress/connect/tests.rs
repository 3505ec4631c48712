use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::ingress::shapes::HEADS;
use crate::ingress::testing::{Fake, context};

/// A target that sends first, then sends back what it gets, then says goodbye.
fn greeter() -> Fake {
    Fake::to(|_inbound, mut stream: DuplexStream| async move {
        stream.write_all(b"hello ").await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
        stream.write_all(b" bye").await.unwrap();
        stream.shutdown().await.unwrap();
    })
}

fn start(fake: Fake) -> (Context<Fake>, DuplexStream) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let context = context(Way::Connect, fake);
    let serving = context.clone();
    let who = Who {
        caller: Caller::UnixSocket,
        grant: None,
    };
    context
        .shutdown
        .spawn(async move { serving.connect(server, None, who).await });
    (context, client)
}

/// What comes back for these bytes, after which the caller half-closes.
async fn answer(fake: Fake, bytes: &str) -> String {
    let (_context, mut client) = start(fake);
    client.write_all(bytes.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn kube_apiservers_connect_gets_exactly_what_it_accepts() {
    let fake = greeter();
    let (context, mut client) = start(fake.clone());
    client
        .write_all(b"CONNECT edge-1:10250 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let mut head = vec![0; ESTABLISHED.len()];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(head, ESTABLISHED);
    client.write_all(b"bytes").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hello bytes bye");
    assert_eq!(fake.destinations(), ["edge-1:10250"]);
    assert_eq!(context.metrics.requests(Way::Connect, "opened"), 1);
}

#[tokio::test]
async fn bytes_behind_the_head_are_the_targets() {
    let answer = answer(
        greeter(),
        "CONNECT edge-1:22 HTTP/1.0\r\n\r\nSSH-2.0-x\r\nGET / HTTP/1.1\r\n\r\n",
    )
    .await;
    assert_eq!(
        answer,
        "HTTP/1.1 200 Connection Established\r\n\r\nhello SSH-2.0-x\r\nGET / HTTP/1.1\r\n\r\n bye"
    );
}

#[tokio::test]
async fn the_request_target_decides_and_host_never_does() {
    for (target, destination) in [
        ("Edge-1:10250", "edge-1:10250"),
        ("192.0.2.1:22", "192.0.2.1:22"),
        ("[2001:db8::1]:22", "[2001:db8::1]:22"),
    ] {
        let fake = greeter();
        answer(
            fake.clone(),
            &format!("CONNECT {target} HTTP/1.1\r\nHost: other:1\r\n\r\n"),
        )
        .await;
        assert_eq!(fake.destinations(), [destination]);
    }
}

#[tokio::test]
async fn a_failure_is_said_in_the_status_line() {
    let answer = answer(
        Fake::refusing(),
        "CONNECT edge-1:10250 HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    .await;
    let (line, rest) = answer.split_once("\r\n").unwrap();
    assert_eq!(
        line,
        "HTTP/1.1 503 node edge-1 is not connected;  w?hle eine andere"
    );
    assert!(
        rest.contains("Connection: close\r\n\r\n") && rest.ends_with("wähle eine andere\n"),
        "{rest}"
    );
}

#[tokio::test]
async fn other_methods_and_bad_targets_are_refused_in_words() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("GET http://edge-1/ HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("CONNECT edge-1 HTTP/1.1\r\nHost: edge-1:80\r\n\r\n", "400"),
        ("CONNECT edge-1:0 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (
            "CONNECT http://edge-1:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "400",
        ),
        ("CONNECT user@edge-1:80 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (
            "CONNECT edge-1:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "400",
        ),
        (
            "CONNECT edge-1:80 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("\u{16}\u{3}\u{1}\u{0}", "400"),
    ] {
        let fake = greeter();
        let answer = answer(fake.clone(), request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
        assert!(fake.destinations().is_empty(), "{request:?}");
    }
}

/// What the log has of a refusal.
#[tokio::test]
async fn a_refusal_says_what_was_wrong_and_where_to() {
    for (request, reason, target, text) in [
        (
            "CONNECT edge-1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "bad_request",
            Some("edge-1"),
            "names no port: write name:port",
        ),
        (
            "CONNECT edge-1:70000 HTTP/1.1\r\nHost: a\r\n\r\n",
            "bad_request",
            Some("edge-1:70000"),
            "no port",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "method",
            Some("/"),
            "only CONNECT",
        ),
        (
            "CONNECT edge-1:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
            "bad_request",
            Some("edge-1:80"),
            "no body",
        ),
        ("\u{16}\u{3}\u{1}\0", "bad_request", None, "TLS came to"),
        ("\0", "bad_request", None, "NUL"),
    ] {
        let asked = read_head(&mut request.as_bytes(), &mut BytesMut::new()).await;
        let Asked::Refused(why, asked) = asked else {
            panic!("{request:?} is not refused");
        };
        assert_eq!((why.reason, asked.as_deref()), (reason, target));
        assert!(why.text.contains(text), "{request:?}: {}", why.text);
    }
}

#[tokio::test]
async fn what_reads_two_ways_is_refused() {
    for shape in HEADS {
        let fake = greeter();
        let request = shape.replace("{}", "CONNECT edge-1:80");
        let answer = answer(fake.clone(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert!(fake.destinations().is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn a_head_has_a_size() {
    let fits = "x".repeat(HEAD_MAX - "CONNECT edge-1:80 HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len());
    for (value, status) in [
        (fits.clone(), "200"),
        (format!("{fits}x"), "431"),
        ("x".repeat(1 << 20), "431"),
    ] {
        let request = format!("CONNECT edge-1:80 HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n");
        let (_context, mut client) = start(greeter());
        // The far side stops reading when it has enough.
        let _ = client.write_all(request.as_bytes()).await;
        let mut line = [0; 13];
        client.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, format!("HTTP/1.1 {status} ").as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_ask_is_not_waited_for() {
    for begun in ["CONNECT edge-1:80 HT", ""] {
        let (context, mut client) = start(greeter());
        client.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(context.metrics.requests(Way::Connect, "head_timeout"), 1);
    }
}

/// A certificate of this name, signed by `ca` or by itself.
fn certificate(
    name: &str,
    ca: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>,
) -> (rcgen::Certificate, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = if ca.is_none() {
        rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)
    } else {
        rcgen::IsCa::NoCa
    };
    let certificate = match ca {
        None => params.self_signed(&key).unwrap(),
        Some(ca) => params.signed_by(&key, ca).unwrap(),
    };
    (certificate, key)
}

#[tokio::test]
async fn over_tls_a_certificate_names_the_caller() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (root, root_key) = certificate("ca", None);
    let ca = rcgen::Issuer::new(
        rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap(),
        root_key,
    );
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let leaf = |name| {
        let (certificate, key) = certificate(name, Some(&ca));
        (
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
    };
    let (chain, key) = leaf("localhost");
    let builder = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::clone(&roots),
        Arc::clone(&provider),
    );
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(builder.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let server = Arc::new(server);
    let certificates = Certificates {
        config: Arc::new(move || Arc::clone(&server)),
        identify: Arc::new(|session| {
            let shown = session.peer_certificates().map_or(0, <[_]>::len);
            Ok(Who {
                caller: Caller::Certificate(format!("shows {shown}").into()),
                grant: None,
            })
        }),
    };

    let fake = greeter();
    let context = context(Way::Connect, fake.clone());
    let listener = Tcp::bind("127.0.0.1:0".parse().unwrap(), "--connect-listen").unwrap();
    let address = listener.address();
    let serving = tokio::spawn(serve_tls(context.clone(), listener, certificates));

    let connect = async |client: rustls::ClientConfig| {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let mut tls = connector
            .connect("localhost".try_into().unwrap(), tcp)
            .await
            .unwrap();
        // In TLS 1.3 a refused certificate shows at the first read.
        let _ = tls
            .write_all(b"CONNECT edge-1:10250 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nbytes")
            .await;
        let _ = tls.shutdown().await;
        let mut answer = String::new();
        tls.read_to_string(&mut answer).await.map(|_| answer)
    };
    let client = || {
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&roots))
    };
    let (chain, key) = leaf("prometheus");
    let answer = connect(client().with_client_auth_cert(chain, key).unwrap())
        .await
        .unwrap();
    assert_eq!(
        answer,
        "HTTP/1.1 200 Connection Established\r\n\r\nhello bytes bye"
    );
    assert_eq!(
        fake.asked.lock()[0].caller,
        Caller::Certificate("shows 1".into())
    );
    assert!(connect(client().with_no_client_auth()).await.is_err());
    assert_eq!(fake.destinations().len(), 1);
    context.shutdown.draining().cancel();
    serving.await.unwrap();
}
