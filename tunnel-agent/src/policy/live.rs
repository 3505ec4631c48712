//! The policy as it is now: the flags, the policy file as it was last read whole, the node's addresses as they
//! were last seen. Streams that are open already are not judged again.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use edge_tunnel_proto::id::{NodeName, Target};
use edge_tunnel_proto::identity::Live;
use edge_tunnel_proto::interfaces;
use edge_tunnel_proto::sync::Mutex;

use super::file::{self, FileError};
use super::{Addresses, Denied, Rules};

/// How often the policy file and the interfaces are looked at.
const REFRESH: Duration = Duration::from_secs(10);

/// The node's policy. Cheap to clone; clones share what is current.
#[derive(Clone, Debug)]
pub struct Policy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: Live<NodeName>,
    node_ip: Option<IpAddr>,
    flags: Rules,
    file: Option<PathBuf>,
    now: Mutex<Now>,
}

#[derive(Debug, Clone)]
struct Now {
    rules: Arc<Rules>,
    addresses: Arc<Addresses>,
    /// What was wrong with the file when it was last looked at, so that it is said once.
    complaint: Option<String>,
}

impl Policy {
    /// The policy of `node`: its flags, and the policy file if it has one, which must be whole now.
    ///
    /// # Errors
    /// When the policy file cannot be read or has a wrong line: an agent does not start on half a policy.
    pub async fn load(
        node: Live<NodeName>,
        node_ip: Option<IpAddr>,
        flags: Rules,
        file: Option<PathBuf>,
    ) -> Result<Self, FileError> {
        let rules = match &file {
            Some(path) => file::read(&flags, path).await?,
            None => flags.clone(),
        };
        let addresses = Addresses {
            node: node_ip,
            ..Addresses::default()
        };
        let now = Now {
            rules: Arc::new(rules),
            addresses: Arc::new(addresses),
            complaint: None,
        };
        let policy = Self(Arc::new(Inner {
            node,
            node_ip,
            flags,
            file,
            now: Mutex::new(now),
        }));
        policy.refresh_addresses();
        Ok(policy)
    }

    /// The address to dial for `target`.
    ///
    /// # Errors
    /// [`Denied`] when the rules do not allow it.
    pub fn judge(&self, target: &Target) -> Result<SocketAddr, Denied> {
        let now = self.0.now.lock().clone();
        now.rules.judge(&self.0.node.get(), &now.addresses, target)
    }

    /// A session came up from this local address: the node's own where `--node-ip` does not say otherwise.
    pub fn session_from(&self, local: IpAddr) {
        if self.0.node_ip.is_none() {
            let mut now = self.0.now.lock();
            let addresses = Arc::make_mut(&mut now.addresses);
            addresses.node = Some(local.to_canonical());
        }
        self.refresh_addresses();
    }

    /// Keeps the addresses and the file current for as long as it is polled. A file that has become wrong or has
    /// gone leaves the last whole one in force, and is complained of in the log.
    pub async fn keep_fresh(&self) {
        let mut ticks = tokio::time::interval(REFRESH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refresh_addresses();
            self.refresh_rules().await;
        }
    }

    fn refresh_addresses(&self) {
        match interfaces::addresses() {
            Ok(interfaces) => {
                let mut now = self.0.now.lock();
                if now.addresses.interfaces != interfaces {
                    Arc::make_mut(&mut now.addresses).interfaces = interfaces;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the node's addresses cannot be listed; the last known ones hold");
            }
        }
    }

    async fn refresh_rules(&self) {
        let Some(path) = &self.0.file else { return };
        // Read whole each time: a mounted ConfigMap changes by a swapped symlink, which no time stamp shows.
        let read = file::read(&self.0.flags, path).await;
        let mut now = self.0.now.lock();
        match read {
            Ok(rules) => {
                now.complaint = None;
                if *now.rules != rules {
                    tracing::info!(path = %path.display(), "policy file read again: new rules are in force");
                    now.rules = Arc::new(rules);
                }
            }
            Err(error) => {
                let complaint = Some(error.to_string());
                if now.complaint != complaint {
                    tracing::error!(%error, "the policy file cannot be used; the last good rules stay in force");
                    now.complaint = complaint;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use edge_tunnel_proto::id::{Port, TargetHost};

    use super::*;

    fn loopback(port: u16) -> Target {
        Target {
            host: TargetHost::Loopback,
            port: Port::known(port),
        }
    }

    #[tokio::test]
    async fn the_file_is_read_again_and_a_wrong_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy");
        std::fs::write(&path, "allow loopback:9100").unwrap();
        let node = Live::new("edge-1".parse().unwrap());
        let policy = Policy::load(node, None, Rules::default(), Some(path.clone()))
            .await
            .unwrap();
        assert!(policy.judge(&loopback(9100)).is_ok());
        assert!(policy.judge(&loopback(9101)).is_err());

        std::fs::write(&path, "allow loopback:9101").unwrap();
        policy.refresh_rules().await;
        assert!(policy.judge(&loopback(9100)).is_err());
        assert!(policy.judge(&loopback(9101)).is_ok());

        for bad in ["allow loopback:9102\nnonsense", ""] {
            if bad.is_empty() {
                std::fs::remove_file(&path).unwrap();
            } else {
                std::fs::write(&path, bad).unwrap();
            }
            policy.refresh_rules().await;
            assert!(
                policy.judge(&loopback(9101)).is_ok(),
                "the last good rules hold"
            );
            assert!(policy.judge(&loopback(9102)).is_err());
        }
    }

    #[tokio::test]
    async fn an_agent_does_not_start_on_a_policy_it_cannot_read() {
        let file = Some(PathBuf::from("/nonexistent/policy"));
        let node = Live::new("edge-1".parse().unwrap());
        assert!(
            Policy::load(node, None, Rules::default(), file)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn the_sessions_address_is_the_nodes_unless_told() {
        let target = Target {
            host: TargetHost::Node,
            port: Port::known(22),
        };
        let load = |node_ip| {
            Policy::load(
                Live::new("edge-1".parse().unwrap()),
                node_ip,
                Rules::default(),
                None,
            )
        };
        let policy = load(None).await.unwrap();
        assert!(policy.judge(&target).is_err());
        policy.session_from("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(policy.judge(&target).unwrap().to_string(), "192.0.2.7:22");
        policy.session_from("192.0.2.8".parse().unwrap());
        assert_eq!(policy.judge(&target).unwrap().to_string(), "192.0.2.8:22");

        let told = load(Some("198.51.100.1".parse().unwrap())).await.unwrap();
        told.session_from("192.0.2.7".parse().unwrap());
        assert_eq!(told.judge(&target).unwrap().to_string(), "198.51.100.1:22");
    }
}
