//! Objects kept here, on every pair of engines.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod abandoned;
mod engines;
mod failures;
mod fence;
mod large;
mod overwritten;
mod reclaimer;
mod suite;
mod terms;
mod wrappers;
