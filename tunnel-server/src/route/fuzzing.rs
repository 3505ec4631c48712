//! The live keys, whose bad entries are skipped alone.

use std::collections::BTreeSet;

use edge_tunnel_proto::testing::{Decoder, said};

use super::callers::{Callers, Pattern};
use super::index::{Content, Index, Settings};
use super::keys::{Key, Problems};
use super::nodes::{Claim, Declared, Nodes, Rules, lines};
use super::ports::{KUBELET_HTTP, KUBELET_TLS, Listeners};
use super::selector::Selectors;
use crate::identity::NodePattern;

pub(crate) const NODES: Decoder = Decoder {
    name: "key-nodes",
    check: nodes,
    samples: || {
        let long = format!("edge-1 {}", "x".repeat(2000));
        [
            "# name addresses labels\nedge-1 192.0.2.10 2001:db8::10, zone=shop\nedge-2 192.0.2.11 a=\n",
            "edge-1 192.0.2.1\nedge-2 192.0.2.1\nedge-2 ::ffff:192.0.2.1 fe80::1\n",
            &long,
        ]
        .map(Vec::from)
        .into()
    },
};

pub(crate) const CALLERS: Decoder = Decoder {
    name: "key-callers",
    check: callers,
    samples: || {
        let long = format!("{} ports=x", "x".repeat(2000));
        [
            "# who\nprometheus nodes=edge-*,shop ports=9100,9445 direct=yes\nunix-socket ports=configured\n",
            "ops ports=all\nops ports=1\nalice direct=no nodes=a*b\n",
            &long,
        ]
        .map(Vec::from)
        .into()
    },
};

/// The four keys that speak of ports, with `|` between.
pub(crate) const PORTS: Decoder = Decoder {
    name: "key-ports",
    check: ports,
    samples: || {
        [
            "9100, 9051|9445, 9446=11000|9051=10264,9052 = 10263, 9053|10250, 10266",
            "9100\r\n9101|10250,10255|10250=10264|",
        ]
        .map(Vec::from)
        .into()
    },
};

fn problems(table: &Problems) {
    assert!(table.listed().len() <= 100 && table.listed().len() <= table.total());
    // Of many, a few.
    table.listed().iter().take(3).for_each(said);
}

fn nodes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Problems::default();
    let via = Selectors::default();
    let declared = lines::parse(&text, &via, &mut found);
    let read = Nodes::settle(&declared.iter(), &Rules::default(), &mut found);
    problems(&found);
    for Declared {
        name, addresses, ..
    } in &declared
    {
        let mut seen = BTreeSet::new();
        for address in addresses {
            assert!(seen.insert(address), "{address} twice");
            match read.claim(*address) {
                Claim::One(only) => assert_eq!(only, name),
                Claim::Many(several) => assert!(several.contains(name)),
                other => unreachable!("{address} is of {name}, not {other:?}"),
            }
        }
    }
    // Line ends of another system change nothing.
    if bytes.len().is_multiple_of(4) && !text.contains('\r') {
        let again = lines::parse(&text.replace('\n', "\r\n"), &via, &mut Problems::default());
        assert_eq!(again, declared);
    }
}

fn callers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Problems::default();
    let read = Callers::parse(&text, &mut found);
    problems(&found);
    if bytes.len().is_multiple_of(4) && !text.contains('\r') {
        let again = Callers::parse(&text.replace('\n', "\r\n"), &mut Problems::default());
        assert_eq!(again, read);
    }
    // A pattern means the same here and in a certificate.
    if let (Ok(ours), Ok(issued)) = (Pattern::parse(&text), text.parse::<NodePattern>()) {
        for node in ["edge-1", "a.b", "aab", "x"] {
            let node = node.parse().expect("a node's name");
            assert_eq!(
                ours.matches(&node),
                issued.matches(&node),
                "{text:?} on {node}"
            );
        }
    }
}

fn ports(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(4, '|').map(str::to_owned);
    let keys = [
        Key::HttpProxyPorts,
        Key::HttpsProxyPorts,
        Key::DnatPortsPair,
        Key::LocalhostProxyPorts,
    ];
    let contents = keys.map(|key| match parts.next() {
        Some(text) => (key, Content::Text(text)),
        None => (key, Content::Absent),
    });
    let mut index = Index::new(Settings::default());
    index.keys(contents);
    let table = index.table();
    problems(table.problems());
    let open = table.ports();
    assert!(open.https(KUBELET_TLS) && open.http(KUBELET_HTTP));
    let mut listeners = BTreeSet::from([Listeners::default().tls]);
    for (port, listener) in open.own_listeners() {
        assert!(open.https(port) && !open.http(port), "{port} is both");
        assert!(listeners.insert(listener), "{listener} stands for two");
    }
}
