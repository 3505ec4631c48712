//! A Node as far as it matters here. Most of a Node's 15 KB is thrown away as it is read: a cluster has thousands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use edge_tunnel_proto::id::{Host, ParseError, RegistrationId};
use ipnet::IpNet;
use k8s_openapi::ClusterResourceScope;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::{Deserialize, Deserializer};

use super::Settings;
use crate::route::nodes::Declared;

/// `v1.Node` (kubernetes `staging/src/k8s.io/api/core/v1/types.go`).
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Node {
    #[serde(default, deserialize_with = "trimmed")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    addresses: Vec<Address>,
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    address: String,
}

/// Of the metadata that which is read.
fn trimmed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Trimmed {
        name: Option<String>,
        uid: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        resource_version: Option<String>,
    }
    let trimmed = Trimmed::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: trimmed.name,
        uid: trimmed.uid,
        labels: trimmed.labels,
        resource_version: trimmed.resource_version,
        ..ObjectMeta::default()
    })
}

impl Resource for Node {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Node".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "nodes".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Node {
    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

/// What is kept of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its UID, which is its registration: a Node that was made anew under the same name is another one.
    pub(super) registration: Option<RegistrationId>,
    pub(super) declared: Declared,
}

impl Member {
    pub(super) fn of(node: Node, settings: &Settings) -> Result<Self, ParseError> {
        let Node {
            metadata,
            spec,
            status,
        } = node;
        let name = metadata.name.unwrap_or_default().parse()?;
        let labels = metadata.labels.unwrap_or_default();
        let tunnelled = settings.tunnelled.matches(&labels);
        let (mut addresses, mut hostnames) = (Vec::<IpAddr>::new(), Vec::new());
        // Whatever their types say: what is an address is one, and the rest are names.
        for Address { address } in status.addresses {
            match address.parse() {
                Ok(Host::Ip(ip)) if !addresses.contains(&ip) => addresses.push(ip),
                Ok(Host::Name(host)) if host != name && !hostnames.contains(&host) => {
                    hostnames.push(host);
                }
                // Nobody asks for what is neither.
                Ok(_) | Err(_) => {}
            }
        }
        let ranges = spec.pod_cidrs.iter().chain(&spec.pod_cidr);
        let mut pods: Vec<IpNet> = ranges.filter_map(|range| range.parse().ok()).collect();
        pods.sort();
        pods.dedup();
        Ok(Self {
            registration: registration(&metadata.uid.unwrap_or_default()),
            declared: Declared {
                name,
                tunnelled,
                via: tunnelled && settings.via.matches(&labels),
                addresses: addresses.into(),
                hostnames: hostnames.into(),
                pods: pods.into(),
            },
        })
    }
}

/// The registration that a Node's UID is: a UUID's 128 bits (RFC 9562, 4).
pub(crate) fn registration(uid: &str) -> Option<RegistrationId> {
    uid.replace('-', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        Settings {
            config_map: "kube-system/x".parse().unwrap(),
            tunnelled: "edge=true".parse().unwrap(),
            via: "gateway=true".parse().unwrap(),
            kept: "/nonexistent".into(),
        }
    }

    fn member(object: serde_json::Value) -> Result<Member, ParseError> {
        Member::of(serde_json::from_value(object).unwrap(), &settings())
    }

    #[test]
    fn of_a_node_its_name_uid_labels_addresses_and_ranges_are_read() {
        let object = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "edge-1", "uid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                "labels": {"edge": "true", "gateway": "true"}, "annotations": {"much": "text"},
                "managedFields": [{"manager": "kubelet"}], "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "2001:db8:1::/64"], "taints": []},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": "192.0.2.1"},
                    {"type": "InternalIP", "address": "2001:db8::1"},
                    {"type": "Hostname", "address": "EDGE-1"},
                    {"type": "Hostname", "address": "shop.example"},
                    {"type": "ExternalDNS", "address": "not a name"},
                ],
                "images": [{"names": ["x"]}], "conditions": [],
            },
        });
        let member = member(object).unwrap();
        let Declared {
            name,
            tunnelled,
            via,
            addresses,
            hostnames,
            pods,
        } = &member.declared;
        assert_eq!((name.as_str(), *tunnelled, *via), ("edge-1", true, true));
        assert_eq!(format!("{addresses:?}"), "[192.0.2.1, 2001:db8::1]");
        assert_eq!(format!("{hostnames:?}"), "[shop.example]");
        assert_eq!(format!("{pods:?}"), "[10.244.1.0/24, 2001:db8:1::/64]");
        assert_eq!(
            member.registration.unwrap().to_string(),
            "6ba7b8109dad11d180b400c04fd430c8"
        );
    }

    #[test]
    fn a_node_may_lack_everything_but_its_name() {
        let bare = member(json!({"metadata": {"name": "edge-1"}})).unwrap();
        assert!(!bare.declared.tunnelled && bare.declared.addresses.is_empty());
        assert_eq!(bare.registration, None);
        let longest = vec!["a".repeat(63); 3].join(".") + "." + &"a".repeat(61);
        assert_eq!(longest.len(), 253);
        assert!(member(json!({"metadata": {"name": longest}})).is_ok());
        assert!(member(json!({"metadata": {"name": "192.0.2.1"}})).is_err());
        assert!(member(json!({})).is_err());
    }
}
