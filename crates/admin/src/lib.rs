//! The admin API: buckets, organizations and access keys over JSON, for the command line, the console and scripts.
//!
//! [`router`] is the server's side, [`AdminClient`] the other; [`api`] holds the types both speak. Every call under `/v1` but the
//! API's own description is signed like an S3 request (SigV4, service `umbra`). `/readyz`, `/healthz` and `/metrics` are not:
//! they tell nothing that belongs to a user but, unless told not to, the names of buckets with a shadow, in the metrics.
//!
//! # Who may do what
//!
//! The root key may do everything. An organization's `admin` key may do everything within its organization. Any other key may
//! ask for the status of the buckets it reaches, and no more. What a key must not know of is answered as if it did not exist.

pub mod api;
mod caller;
mod client;
mod error;
mod health;
mod metrics;
mod openapi;
mod routes;
mod signature;
mod state;

pub use client::{AdminClient, ClientError, Trust};
pub use health::Readiness;
pub use routes::router;
pub use state::{AdminParts, CameIn};
