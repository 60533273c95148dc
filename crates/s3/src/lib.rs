//! The S3 protocol front: s3s in, [`umbra_store::Objects`] and [`umbra_store::Catalog`] out.
//!
//! s3s parses requests, verifies signatures and writes answers; this crate decides who may do what, turns each operation into one call of
//! ours, and wraps s3s in an outer layer that supplies what it leaves out: request ids, complete error documents, refusal of
//! sub-resources nobody knows, time limits. No type of s3s leaves this crate.

mod access;
mod access_log;
mod acl;
mod auth;
mod backoff;
mod body;
mod call;
mod convert;
mod cors;
mod error;
mod events;
mod expiration;
mod extensions;
mod front;
mod host;
mod layer;
mod lenient;
mod limits;
mod metrics;
mod nearest;
mod network;
mod operations;
mod policy;
mod post;
mod server;
mod settings;
mod slow_body;
mod tigris;
mod website;
mod xml_text;

pub use access_log::AccessLogDelivery;
pub use events::{EventDelivery, EventDeliveryParts, WebHooks};
pub use front::{S3Front, S3Parts};
pub use nearest::{Coordinates, Nearest, NearestParts, RegionAddress, RegionMap, RegionMapError};
pub use server::{Transport, serve, serve_websites};
pub use settings::S3Settings;
