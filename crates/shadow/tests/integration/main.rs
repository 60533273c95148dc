//! The shadow over an origin in memory: every rule of `docs/semantics.md` that needs a fault, a race or a restart to show.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attach;
mod backfill;
mod beginning;
mod beside;
mod conflicts;
mod contract;
mod detach;
mod doctor;
mod half_done;
mod held_meta;
mod inventory;
mod jobs;
mod landing;
mod lifecycle;
mod listing;
mod named_versions;
mod order;
mod pieces;
mod reading;
mod repairs;
mod revalidate;
mod rollback;
mod schedule;
mod status;
mod unshadowed;
mod uploads;
mod verify;
mod versioning;
mod versions;
mod world;
mod writing;
