//! The shadow over an origin in memory: every rule of `docs/semantics.md` that needs a fault, a race or a restart to show.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attach;
mod backfill;
mod contract;
mod detach;
mod doctor;
mod inventory;
mod jobs;
mod listing;
mod order;
mod reading;
mod repairs;
mod schedule;
mod uploads;
mod world;
mod writing;
