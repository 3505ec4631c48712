//! Both programs as cargo has built them, and a folder for what they keep.

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Process, binary};
use crate::wait::give_up;

/// The programs and their folder, which goes when this drops.
#[derive(Debug)]
pub struct Built {
    /// The server's program.
    pub server: PathBuf,
    /// The agent's.
    pub agent: PathBuf,
    /// The folder.
    pub dir: TempDir,
}

impl Built {
    /// `None` where they were not built, which was said.
    ///
    /// # Panics
    /// When they were not and `EDGE_TUNNEL_REQUIRE` names `binaries`, or no folder can be made.
    #[must_use]
    pub fn found() -> Option<Self> {
        Some(Self {
            server: binary("edge-tunnel-server")?,
            agent: binary("edge-tunnel-agent")?,
            dir: tempfile::tempdir().expect("a temporary folder can be made"),
        })
    }

    /// A place in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The command line of a server on free ports, its state in `server`, with `more` in place of or behind these flags.
    #[must_use]
    pub fn server_line(&self, more: &[&str]) -> Vec<String> {
        let state = self.path("server");
        let own = [
            ("--agents-listen", "127.0.0.1:0"),
            ("--tls-listen", "127.0.0.1:0"),
            ("--http-listen", "127.0.0.1:0"),
            ("--connect-listen", "127.0.0.1:0"),
            ("--admin-listen", "127.0.0.1:0"),
            ("--state-dir", &state),
        ];
        line("run", &own, more)
    }

    /// Starts that server.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn start_server(&self, more: &[&str]) -> Process {
        Process::start(&self.server, &self.server_line(more))
    }
}

/// A command line: `own` flags, but for those that `more` has, and `more` behind them.
#[must_use]
pub fn line(command: &str, own: &[(&str, &str)], more: &[&str]) -> Vec<String> {
    let mut line = vec![command.to_owned()];
    for (flag, value) in own {
        if !more.contains(flag) {
            line.extend([(*flag).to_owned(), (*value).to_owned()]);
        }
    }
    line.extend(more.iter().map(ToString::to_string));
    line
}

/// Where a server listens, by its line of the log `server starts`.
///
/// # Panics
/// When the line does not say.
#[must_use]
pub fn bound(line: &str, name: &str) -> SocketAddr {
    let found = line.split_once(&format!(" {name}=")).map(|(_, rest)| rest);
    let address = found.and_then(|rest| rest.split(' ').next()?.parse().ok());
    address.unwrap_or_else(|| give_up(format!("no {name} in {line}")))
}
