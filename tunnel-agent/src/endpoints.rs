//! Where the servers are: as the command line says, or as a folder says that is read again at each dial, such as the
//! mounted ConfigMap in which servers publish where they are reached. The CA bundle lies beside it.
//!
//! A folder that is missing, empty or damaged takes nothing away: what was last read from it stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::files::{self, Unread};
use edge_tunnel_proto::identity::{BUNDLE_MAX, Bundle, BundleError};
use edge_tunnel_proto::sync::Mutex;
use edge_tunnel_proto::telemetry::health::Part;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::config::ServerAddress;

/// The file with the servers, one a line, as `--server` takes them.
const SERVERS: &str = "servers";
/// The file with the CAs that are believed, as PEM.
const BUNDLE: &str = "ca.crt";

/// The largest file of servers, in bytes, and how many of them are used: each costs every dial some attempts.
const SERVERS_MAX: u64 = 16 * 1024;
const USED_MAX: usize = 16;

/// How often the folder is looked at while no server is known: a mount that has just been filled is used at once.
const LOOK: Duration = Duration::from_secs(1);

/// Where the servers are. Clones share what was last read.
#[derive(Clone, Debug)]
pub struct Endpoints(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    told: Arc<[ServerAddress]>,
    dir: Option<PathBuf>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    /// What was last read whole.
    servers: Arc<[ServerAddress]>,
    /// What was wrong when the folder was last looked at, so that it is said once.
    complaint: Option<String>,
}

/// Why no bundle can be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum BundleFileError {
    /// Not there, no file, or not readable.
    #[error("the CA bundle {0} cannot be read: {1}")]
    Read(PathBuf, #[source] Unread),
    /// Something else than CA certificates.
    #[error("{0} is no CA bundle: {1}")]
    Bundle(PathBuf, #[source] BundleError),
}

impl Endpoints {
    /// The servers that were `told`; without any, those that the folder names.
    #[must_use]
    pub fn new(told: Vec<ServerAddress>, dir: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            told: told.into(),
            dir,
            now: Mutex::new(Now {
                servers: Arc::default(),
                complaint: None,
            }),
        }))
    }

    /// The servers to dial now. None only where the folder has not named one since this program started.
    pub async fn servers(&self) -> Arc<[ServerAddress]> {
        if let (true, Some(dir)) = (self.0.told.is_empty(), &self.0.dir) {
            let listed = read(&dir.join(SERVERS)).await;
            self.0.take(listed);
        }
        self.known()
    }

    /// The servers that were dialled last.
    #[must_use]
    pub fn known(&self) -> Arc<[ServerAddress]> {
        if self.0.told.is_empty() {
            Arc::clone(&self.0.now.lock().servers)
        } else {
            Arc::clone(&self.0.told)
        }
    }

    /// Waits until there is a server to dial, and says on `health` what is missing.
    pub async fn wait(&self, health: &Part) {
        let mut waited = false;
        while self.servers().await.is_empty() {
            let missing = self.complaint().unwrap_or_default();
            health.not_ready(format!("no server is known yet: {missing}"));
            waited = true;
            sleep(LOOK).await;
        }
        if waited {
            health.not_ready("no session yet; dialling");
        }
    }

    /// What was wrong with the servers in the folder when they were last read.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        self.0.now.lock().complaint.clone()
    }

    /// The CA bundle in the folder, read now; `None` where there is no folder.
    pub async fn bundle(&self) -> Option<Result<Bundle, BundleFileError>> {
        let dir = self.0.dir.as_ref()?;
        Some(bundle(&dir.join(BUNDLE)).await)
    }
}

impl Inner {
    fn take(&self, listed: Listed) {
        let Listed { servers, complaint } = listed;
        let mut now = self.now.lock();
        let fresh = !servers.is_empty() && *now.servers != servers[..];
        if complaint.is_some() && now.complaint != complaint {
            let complaint = complaint.as_deref().unwrap_or_default();
            match (servers.is_empty(), now.servers.is_empty()) {
                (true, true) => warn!("no server is known yet, so the agent waits: {complaint}"),
                (true, false) => warn!("{complaint}; the servers that were last read stand"),
                (false, _) => warn!("{complaint}; the others stand"),
            }
        }
        now.complaint = complaint;
        if fresh {
            info!(servers = ?shown(&servers), "servers are read; they are dialled from now on");
            now.servers = servers.into();
        }
    }
}

/// Servers, for the log.
#[must_use]
pub fn shown(servers: &[ServerAddress]) -> Vec<String> {
    servers.iter().map(ToString::to_string).collect()
}

/// What a file of servers came to.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    servers: Vec<ServerAddress>,
    complaint: Option<String>,
}

async fn read(path: &Path) -> Listed {
    let read = files::read_beside(path, SERVERS_MAX).await;
    let shown = path.display();
    let complaint = match read.and_then(|bytes| files::text(&bytes)) {
        Ok(text) => return parse(&text, path),
        Err(error) if error.is_missing() => format!(
            "there is no {shown} (--endpoints-dir); the edge-tunnel server publishes it (ConfigMap edge-tunnel-endpoints), \
             or give --server"
        ),
        Err(error) => format!("{shown} (--endpoints-dir) cannot be read: {error}"),
    };
    Listed {
        servers: Vec::new(),
        complaint: Some(complaint),
    }
}

fn parse(text: &str, path: &Path) -> Listed {
    let (mut servers, mut wrong) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let number = index + 1;
        match line.parse::<ServerAddress>() {
            _ if line.is_empty() => {}
            Ok(server) if servers.contains(&server) => {}
            Ok(_) if servers.len() == USED_MAX => {
                wrong.push(format!("line {number}: only {USED_MAX} servers are used"));
                break;
            }
            Ok(server) => servers.push(server),
            Err(error) => wrong.push(format!("line {number}: {error}")),
        }
    }
    let path = path.display();
    // One who looks for the fault needs no more of them.
    wrong.truncate(3);
    let complaint = match (wrong.is_empty(), servers.is_empty()) {
        (true, false) => None,
        (true, true) => Some(format!("{path} (--endpoints-dir) names no server")),
        (false, _) => Some(format!(
            "{path} (--endpoints-dir) is wrong in {}",
            wrong.join("; ")
        )),
    };
    Listed { servers, complaint }
}

/// The CA bundle in a file.
///
/// # Errors
/// When it cannot be read, or is none.
pub async fn bundle(path: &Path) -> Result<Bundle, BundleFileError> {
    let read = files::read_beside(path, BUNDLE_MAX as u64).await;
    let pem = read.map_err(|error| BundleFileError::Read(path.to_owned(), error))?;
    Bundle::from_pem(&pem).map_err(|error| BundleFileError::Bundle(path.to_owned(), error))
}

#[cfg(test)]
mod tests;
