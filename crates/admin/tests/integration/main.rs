//! The admin API over a real connection, on stores in memory.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod buckets;
mod requests;
mod support;
