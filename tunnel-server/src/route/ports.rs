//! Which ports are open, and how: `http-proxy-ports`, `https-proxy-ports`, `localhost-proxy-ports` and the
//! older `dnat-ports-pair`. The forms are those of OpenYurt's `yurt-tunnel-server-cfg`
//! (`pkg/yurttunnel/util/util.go`), with two differences: a bad entry voids itself alone, never its
//! neighbours, and `dnat-ports-pair` reaches the TLS listener too.

use std::collections::{BTreeMap, BTreeSet};

use edge_tunnel_proto::id::Port;

use super::keys::{Key, Problems, list};

/// The kubelet's own port, over TLS: always open.
pub const KUBELET_TLS: Port = Port::known(10250);
/// The kubelet's read-only port, over plain HTTP: always open.
pub const KUBELET_HTTP: Port = Port::known(10255);
/// What `localhost-proxy-ports` is while nobody sets it (ACK Edge's default).
pub const LOCALHOST_DEFAULT: &str = "10250, 10255, 10266, 10267";

/// The most ports over TLS that get a listener each: a key must not use up the process's open files.
const OWN_LISTENERS_MAX: usize = 1000;

/// The ports that the server itself listens on, which `dnat-ports-pair` names on its right side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listeners {
    /// The `http` way in; 10264 unless told otherwise.
    pub http: Port,
    /// The `tls` way in; 10263 unless told otherwise.
    pub tls: Port,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            http: Port::known(10264),
            tls: Port::known(10263),
        }
    }
}

/// The open ports. A port is in `http` or in `https`, never in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    http: BTreeSet<Port>,
    /// Node port → the port that the server listens on for it; [`KUBELET_TLS`] has the `tls` way in itself.
    https: BTreeMap<Port, Port>,
    /// The same, from the listener's port to the node's.
    listeners: BTreeMap<Port, Port>,
    localhost: BTreeSet<Port>,
}

/// The texts of the keys that speak of ports.
pub(super) struct Texts<'a> {
    pub(super) http: &'a str,
    pub(super) https: &'a str,
    pub(super) dnat: &'a str,
    pub(super) localhost: &'a str,
}

impl Ports {
    /// Whether node port `port` is reached over plain HTTP.
    #[must_use]
    pub fn http(&self, port: Port) -> bool {
        self.http.contains(&port)
    }

    /// Whether node port `port` is reached over TLS.
    #[must_use]
    pub fn https(&self, port: Port) -> bool {
        self.https.contains_key(&port)
    }

    /// Whether the agent dials `port` at `127.0.0.1`.
    #[must_use]
    pub fn localhost(&self, port: Port) -> bool {
        self.localhost.contains(&port)
    }

    /// For each port over TLS that needs a listener of its own: the node's port and the listener's.
    pub fn own_listeners(&self) -> impl Iterator<Item = (Port, Port)> {
        self.https
            .iter()
            .filter(|(port, _)| **port != KUBELET_TLS)
            .map(|(port, listen)| (*port, *listen))
    }

    pub(super) fn parse(texts: &Texts<'_>, listeners: Listeners, problems: &mut Problems) -> Self {
        let mut ports = Self {
            http: BTreeSet::from([KUBELET_HTTP]),
            https: BTreeMap::from([(KUBELET_TLS, listeners.tls)]),
            listeners: BTreeMap::from([(listeners.tls, KUBELET_TLS)]),
            localhost: BTreeSet::new(),
        };
        for entry in list(texts.http) {
            match plain(entry) {
                Ok(port) => ports.open_http(port),
                Err(reason) => problems.add(Key::HttpProxyPorts, entry, reason),
            }
        }
        for entry in list(texts.https) {
            if let Err(reason) =
                with_listener(entry).and_then(|(p, listen)| ports.open_https(p, listen))
            {
                problems.add(Key::HttpsProxyPorts, entry, reason);
            }
        }
        for entry in list(texts.dnat) {
            if let Err(reason) = ports.open_pair(entry, listeners) {
                problems.add(Key::DnatPortsPair, entry, reason);
            }
        }
        for entry in list(texts.localhost) {
            match plain(entry) {
                Ok(port) => {
                    ports.localhost.insert(port);
                }
                Err(reason) => problems.add(Key::LocalhostProxyPorts, entry, reason),
            }
        }
        ports.http.retain(|port| !ports.https.contains_key(port));
        ports
    }

    fn open_http(&mut self, port: Port) {
        self.http.insert(port);
    }

    fn open_https(&mut self, port: Port, listen: Option<Port>) -> Result<(), String> {
        if port == KUBELET_HTTP {
            return Err(format!(
                "{KUBELET_HTTP} is the kubelet's plain HTTP port and stays so"
            ));
        }
        if port == KUBELET_TLS {
            return match listen {
                None => Ok(()),
                Some(_) => Err(format!(
                    "{KUBELET_TLS} is always reached at the tls way in itself"
                )),
            };
        }
        // Without "=listen" a port that is there already says nothing new.
        if listen.is_none() && self.https.contains_key(&port) {
            return Ok(());
        }
        let listen = listen.unwrap_or(port);
        if let Some(earlier) = self.https.get(&port).filter(|earlier| **earlier != listen) {
            return Err(format!(
                "{port} already has the listener {earlier}, from an entry before this one"
            ));
        }
        if let Some(other) = self.listeners.get(&listen).filter(|other| **other != port) {
            return Err(format!(
                "listener {listen} already stands for node port {other}"
            ));
        }
        if self.https.len() > OWN_LISTENERS_MAX {
            return Err(format!(
                "there are {OWN_LISTENERS_MAX} ports with listeners of their own already, and each takes an open file"
            ));
        }
        self.https.insert(port, listen);
        self.listeners.insert(listen, port);
        Ok(())
    }

    fn open_pair(&mut self, entry: &str, listeners: Listeners) -> Result<(), String> {
        let Some((left, right)) = entry.split_once('=') else {
            self.open_http(plain(entry)?);
            return Ok(());
        };
        let (port, listener) = (plain(left)?, plain(right)?);
        if listener == listeners.http {
            self.open_http(port);
            Ok(())
        } else if listener == listeners.tls {
            self.open_https(port, None)
        } else {
            let Listeners { http, tls } = listeners;
            Err(format!(
                "{listener} is no listener of this server: write {port}={http} for http, {port}={tls} for tls"
            ))
        }
    }
}

fn plain(entry: &str) -> Result<Port, String> {
    entry
        .trim()
        .parse()
        .map_err(|error: edge_tunnel_proto::id::ParseError| error.to_string())
}

fn with_listener(entry: &str) -> Result<(Port, Option<Port>), String> {
    match entry.split_once('=') {
        None => Ok((plain(entry)?, None)),
        Some((port, listen)) => Ok((plain(port)?, Some(plain(listen)?))),
    }
}

#[cfg(test)]
mod tests;
