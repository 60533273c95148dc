//! How a bucket and its migration are doing.

use serde::{Deserialize, Serialize};

use super::BucketView;

/// `GET /v1/buckets/{name}/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketStatus {
    /// The bucket.
    pub bucket: BucketView,
    /// How many objects are here.
    pub objects: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// How the migration is doing; `null` without a shadow.
    pub shadow: Option<ShadowStatusView>,
}

/// How the migration of a bucket is doing. Counts run since the server started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowStatusView {
    /// The access key used at the origin. Its secret is never told.
    pub access_key: String,
    /// Grows each time a shadow is set or cleared.
    pub generation: u64,
    /// Requests to the origin.
    pub origin_requests: u64,
    /// Bytes of content that left the origin: what its provider charges for.
    pub origin_bytes: u64,
    /// Objects brought in.
    pub hydrated_objects: u64,
    /// Their bytes.
    pub hydrated_bytes: u64,
    /// Copies thrown away because something newer was here.
    pub discarded_copies: u64,
    /// Reads answered from here.
    pub local_reads: u64,
    /// Reads answered from the origin.
    pub cold_reads: u64,
    /// Writes to both sides that are half done, at most a hundred.
    pub pending_repairs: Vec<PendingRepairView>,
    /// The latest faults of the origin.
    pub last_errors: Vec<OriginErrorView>,
}

/// A write to both sides that is half done. Its key is read through the origin until it is repaired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRepairView {
    /// The key.
    pub key: String,
    /// What was to be done: `put`, `delete` or `tags`.
    pub operation: String,
    /// Since when.
    pub since: String,
    /// How often a repair was tried, since the server started.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When the next one is due.
    pub next_attempt: Option<String>,
}

/// Something the origin did wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginErrorView {
    /// When.
    pub at: String,
    /// What was being done.
    pub doing: String,
    /// What went wrong.
    pub message: String,
}
