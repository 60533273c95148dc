//! The front on loopback, over a store in memory, driven by requests signed with AWS's own signer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod auth;
mod bad_input;
mod buckets;
mod checksums;
mod client;
mod copying;
mod cors;
mod held_meta;
mod listing;
mod multipart;
mod nearest;
mod objects;
mod permissions;
mod reading;
mod regions;
mod serving;
mod tigris;
mod tigris_access;
mod tigris_shadow;
mod world;
