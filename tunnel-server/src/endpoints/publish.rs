//! The ConfigMap that agents mount, written by compare-and-swap, and only where it differs: replicas that find the same
//! write it once.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;

/// What it is called, in the server's own namespace.
pub(super) const NAME: &str = "edge-tunnel-endpoints";
/// The servers, one a line.
const SERVERS: &str = "servers";
/// The CAs that are believed, as PEM.
const BUNDLE: &str = "ca.crt";

/// How often another's write is given way to.
const ATTEMPTS: u32 = 5;

/// What is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// One a line; `None` where it is not known, and then what is there stays.
    pub(super) servers: Option<String>,
    pub(super) bundle: String,
}

impl Content {
    fn differs(&self, there: &ConfigMap) -> bool {
        let says = |key: &str, text: &str| {
            let data = there.data.as_ref();
            data.and_then(|data| data.get(key))
                .is_some_and(|there| there == text)
        };
        let servers = self.servers.as_deref();
        !says(BUNDLE, &self.bundle) || servers.is_some_and(|servers| !says(SERVERS, servers))
    }

    /// Whether the ConfigMap lacks a key that this has.
    pub(super) fn lacks(&self, there: &ConfigMap) -> bool {
        let has = |key: &str| {
            let data = there.data.as_ref();
            data.is_some_and(|data| data.contains_key(key))
        };
        !has(BUNDLE) || (self.servers.is_some() && !has(SERVERS))
    }

    /// The ConfigMap that has just this.
    pub(super) fn as_map(&self) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(NAME.to_owned());
        self.put_into(&mut map);
        map
    }

    fn put_into(&self, there: &mut ConfigMap) {
        let data = there.data.get_or_insert_with(BTreeMap::new);
        data.insert(BUNDLE.to_owned(), self.bundle.clone());
        if let Some(servers) = &self.servers {
            data.insert(SERVERS.to_owned(), servers.clone());
        }
    }
}

/// Publishes `content`; says whether anything had to be written.
///
/// # Errors
/// When the API server does not have it; also when others write all the time.
pub(super) async fn publish(api: &Api<ConfigMap>, content: &Content) -> Result<bool, kube::Error> {
    let how = PostParams::default();
    let mut attempt = 1;
    loop {
        let written = match api.get_opt(NAME).await? {
            Some(there) if !content.differs(&there) => return Ok(false),
            Some(mut there) => {
                content.put_into(&mut there);
                api.replace(NAME, &how, &there).await
            }
            None => api.create(&how, &content.as_map()).await,
        };
        match written {
            Ok(_) => return Ok(true),
            // Another replica was faster; it may have written the same.
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}
