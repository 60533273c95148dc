//! Migration: a bucket here that shadows a bucket elsewhere.
//!
//! # Overview
//! [`Shadow`] wraps [`umbra_store::Native`] and implements the same [`umbra_store::Objects`]. A bucket without an origin goes straight
//! through. For one with an origin, what is here is answered from here; what is not is asked of the origin and, when read, brought in.
//!
//! # States
//! A bucket is `none → attached(generation) → detached`. A key, while attached, is
//! *cold* (no object, no tombstone, no intent), *hydrated* or written here (an object), *gone* (a tombstone of this generation), or
//! *half done* (an intent whose owner died: the origin alone knows).
//!
//! # Invariants
//! - A copy becomes the object only by compare-and-set on all three rows of its key and the bucket's settings (`hydrate.rs`).
//! - With write-through an intent is durable before the origin is touched, and leaves with the commit that applies the write (`intent.rs`).
//! - What is known to be cold is in the inventory, and leaves it with the commit that makes it warm (`inventory.rs`).
//! - Users' keys are written at the origin only from `write_through.rs`, `mirrored_upload.rs` and `late_mirror.rs`, and for a rollback from
//!   `copy_back.rs`; `origin_uploads.rs` aborts uploads there. Probes write keys of their own name, which no listing shows.
//! - What a copy back replaces is what the origin is known to have held, or is certainly older (`ancestor.rs`).
//! - 404 is answered only when here and the origin say so; everything else the origin says is 503 or its own refusal (`origin.rs`).
//!
//! # Consistency
//! Writes through to one key take the key's lock, so the origin sees them in our order. Reads never wait for it.
//!
//! # Retries
//! The client retries bodiless requests; nothing here does, except that a read starts over when its key stops being cold under it.
//!
//! # Cancellation
//! Hydrations and write-throughs are tasks of their own: a client that leaves changes nothing.
//!
//! # Crash consistency
//! Pieces of a hydration have rows (`h/`), from which the next one of the key goes on (`partial.rs`). Intents (`w/`) are found at the start and repaired.
//! Uploads at the origin (`u/`) whose own is gone are aborted there. Hydrations that were ordered (`a/`) are queued again.
//! Counts (`c/shadow/`) are saved every second (`counters.rs`): a crash forgets what was counted in its last one. Jobs (`q/`) that were running
//! go on from their cursors (`jobs.rs`). So do passes of lifecycle rules (`l`, `lifecycle.rs`), which every bucket may have.

mod ancestor;
mod arriving;
mod attach;
mod backfill;
mod beside;
mod both;
mod cold_parts;
mod compare;
mod contents;
mod copy_back;
mod counters;
mod detach;
mod difference;
mod doctor;
mod examine;
mod fetch;
mod finish;
mod flights;
mod gate;
mod hashes;
mod health;
mod held_body;
mod hold_back;
mod hydrate;
mod intent;
mod inventory;
mod jobs;
mod key_locks;
mod late_mirror;
mod lifecycle;
mod limits;
mod list;
mod list_advance;
mod list_level;
mod list_merge;
mod list_order;
mod list_origin;
mod list_rows;
mod list_sides;
mod list_walk;
pub mod metrics;
mod mirrored_upload;
mod news;
pub mod origin;
mod origin_uploads;
mod origins;
mod partial;
mod parts;
mod read_through;
mod reader;
mod record;
mod repair;
mod repair_worker;
mod repairs;
mod revalidate;
mod rollback;
mod rollback_work;
mod same_bucket;
mod schedule;
mod shadow;
mod slice;
mod stats;
mod status;
mod sweep;
mod tee;
mod transfer;
mod uncarried;
mod users;
mod verify;
mod verify_work;
mod versioning;
mod versions;
mod view;
mod write_here;
mod write_through;

pub use attach::{AttachRequest, PROBE_KEY_PREFIX};
pub use difference::DifferenceKind;
pub use doctor::{DoctorFinding, Examination, Verdict};
pub use gate::StillListing;
pub use health::{Health, Verdict as HealthVerdict};
pub use inventory::ColdTotals;
pub use jobs::{
    Difference, Finding, Job, JobCounts, JobKind, JobOptions, JobOrder, JobRequest, JobState, Note, NotesPage, Tally, no_such_job,
};
pub use limits::ShadowLimits;
pub use origins::OriginFactory;
pub use repairs::PendingRepair;
pub use shadow::{Shadow, ShadowParts};
pub use stats::{OriginFault, ShadowCounts};
pub use status::{ShadowStatus, UncarriedSummary};
pub use uncarried::{UncarriedObject, UncarriedReason};
