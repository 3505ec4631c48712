use super::*;
use crate::ingress::shapes::CHUNKS;

const CHUNKED: &str = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The framer behind these parts and all that passed, or what stopped it and all that passed before.
fn feed(parts: &[&str]) -> Result<(Framer, String), (Stop, String)> {
    let mut framer = Framer::default();
    let mut through = Vec::new();
    for part in parts {
        let passed = framer.feed(part.as_bytes());
        through.extend(passed.kept);
        through.extend_from_slice(&part.as_bytes()[..passed.count]);
        if let Some(stop) = passed.stop {
            return Err((stop, String::from_utf8(through).unwrap()));
        }
    }
    Ok((framer, String::from_utf8(through).unwrap()))
}

#[test]
fn heads_are_found_behind_bodies_of_every_kind() {
    let length = "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET / HTTP/9";
    let none = "GET /c HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunks = "5;x=y\r\n\n\r\n\r\n\r\n10\r\nGET / HTTP/9.9\r\n\r\n0\r\n";
    let all =
        format!("{length}{none}{CHUNKED}{chunks}\r\n{none}{CHUNKED}{chunks}T: v\r\n\r\n{length}");
    let (framer, through) = feed(&[&all]).unwrap();
    assert!(!framer.mid_head());
    assert_eq!(through, all);
    let bytes: Vec<String> = all.chars().map(String::from).collect();
    let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
    let (framer, through) = feed(&bytes).unwrap();
    assert!(!framer.mid_head());
    assert_eq!(through, all);
    // A bad head behind it is seen as one: so every body ended where it should.
    let bad = "GET / HTTP/9.9\r\n\r\n";
    let (stop, through) = feed(&[&format!("{all}{bad}")]).unwrap_err();
    assert!(matches!(stop, Stop::Head(_)), "{stop:?}");
    assert_eq!(through, all);
}

#[test]
fn a_head_in_parts_is_one_head() {
    let (framer, through) = feed(&["GET / HTTP/1.1\r\nHo"]).unwrap();
    assert!(framer.mid_head());
    assert_eq!(through, "");
    let (stop, through) = feed(&["GET / HTTP/1.1\r\nHo", "st: a\n"]).unwrap_err();
    assert!(matches!(stop, Stop::Head(_)), "{stop:?}");
    assert_eq!(through, "");
}

#[test]
fn a_head_passes_when_it_is_whole() {
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (framer, through) = feed(&[&format!("{good}GET /b HT"), "TP/1.1\r\nHo"]).unwrap();
    assert!(framer.mid_head());
    assert_eq!(through, good);
    // One that was kept back goes ahead of a bad one right behind it.
    let (stop, through) = feed(&[&good[..9], &format!("{}\0", &good[9..])]).unwrap_err();
    assert!(matches!(stop, Stop::Head(_)), "{stop:?}");
    assert_eq!(through, good);
}

#[test]
fn a_head_has_a_size_however_it_comes() {
    let head = |size: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(size - frame)
        )
    };
    for at in [0, 100, HEAD_MAX - 1] {
        let fits = head(HEAD_MAX);
        let (_, through) = feed(&[&fits[..at], &fits[at..]]).unwrap();
        assert_eq!(through, fits);
        // However much of it is there, whole or not, it is judged or refused: nothing slips through.
        for size in [HEAD_MAX + 1, 70_000, 200_000] {
            let large = head(size);
            let (stop, through) = feed(&[&large[..at], &large[at..]]).unwrap_err();
            assert!(
                matches!(&stop, Stop::Head(why) if why.status == 431),
                "{stop:?}"
            );
            assert_eq!(through, "");
        }
    }
}

#[test]
fn a_target_that_hyper_would_not_take_is_refused_here() {
    let (stop, _) = feed(&["GET http://[a/ HTTP/1.1\r\nHost: a\r\n\r\n"]).unwrap_err();
    assert!(
        matches!(&stop, Stop::Head(why) if why.status == 400),
        "{stop:?}"
    );
    for target in ["/", "*", "a", "http://a/b?c"] {
        assert!(feed(&[&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")]).is_ok());
    }
}

#[test]
fn bodies_that_read_two_ways_are_refused() {
    for body in CHUNKS {
        assert!(
            matches!(feed(&[CHUNKED, body]), Err((Stop::Body(_), _))),
            "{body:?}"
        );
    }
    let long = format!("1;{}", "x".repeat(CHUNK_LINE_MAX + 1));
    assert!(matches!(feed(&[CHUNKED, &long]), Err((Stop::Body(_), _))));
    let long = format!("0\r\n{}", "T: v\r\n".repeat(TRAILERS_MAX / 6 + 1));
    assert!(matches!(feed(&[CHUNKED, &long]), Err((Stop::Body(_), _))));
}

#[test]
fn after_an_upgrade_anything_goes() {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    assert!(
        !feed(&[upgrade, "\0\0\n\n", "GET / HTTP/9.9\r\n\r\n"])
            .unwrap()
            .0
            .mid_head()
    );
}
