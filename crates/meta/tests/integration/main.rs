//! The engines of the metadata seam, seen from outside.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod conformance;
mod crash;
mod postgres;
mod sqlite;
