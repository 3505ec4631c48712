//! What ranges of addresses lead to: of those that an address lies in, the narrowest.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

/// Ranges, each with what it leads to. A look-up costs one probe for each length of prefix that occurs, which in a cluster
/// is one or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges<T> {
    ranges: HashMap<IpNet, T>,
    lengths: BTreeSet<Reverse<u8>>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self {
            ranges: HashMap::new(),
            lengths: BTreeSet::new(),
        }
    }
}

impl<T> Ranges<T> {
    pub(super) fn get(&self, address: IpAddr) -> Option<(IpNet, &T)> {
        self.lengths.iter().find_map(|length| {
            // A length of IPv6 is none of IPv4.
            let range = IpNet::new(address, length.0).ok()?.trunc();
            Some((range, self.ranges.get(&range)?))
        })
    }
}

impl<T> FromIterator<(IpNet, T)> for Ranges<T> {
    fn from_iter<I: IntoIterator<Item = (IpNet, T)>>(ranges: I) -> Self {
        let ranges: HashMap<_, _> = ranges.into_iter().collect();
        let lengths = ranges.keys().map(|range| Reverse(range.prefix_len()));
        Self {
            lengths: lengths.collect(),
            ranges,
        }
    }
}
