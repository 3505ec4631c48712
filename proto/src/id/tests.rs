use super::*;

#[test]
fn node_names_are_dns_1123_subdomains() {
    for good in ["edge-1", "a", "0", "edge-1.shop.example", "1a-b"] {
        assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
    }
    let long = "a".repeat(254);
    for bad in [
        "",
        "-a",
        "a-",
        "A",
        "a_b",
        "a..b",
        ".a",
        "a.",
        "a b",
        "ä",
        "a/b",
        "a\0",
        long.as_str(),
    ] {
        assert!(bad.parse::<NodeName>().is_err(), "{bad:?} was taken");
    }
}

#[test]
fn no_node_is_named_like_an_address() {
    for address in ["1.2.3.4", "0.0.0.0", "255.255.255.255"] {
        let words = address.parse::<NodeName>().unwrap_err().to_string();
        assert!(
            words.contains("IP address") && words.contains(&format!("node-{address}")),
            "{words}"
        );
        assert!(format!("node-{address}").parse::<NodeName>().is_ok());
    }
    // Whatever is a name here is one for whoever dials it, too.
    for name in [
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.a",
        "10",
    ] {
        let named = Host::Name(name.parse().unwrap());
        assert_eq!(name.parse::<Host>().unwrap(), named);
    }
    assert!("1.2.3.4.".parse::<Host>().is_err(), "neither of the two");
}

#[test]
fn what_a_destination_lacks_is_said() {
    let words = |text: &str| text.parse::<Destination>().unwrap_err().to_string();
    for text in ["[::1]", "edge-1", "[::1]:", "edge-1:"] {
        let words = words(text);
        assert!(
            words.starts_with(&format!("{text:?} names no port")),
            "{words}"
        );
    }
    for text in ["", ":80"] {
        let words = words(text);
        assert!(words.starts_with("no destination is named"), "{words}");
    }
    let host = "".parse::<Host>().unwrap_err().to_string();
    assert!(host.starts_with("no destination is named"), "{host}");
    for text in ["[::1", "[::1]80", "::1:80", "["] {
        let words = words(text);
        assert!(words.contains("is no host:port"), "{words}");
    }
}

#[test]
fn an_error_shows_at_most_an_excerpt() {
    let error = "X"
        .repeat(100_000)
        .parse::<NodeName>()
        .unwrap_err()
        .to_string();
    assert!(error.len() < 400, "{}", error.len());
}

#[test]
fn ports_are_1_to_65535_in_digits() {
    assert_eq!("10250".parse::<Port>().unwrap().get(), 10250);
    for bad in ["", "0", "65536", "+1", "-1", "1 ", "0x1", "１"] {
        assert!(bad.parse::<Port>().is_err(), "{bad:?} was taken");
    }
}

#[test]
fn destinations() {
    let of = |t: &str| t.parse::<Destination>().map(|d| d.to_string());
    assert_eq!(of("Edge-1:9100").unwrap(), "edge-1:9100");
    assert_eq!(of("192.0.2.1:1").unwrap(), "192.0.2.1:1");
    assert_eq!(of("[2001:DB8::1]:443").unwrap(), "[2001:db8::1]:443");
    assert_eq!(of("[::ffff:192.0.2.1]:80").unwrap(), "192.0.2.1:80");
    for bad in [
        "",
        "edge-1",
        "edge-1:",
        ":80",
        "edge-1:0",
        "::1:80",
        "[::1]",
        "[edge-1]:80",
        "a:b:80",
        "[::1]:x",
    ] {
        assert!(of(bad).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn identifiers_survive_their_text_form() {
    let id = StreamId::random();
    assert_eq!(id.to_string().parse::<StreamId>().unwrap(), id);
    assert_eq!(ReplicaId(7).to_string(), "0000000000000007");
    for bad in ["", "7", "+000000000000007", "000000000000000g"] {
        assert!(bad.parse::<ReplicaId>().is_err(), "{bad:?} was taken");
    }
}
