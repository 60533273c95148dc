//! Jobs of a bucket: `inventory`, `backfill`, `verify`, `rollback`.

use serde::{Deserialize, Serialize};

/// `POST /v1/buckets/{name}/jobs/{kind}`: starts a job. `POST …/resume` takes the same, without a prefix.
///
/// Each kind knows only some of the options and refuses the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSettings {
    /// Only keys that begin with this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Keys worked on at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Bytes a second that may leave the origin for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Requests a second to the origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// Bytes that may leave the origin for it in all; then it pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_bytes: Option<u64>,
    /// In which order: `key` or `smallest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderName>,
    /// Whether contents are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deep: Option<bool>,
    /// Whether only to tell what would be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// In which order keys are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderName {
    /// By key.
    Key,
    /// By class of size, the smallest first.
    Smallest,
}

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// What it does.
    pub kind: String,
    /// Tells this run from earlier ones; grows.
    pub run: u64,
    /// `running`, `paused`, `done`, `cancelled` or `failed`.
    pub state: String,
    /// Why it is paused, failed or cancelled, or what holds it up while it runs.
    pub reason: Option<String>,
    /// What it was told.
    pub settings: JobSettings,
    /// Objects that are done.
    pub objects_done: u64,
    /// Their bytes.
    pub bytes_done: u64,
    /// Objects that are left, once it is known.
    pub objects_left: Option<u64>,
    /// Their bytes.
    pub bytes_left: Option<u64>,
    /// Objects it could not do; each has a note.
    pub objects_failed: u64,
    /// Their bytes.
    pub bytes_failed: u64,
    /// Bytes of content that left the origin for it.
    pub bytes_egress: u64,
    /// What it found or did, sort by sort, in the kind's own words.
    pub tallies: Vec<TallyView>,
    /// Bytes a second, of late.
    pub bytes_per_second: u64,
    /// Seconds until it will be done, going on as of late.
    pub seconds_left: Option<u64>,
    /// When this run began.
    pub started: String,
    /// When something last happened.
    pub updated: String,
    /// When it ended.
    pub ended: Option<String>,
    /// When the latest run began that went through all keys of the bucket to its end.
    pub complete_since: Option<String>,
}

/// `GET /v1/buckets/{name}/jobs/{kind}/notes`: what the latest run noted of single keys, a page at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNotes {
    /// The notes, by key.
    pub notes: Vec<JobNote>,
    /// What to ask for as `after` to get the next page; `null` on the last one.
    pub next: Option<String>,
}

/// What a job noted of a key: a failure, or differences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNote {
    /// The key.
    pub key: String,
    /// What is the matter.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was last tried.
    pub at: String,
    /// Bytes of the object, where known.
    pub size: Option<u64>,
    /// In what both sides differ.
    pub differences: Vec<DifferenceView>,
    /// What sort of thing was found; `null` for a failure.
    pub finding: Option<FindingView>,
}

/// How much of one sort a job found or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallyView {
    /// The sort.
    pub name: String,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A sort of thing that a job finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// The sort.
    pub name: String,
    /// Whether it is what is to be expected.
    pub explained: bool,
}

/// Something both sides tell differently of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceView {
    /// What: `size`, `etag`, a header, …
    pub field: String,
    /// What it is here.
    pub local: Option<String>,
    /// What it is at the origin.
    pub origin: Option<String>,
}
