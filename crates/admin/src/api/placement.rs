//! Where a bucket's bytes are, and what has to be done about it.

use serde::{Deserialize, Serialize};

/// `GET` and `POST /v1/buckets/{name}/placement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementView {
    /// Where objects are to live.
    pub location: String,
    /// What is in each region, as the last audit counted it, and what has to be copied there.
    pub regions: Vec<RegionUseView>,
    /// The last audit that ended.
    pub audit: Option<AuditView>,
    /// Since when one is under way, if one is.
    pub auditing_since: Option<String>,
    /// Whether the last audit was by this location, left nothing to be done, and no copy is due.
    pub settled: bool,
}

/// What a region has of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionUseView {
    /// The region.
    pub region: String,
    /// Contents that are at home there.
    pub homes: u64,
    /// Their bytes.
    pub home_bytes: u64,
    /// Copies of others.
    pub copies: u64,
    /// Their bytes.
    pub copy_bytes: u64,
    /// Copies that have to be made there.
    pub due: u64,
    /// Since when one of the longest waits.
    pub due_since: Option<String>,
    /// How many of them failed before.
    pub failing: u64,
    /// Why one of them failed last.
    pub failure: Option<String>,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditView {
    /// The location it judged by.
    pub location: String,
    /// When it began.
    pub began: String,
    /// When it ended.
    pub ended: String,
    /// Copies that were missing, and were queued to be made.
    pub missing: u64,
    /// Contents that had been somewhere and were there no more: as copies, or at home while there was a copy.
    pub lost: u64,
    /// Copies that were where they may not be, and were dropped.
    pub removed: u64,
    /// Homes that were where they may not be, or had lost their bytes, and moved.
    pub moved: u64,
    /// Contents of which something is still to be done, once copies are made.
    pub pending: u64,
    /// Contents of which something could not be told or done.
    pub failed: u64,
    /// Why it could not, of one of them.
    pub failure: Option<String>,
    /// Contents that had lost their bytes at home and had no copy: an `ERROR` in the log names their objects.
    pub gone: u64,
}
