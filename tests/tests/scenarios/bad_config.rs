//! Live keys that are no text, no file, or far too much: what was known stands, what narrows rights never widens them,
//! and nothing waits for them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use edge_tunnel_tests::caller::{self, Refused, get};
use edge_tunnel_tests::metrics;
use edge_tunnel_tests::node::Node;
use edge_tunnel_tests::server::Server;
use edge_tunnel_tests::service::Service;
use edge_tunnel_tests::wait::{SOON, until};
use edge_tunnel_tests::web::Web;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::Mode;

/// What may stand in a key's place and is no key.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Folder,
    Pipe,
    Loop,
    Endless,
    Huge,
    Utf16,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::Folder,
        Self::Pipe,
        Self::Loop,
        Self::Endless,
        Self::Huge,
        Self::Utf16,
    ];

    /// What is said of it.
    const fn words(self) -> &'static str {
        match self {
            Self::Folder | Self::Pipe | Self::Endless => "it is no file",
            Self::Loop => "symbolic links",
            Self::Huge => "it is larger than 1048576 bytes",
            Self::Utf16 => "UTF-16",
        }
    }

    /// Puts it into the place of what is there, in one step: a key that is gone for a moment would have its default.
    fn stands_at(self, path: &Path) {
        let made = path.with_file_name(".fault");
        Self::clear(&made);
        match self {
            Self::Folder => fs::create_dir(&made).unwrap(),
            Self::Pipe => nix::unistd::mkfifo(&made, Mode::S_IRWXU).unwrap(),
            Self::Loop => symlink(path, &made).unwrap(),
            Self::Endless => symlink("/dev/zero", &made).unwrap(),
            // 100 MB that take no room.
            Self::Huge => fs::File::create(&made)
                .unwrap()
                .set_len(100_000_000)
                .unwrap(),
            Self::Utf16 => fs::write(&made, b"\xff\xfeu\0n\0i\0x\0").unwrap(),
        }
        if fs::symlink_metadata(path).is_err() {
            return fs::rename(&made, path).unwrap();
        }
        let both = RenameFlags::RENAME_EXCHANGE;
        renameat2(AT_FDCWD, &made, AT_FDCWD, path, both).unwrap();
        Self::clear(&made);
    }

    fn clear(path: &Path) {
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir(path).unwrap();
        } else {
            let _ = fs::remove_file(path);
        }
    }
}

async fn ask(server: &Server, at: &str) -> Result<(), Refused> {
    caller::uds(&server.uds(), at).await.map(drop)
}

async fn counted(server: &Server, key: &str, wanted: f64) {
    let label = format!("key=\"{key}\"");
    let look = async || {
        let metrics = server.metrics().await;
        let bad = metrics.sum("config_bad_entries", &[&label]);
        ((bad - wanted).abs() < 0.5)
            .then_some(())
            .ok_or(bad.to_string())
    };
    until(&format!("{wanted} bad entries of {key}"), SOON, look).await;
}

async fn shows(server: &Server, words: &[&str]) {
    let look = async || {
        let page = metrics::page(server.admin(), "/").await.unwrap().text();
        let all = words.iter().all(|word| page.contains(word));
        all.then_some(()).ok_or(page)
    };
    until(&format!("the page shows {words:?}"), SOON, look).await;
}

#[tokio::test]
async fn callers_that_were_never_readable_let_nobody_in() {
    let mut server = Server::start(&[]).await;
    let mut node = Node::join("bad-callers", &server).await;
    let (service, web) = (Service::start().await, Web::start("web").await);
    let port = service.port().to_string();
    let client = server
        .issue_client("bad-callers", &["--ports", &port])
        .await;
    server.key("http-proxy-ports", &web.port().to_string());
    let at = node.at(service.port());
    let callers = server.config_dir().join("callers");
    for fault in Fault::ALL {
        server.stop().await;
        fault.stands_at(&callers);
        server.start_again().await;
        // Anew, so that it does not wait ever longer for a server that comes and goes.
        node.stop().await;
        node.start().await;
        node.ready().await;
        server.session(node.name(), |_| true).await;
        let refused = [
            ask(&server, &at).await,
            caller::mtls(server.connect(), &client, &at).await.map(drop),
        ];
        for refused in refused {
            let refused = refused.unwrap_err();
            assert_eq!(refused.status, 403, "{fault:?}: {refused:?}");
            for words in ["callers key", "cannot be read", fault.words()] {
                assert!(refused.phrase.contains(words), "{fault:?}: {refused:?}");
            }
        }
        counted(&server, "callers", 1.0).await;
        shows(
            &server,
            &["callers", "nobody may reach anything by connect"],
        )
        .await;
        // What is no matter of callers goes on.
        let answer = caller::http(server.http(), get("/name", &node.at(web.port()))).await;
        assert_eq!(answer.unwrap().status, 200, "{fault:?}");
        // Mended, they count; and once read they stand, whatever comes in their place.
        Fault::clear(&callers);
        server.key("callers", &format!("\u{feff}unix-socket ports={port}\r\n"));
        let mended = async || {
            ask(&server, &at)
                .await
                .map_err(|error| format!("{error:?}"))
        };
        until("the callers are read", SOON, mended).await;
        counted(&server, "callers", 0.0).await;
        fault.stands_at(&callers);
        counted(&server, "callers", 1.0).await;
        shows(
            &server,
            &["callers", "what it last said stands", fault.words()],
        )
        .await;
        ask(&server, &at).await.unwrap();
        let other = ask(&server, &node.at(web.port())).await.unwrap_err();
        assert_eq!(other.status, 403, "{fault:?}: {other:?}");
        Fault::clear(&callers);
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_read_any_more_stands_and_every_key_skips_what_is_bad() {
    let web = Web::start("web").await;
    let server = Server::with_keys(&[("http-proxy-ports", &web.port().to_string())]).await;
    let node = Node::join("bad-keys", &server).await;
    let at = node.at(web.port());
    let answers = async || {
        let answer = caller::http(server.http(), get("/name", &at))
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    answers().await;
    for key in [
        "http-proxy-ports",
        "https-proxy-ports",
        "localhost-proxy-ports",
        "dnat-ports-pair",
        "nodes",
        "callers",
    ] {
        for fault in Fault::ALL {
            fault.stands_at(&server.config_dir().join(key));
            counted(&server, key, 1.0).await;
            answers().await;
        }
        Fault::clear(&server.config_dir().join(key));
        if key == "http-proxy-ports" {
            server.key(key, &web.port().to_string());
        }
        counted(&server, key, 0.0).await;
    }
    for (key, text, bad) in [
        (
            "http-proxy-ports",
            format!(
                "\u{feff}{}\r\n9100\x1b,\u{1}\r\n９１００, 1e3,-1,+1, 0",
                web.port()
            ),
            7.0,
        ),
        ("https-proxy-ports", "0,x=1,1=x,=,1==2, \u{a0}".into(), 5.0),
        (
            "localhost-proxy-ports",
            "10250,\u{202e}9100,99999".into(),
            2.0,
        ),
        ("dnat-ports-pair", "1=2,=,x".into(), 3.0),
        (
            "nodes",
            "\x1b[31m\nbad-keys 192.0.2.1 \x07 =x 127.0.0.1\nn\u{f6}de\n../etc 192.0.2.2\n".into(),
            6.0,
        ),
        (
            "callers",
            "bad-keys ports=x\n../x ports=1\nx nodes=\x1b\nx ports=1\n\u{200b}y\n".into(),
            5.0,
        ),
    ] {
        server.key(key, &text);
        counted(&server, key, bad).await;
        answers().await;
    }
    // They are shown, and steer nobody's terminal or page.
    let page = metrics::page(server.admin(), "/").await.unwrap().text();
    let steers = |c: char| c.is_control() && c != '\n';
    assert!(!page.contains(steers), "{page:?}");
}

#[tokio::test]
async fn a_hundred_thousand_lines_hold_nobody_up() {
    let web = Web::start("web").await;
    let own = web.port().to_string();
    let server = Server::with_keys(&[("http-proxy-ports", &own)]).await;
    let node = Node::join("many-lines", &server).await;
    let at = node.at(web.port());
    let lines = |line: &dyn Fn(u32) -> String| (1..=100_000).map(line).collect::<String>();
    let addresses: String = (0..65_000_u32)
        .map(|number| format!(" 10.{}.{}.1", number / 256, number % 256))
        .collect();
    for (key, text, bad) in [
        ("nodes", lines(&|number| format!("n{number}\n")), 0.0),
        ("nodes", lines(&|_| "!\n".to_owned()), 100_000.0),
        ("nodes", format!("n{addresses}"), 0.0),
        ("nodes", format!("n{addresses}").replace(" 10.", "\nn"), 0.0),
        ("callers", lines(&|number| format!("c{number}\n")), 0.0),
        ("callers", lines(&|_| "c x\n".to_owned()), 100_000.0),
        (
            "localhost-proxy-ports",
            lines(&|number| format!("{number},")),
            34_465.0,
        ),
        (
            "http-proxy-ports",
            format!("{own},{}", lines(&|_| "x,".to_owned())),
            100_000.0,
        ),
    ] {
        server.key(key, &text);
        let answer = caller::http(server.http(), get("/name", &at))
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{key}");
        counted(&server, key, bad).await;
        let answer = caller::http(server.http(), get("/name", &at))
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{key}");
    }
}
