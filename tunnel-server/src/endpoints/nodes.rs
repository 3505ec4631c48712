//! The addresses of nodes that are not tunnelled: where node ports are dialled.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::route::selector::Selectors;

/// How many Nodes are asked for at once: each is 15 KB.
const PAGE: u32 = 100;
/// How many of those pages are read: node ports are dialled at few nodes.
const PAGES_MAX: usize = 10;

/// Where a node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodeAddresses {
    pub(super) name: String,
    /// Reached from everywhere.
    pub(super) external: Vec<IpAddr>,
    /// Reached from within the node's own network.
    pub(super) internal: Vec<IpAddr>,
}

/// The nodes that are not tunnelled, some hundreds at most, in the order of their names.
pub(super) async fn list(
    client: &Client,
    tunnelled: &Selectors,
) -> Result<Vec<NodeAddresses>, kube::Error> {
    let api = Api::<Node>::all(client.clone());
    let mut page = ListParams::default()
        .limit(PAGE)
        .labels_from(&tunnelled.others());
    let mut found = Vec::new();
    for _page in 0..PAGES_MAX {
        let nodes = api.list(&page).await?;
        found.extend(
            nodes
                .items
                .into_iter()
                .filter_map(|node| addresses(node, tunnelled)),
        );
        match nodes.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => break,
        }
    }
    Ok(found)
}

fn addresses(node: Node, tunnelled: &Selectors) -> Option<NodeAddresses> {
    if tunnelled.matches(&node.metadata.labels.unwrap_or_default()) {
        return None;
    }
    let mut found = NodeAddresses {
        name: node.metadata.name.unwrap_or_default(),
        ..NodeAddresses::default()
    };
    let status = node.status.and_then(|status| status.addresses);
    for address in status.unwrap_or_default() {
        let Ok(ip) = address.address.parse::<IpAddr>() else {
            continue;
        };
        match address.type_.as_str() {
            "ExternalIP" => found.external.push(ip),
            "InternalIP" => found.internal.push(ip),
            _ => {}
        }
    }
    Some(found)
}
