//! The real binary, run as people run it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bench;
mod commands;
mod drain;
mod metrics;
mod migrate;
mod refusals;
mod remote_blobs;
mod shadow;
mod start;
mod support;
mod tls;
mod verify;
