//! What is known of the cluster, on disk, for a start while its API server is away.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use edge_tunnel_proto::files;
use edge_tunnel_proto::identity::write_private;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::node::Member;
use crate::route::nodes::Declared;

/// The largest file that is read, in bytes: some hundred thousand nodes.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    nodes: Vec<Line>,
    /// The texts of the live keys.
    pub(super) keys: BTreeMap<String, String>,
}

/// One node.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    registration: Option<String>,
    tunnelled: bool,
    via: bool,
    addresses: Box<[IpAddr]>,
    hostnames: Vec<String>,
    pods: Vec<String>,
}

impl Line {
    fn new(member: Member) -> Self {
        fn texts(all: &[impl ToString]) -> Vec<String> {
            all.iter().map(ToString::to_string).collect()
        }
        let Member {
            registration,
            declared,
        } = member;
        Self {
            name: declared.name.to_string(),
            registration: registration.map(|id| id.to_string()),
            tunnelled: declared.tunnelled,
            via: declared.via,
            addresses: declared.addresses,
            hostnames: texts(&declared.hostnames),
            pods: texts(&declared.pods),
        }
    }

    /// The node, if we wrote it.
    fn member(self) -> Option<Member> {
        fn parsed<T: FromStr>(texts: &[String]) -> Option<Box<[T]>> {
            texts.iter().map(|text| text.parse().ok()).collect()
        }
        Some(Member {
            registration: self.registration.and_then(|id| id.parse().ok()),
            declared: Declared {
                name: self.name.parse().ok()?,
                tunnelled: self.tunnelled,
                via: self.via,
                addresses: self.addresses,
                hostnames: parsed(&self.hostnames)?,
                pods: parsed(&self.pods)?,
            },
        })
    }
}

impl Kept {
    pub(super) fn new(nodes: impl Iterator<Item = Member>, keys: BTreeMap<String, String>) -> Self {
        Self {
            nodes: nodes.map(Line::new).collect(),
            keys,
        }
    }

    pub(super) fn into_nodes(self) -> impl Iterator<Item = Member> {
        self.nodes.into_iter().filter_map(Line::member)
    }

    /// What an earlier start has kept. A file that cannot be read is as good as none, and said.
    pub(super) async fn read(path: &Path) -> Option<Self> {
        let bytes = match files::read_beside(path, FILE_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return None,
            Err(error) => {
                warn!(path = %path.display(), %error, "what was kept of the cluster cannot be read");
                return None;
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(kept) => Some(kept),
            Err(error) => {
                warn!(path = %path.display(), %error, "what was kept of the cluster cannot be read");
                None
            }
        }
    }

    pub(super) async fn write(self, path: &Path) -> io::Result<()> {
        let path: PathBuf = path.to_owned();
        #[expect(
            clippy::disallowed_methods,
            reason = "writes one file of some megabytes; one at a time"
        )]
        let written = tokio::task::spawn_blocking(move || {
            let json = serde_json::to_vec(&self)?;
            write_private(&path, &json)
        });
        written.await.map_err(io::Error::other)?
    }
}
