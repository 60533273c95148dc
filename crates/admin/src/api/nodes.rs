//! The nodes of a store.

use serde::{Deserialize, Serialize};

/// `GET /v1/nodes`: the nodes that share the store, by name; none of a store that one server has for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeList {
    /// The nodes.
    pub nodes: Vec<NodeView>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// What tells it from the others.
    pub name: String,
    /// Where the others reach it; empty when they cannot.
    pub url: String,
    /// Its region.
    pub region: String,
    /// Whether it leads: it keeps the buckets with an origin, and changes buckets and keys.
    pub leads: bool,
    /// For how many seconds nothing was heard of it.
    pub silent_seconds: u64,
    /// Its replica of the metadata; null where it has none.
    #[serde(default)]
    pub replica: Option<ReplicaView>,
}

/// The metadata replica of a node, as the node tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// Whether it is read.
    pub trusted: bool,
    /// For how many milliseconds it has not been known to have everything; 0 while it does not answer.
    pub behind_ms: u64,
}
