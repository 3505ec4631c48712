//! The way to a cluster's API server: which one, as whom, and its failures in words.
//!
//! Who reads or writes objects there does so in its own room, by the client that stands here: `route/kube` (Nodes, live
//! keys), `identity/evidence` (who enrols), `identity/store` (what replicas share), `endpoints` (where agents dial).
//! None of them is needed to carry traffic: an API server that is away stops no tunnel.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

#[cfg(test)]
pub(crate) mod testing;

/// How long a connection to the API server may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The cluster that `--kubernetes` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// The one that this pod runs in, as its service account.
    InCluster,
    /// The one of the current context of this file.
    Kubeconfig(PathBuf),
}

impl FromStr for Cluster {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "in-cluster" => Self::InCluster,
            path => Self::Kubeconfig(path.into()),
        })
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InCluster => f.write_str("in-cluster"),
            Self::Kubeconfig(path) => path.display().fmt(f),
        }
    }
}

/// Why there is no client. Only what this machine lacks: whether the API server answers is not asked here.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No service account.
    #[error(
        "--kubernetes in-cluster: this is no pod with a service account ({0}); give it one (automountServiceAccountToken), \
         or name a kubeconfig file"
    )]
    InCluster(#[source] kube::config::InClusterError),
    /// No usable file.
    #[error("--kubernetes {0}: {1}; name a kubeconfig file that this user may read, or in-cluster")]
    Kubeconfig(PathBuf, #[source] kube::config::KubeconfigError),
    /// What the two say cannot be used.
    #[error("--kubernetes {0}: {1}")]
    Client(Cluster, #[source] kube::Error),
}

impl Cluster {
    /// A client of it. [`Client::default_namespace`] is the pod's own, or that of the file's context.
    ///
    /// # Errors
    /// When there is no service account or no usable file. The API server itself is not asked.
    pub async fn client(&self) -> Result<Client, ConnectError> {
        let mut config = match self {
            Self::InCluster => kube::Config::incluster().map_err(ConnectError::InCluster)?,
            Self::Kubeconfig(path) => {
                let failed = |error| ConnectError::Kubeconfig(path.clone(), error);
                let file = Kubeconfig::read_from(path).map_err(failed)?;
                let context = KubeConfigOptions::default();
                kube::Config::from_custom_kubeconfig(file, &context)
                    .await
                    .map_err(failed)?
            }
        };
        config.connect_timeout = Some(CONNECT);
        Client::try_from(config).map_err(|error| ConnectError::Client(self.clone(), error))
    }
}

/// What the API server, or the way to it, said: one line, with what to do where that is known.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "{}; grant it (the chart's roles do, each with its reason)",
            status.message
        ),
        kube::Error::Api(status) if status.code == 401 => format!(
            "the API server does not know this server any more ({}); is its service account, or the kubeconfig, still \
             good?",
            status.message
        ),
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => causes(error),
    }
}

/// An error and all that it says of its cause, each once.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let error = async || {
            let cluster: Cluster = path.display().to_string().parse().unwrap();
            causes(&cluster.client().await.err().expect("there is no client"))
        };
        assert!(error().await.contains("No such file"), "{}", error().await);
        std::fs::write(&path, "apiVersion: v1\nkind: Config\n").unwrap();
        assert!(error().await.contains("context"), "{}", error().await);
        std::fs::write(&path, "\u{0}{{{").unwrap();
        assert!(
            error()
                .await
                .contains("name a kubeconfig file that this user may read"),
            "{}",
            error().await
        );
        let error = Cluster::InCluster.client().await.err().unwrap().to_string();
        assert!(error.contains("no pod with a service account"), "{error}");
    }
}
