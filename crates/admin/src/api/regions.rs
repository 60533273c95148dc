//! The regions of a store.

use serde::{Deserialize, Serialize};

/// `GET /v1/regions`: the regions that the store has contents in or nodes of, by name; none of a store that one server has for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionList {
    /// The regions.
    pub regions: Vec<RegionView>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionView {
    /// Its name.
    pub name: String,
    /// Where its contents are: bucket and prefix, or a node's data directory.
    pub contents: String,
    /// How many of its nodes live.
    pub nodes: u64,
    /// Whether the node that answers is one of them.
    pub is_own: bool,
}
