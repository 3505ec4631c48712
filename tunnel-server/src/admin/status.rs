//! The status page: one small page of plain HTML, without scripts, everything in it escaped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use edge_tunnel_proto::id::Port;
use edge_tunnel_proto::telemetry::health::Health;
use edge_tunnel_proto::telemetry::version;

use super::control::Overview;
use crate::ingress::tls::ports::State;

/// The most config errors, and listeners, that are listed; the metrics have the whole numbers.
const SHOWN: usize = 200;

pub(super) fn page(
    overview: &Overview,
    health: &Health,
    listeners: &BTreeMap<Port, State>,
) -> String {
    let missing = health.missing();
    let ready = if missing.is_empty() {
        "ready"
    } else {
        "not ready"
    };
    let errors = &overview.config_errors;
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>edge-tunnel-server</title>\
         <style>body{font:16px/1.5 sans-serif;margin:2em;max-width:60em}td{padding-right:2em}</style></head><body>\n\
         <h1>edge-tunnel-server</h1>\n<table>\n",
    );
    row(&mut html, "Replica", &overview.replica.to_string());
    row(&mut html, "Version", version());
    row(&mut html, "State", ready);
    row(&mut html, "Sessions", &overview.sessions.to_string());
    row(&mut html, "Bad config entries", &errors.len().to_string());
    html.push_str("</table>\n");
    list(
        &mut html,
        "What is missing",
        missing.iter().map(ToString::to_string),
    );
    list(
        &mut html,
        "Config entries that are skipped",
        errors.iter().take(SHOWN).cloned(),
    );
    let (mut failed, mut listening) = (Vec::new(), Vec::new());
    for (port, state) in listeners {
        match state {
            State::Failed(why) => failed.push(format!("port {port}: {why}; tried again")),
            State::Listening(at) => listening.push(format!("port {port}: {at}")),
        }
    }
    list(
        &mut html,
        "Entries of https-proxy-ports without a listener",
        failed.into_iter().take(SHOWN),
    );
    list(
        &mut html,
        "Listeners of https-proxy-ports",
        listening.into_iter().take(SHOWN),
    );
    html.push_str("<p><a href=\"/readyz?verbose\">readyz</a> <a href=\"/metrics\">metrics</a></p>\n</body></html>\n");
    html
}

fn row(html: &mut String, name: &str, value: &str) {
    let (name, value) = (escape(name), escape(value));
    writeln!(html, "<tr><td>{name}</td><td>{value}</td></tr>")
        .expect("writing to a String does not fail");
}

fn list(html: &mut String, title: &str, lines: impl ExactSizeIterator<Item = String>) {
    if lines.len() == 0 {
        return;
    }
    let items: String = lines
        .map(|line| format!("<li>{}</li>\n", escape(&line)))
        .collect();
    writeln!(html, "<h2>{}</h2>\n<ul>\n{items}</ul>", escape(title))
        .expect("writing to a String does not fail");
}

/// Text as it may stand between tags and in quoted attributes (HTML, section 13.3).
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use edge_tunnel_proto::id::ReplicaId;

    use super::*;

    #[test]
    fn what_files_say_cannot_become_markup() {
        let overview = Overview {
            replica: ReplicaId(0xab),
            sessions: 3,
            config_errors: vec![
                "nodes, line 2: \"<script>alert('x')</script>&\" is no node name".to_owned(),
            ],
        };
        let health = Health::default();
        let _routes = health.register("routes", "<b>not read</b>");
        let html = page(&overview, &health, &BTreeMap::new());
        assert!(
            html.contains("00000000000000ab") && html.contains("<td>3</td>"),
            "{html}"
        );
        assert!(
            html.contains("&quot;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"),
            "{html}"
        );
        assert!(
            html.contains("routes: &lt;b&gt;not read&lt;/b&gt;"),
            "{html}"
        );
        assert!(
            !html.contains("<script>") && !html.contains("<b>"),
            "{html}"
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let overview = Overview {
            replica: ReplicaId(1),
            sessions: 0,
            config_errors: vec!["bad".to_owned(); 10_000],
        };
        let html = page(&overview, &Health::default(), &BTreeMap::new());
        assert!(html.contains("<td>10000</td>"), "the number is whole");
        assert_eq!(html.matches("<li>bad</li>").count(), SHOWN);
    }

    #[test]
    fn a_port_without_its_listener_is_shown_with_the_reason() {
        let overview = Overview {
            replica: ReplicaId(1),
            sessions: 0,
            config_errors: Vec::new(),
        };
        let port = |number| Port::new(number).unwrap();
        let listeners = BTreeMap::from([
            (port(9443), State::Failed("9443 is <taken>".to_owned())),
            (port(9444), State::Listening(([127, 0, 0, 1], 19444).into())),
        ]);
        let html = page(&overview, &Health::default(), &listeners);
        let (failed, listening) = html.split_once("Listeners of https-proxy-ports").unwrap();
        assert!(
            failed.contains("<li>port 9443: 9443 is &lt;taken&gt;; tried again</li>"),
            "{html}"
        );
        assert!(
            listening.contains("<li>port 9444: 127.0.0.1:19444</li>"),
            "{html}"
        );
    }
}
