//! Simulation: the real shadow, driven by one seed, checked against a reference model.
//!
//! A seed makes a world: a bucket of a handful of keys, its origin, a few clients, perhaps an administrator who changes the shadow and an
//! owner who changes the origin. [`run`] lets it live on one thread in paused time. Our side crashes at any step of any store or of the origin,
//! or stops, and is started again over the same stores; commits fail or lose their answer; the origin fails in every way it can.
//!
//! - `reference.rs` is the model: what one key is, and what each operation makes of it. It knows no order and no failure.
//! - `checker.rs` looks for an order of all operations on a key that the model allows. An operation that failed or was cut off may have happened
//!   or not, with write-through exactly if the origin applied it. Where no order explains an answer, the seed fails.
//! - `judge.rs` adds the rules on the origin: written only with write-through, every acknowledged write then reached it, nothing after a
//!   detach. `egress.rs`: a byte of a version leaves it once. `books.rs`: at rest, records, counters and blobs agree.
//! - `jobs.rs`: at rest the inventory and the report of a verification say what there is (`sides.rs`), and after a rollback the origin is as the
//!   bucket is.
//! - `versions.rs`: in some worlds the bucket keeps versions, from the beginning, from some moment on, or with breaks. They are read, listed and
//!   deleted by their names, each of which means one version for ever.
//! - `writes.rs` makes content, headers and metadata name the write they came of, so that nothing mixed or altered passes.
//! - `mutation.rs` breaks the product through its seams, to show that all this notices.
//!
//! In some worlds reads are sent first to a process that does not keep the bucket, which answers them or leaves them to the one that does.
//! In some worlds cold objects are cut so small that they reach far behind the first request for them.
//!
//! What actors there are says `run.rs`: clients, an administrator, an owner, one who starts and stops jobs, and one who turns versions on.
//!
//! # What is not simulated
//! The wire (the `client` crate), SQLite and segments on disk: they have suites and crash tests of their own. An origin that applies a write
//! long after it failed to answer. More than one node, but for reads. Uploads of several parts, for a part but the last has at least 5 MiB. Retentions and
//! lifecycle rules. What a listing of versions shows of a key that changes meanwhile is not judged.

mod admin;
mod books;
mod checker;
mod client;
mod egress;
mod env;
mod history;
mod jobs;
mod judge;
mod life;
mod listing;
mod mutation;
mod origin;
mod reference;
mod run;
mod sides;
mod stores;
mod version_changes;
mod versions;
mod writes;

pub use egress::EgressRule;
pub use mutation::Mutation;
pub use run::{Failure, run, story};
