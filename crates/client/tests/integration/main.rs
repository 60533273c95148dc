//! The client against a scripted origin on loopback that does as it is told, bytes and all.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod failures;
mod listing;
mod multipart;
mod origin;
mod quirks;
mod reading;
mod tls;
mod writing;
