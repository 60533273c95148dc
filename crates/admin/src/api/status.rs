//! How a bucket and its migration are doing.

use serde::{Deserialize, Serialize};

use super::{BucketView, JobView, PlacementView};

/// `GET /v1/buckets/{name}/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketStatus {
    /// The bucket.
    pub bucket: BucketView,
    /// How many objects are here.
    pub objects: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// How the migration is doing; `null` without a shadow.
    pub shadow: Option<ShadowStatusView>,
    /// The latest job of each kind since the shadow was set.
    #[serde(default)]
    pub jobs: Vec<JobView>,
    /// Where its bytes are; `null` in a store without regions.
    #[serde(default)]
    pub placement: Option<PlacementView>,
}

/// How the migration of a bucket is doing. Counts run since its generation began, restarts or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShadowStatusView {
    /// The access key used at the origin. Its secret is never told.
    pub access_key: String,
    /// Grows each time a shadow is set or cleared.
    pub generation: u64,
    /// How it is doing.
    pub health: HealthView,
    /// Requests to the origin.
    pub origin_requests: u64,
    /// The same by kind.
    pub origin_requests_by_kind: OriginRequestsView,
    /// Bytes of content that left the origin to be read here or to stay.
    pub origin_bytes: u64,
    /// Bytes of content that left it only to be compared with what is here; its provider charges for both.
    pub compared_bytes: u64,
    /// Bytes of content brought in and kept, each counted once.
    pub moved_bytes: u64,
    /// Bytes that left the origin for each that was moved, to three decimals: 1.0 when none left it twice; `null` before anything moved.
    pub egress_ratio: Option<f64>,
    /// Bytes sent to readers that did not leave the origin for it.
    pub saved_bytes: u64,
    /// What the bytes that left the origin cost, those compared too, at the price that was set; `null` without one.
    pub money_spent: Option<String>,
    /// What the bytes that did not leave it would have cost; `null` without a price.
    pub money_saved: Option<String>,
    /// Objects brought in whole.
    pub hydrated_objects: u64,
    /// Their bytes.
    pub hydrated_bytes: u64,
    /// Copies thrown away because something newer was here.
    pub discarded_copies: u64,
    /// Their bytes.
    pub discarded_bytes: u64,
    /// Reads answered from here.
    pub local_reads: u64,
    /// Bytes sent to readers by them.
    pub local_bytes: u64,
    /// Reads answered from the origin, or while the object came in.
    pub cold_reads: u64,
    /// Bytes sent to readers by them.
    pub cold_bytes: u64,
    /// Times that the origin was asked whether an object brought in is still the same.
    pub revalidations: u64,
    /// Times that it was not.
    pub revalidated_changes: u64,
    /// Writes to both sides that are half done, at most a hundred.
    pub pending_repairs: Vec<PendingRepairView>,
    /// The latest faults of the origin.
    pub last_errors: Vec<OriginErrorView>,
    /// Of how many objects something could not be carried over, by reason; none when everything could.
    pub uncarried: Vec<UncarriedSummaryView>,
}

/// A verdict, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// `ok`; `degraded` when something has to be looked at or is still to be done; `failing` when the origin does not answer as it should.
    pub verdict: String,
    /// Why, in one line.
    pub reason: String,
}

/// Requests to the origin by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OriginRequestsView {
    /// Reads of objects and of ranges.
    pub get: u64,
    /// Reads of headers.
    pub head: u64,
    /// Pages of listings.
    pub list: u64,
    /// Objects sent.
    pub put: u64,
    /// Deletes.
    pub delete: u64,
    /// Tags read or written.
    pub tag: u64,
    /// Requests of multipart uploads.
    pub multipart: u64,
}

/// The objects of which something could not be carried over for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncarriedSummaryView {
    /// `archived`, `customer_key`, `retention`, `legal_hold`, `acl`, `hidden_metadata`, `unreadable_header` or `hidden_tags`.
    pub reason: String,
    /// How many there are.
    pub objects: u64,
    /// The keys of a few of them.
    pub keys: Vec<String>,
}

/// `GET /v1/buckets/{name}/uncarried`: one page, by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncarriedList {
    /// The objects of this page.
    pub objects: Vec<UncarriedObjectView>,
    /// What to ask for as `after` to get the next page; `null` on the last one.
    pub next: Option<String>,
}

/// An object of which something could not be carried over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncarriedObjectView {
    /// Its key.
    pub key: String,
    /// Why, as in [`UncarriedSummaryView`].
    pub reasons: Vec<String>,
    /// The names of the headers that hold what is no text.
    pub unreadable_headers: Vec<String>,
    /// When that was last seen.
    pub at: String,
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
