//! Several nodes as one store.
//!
//! # Overview
//! Nodes share their metadata ([`umbra_meta::SharedMetaStore`]) and their contents. Each has a row that it renews, and one of them *leads*: it
//! alone keeps the buckets with an origin, changes buckets and keys, and runs what works in the background. All others serve the objects of
//! plain buckets themselves, and have the leader answer the rest ([`Relay`]). So every rule that holds within one process holds for the
//! store, and losing the leader is what a restart of a single server is.
//!
//! # Who leads
//! A row that is taken and renewed by compare-and-set. Whoever has seen it unchanged for [`NodeSettings::lease`], by a clock of its own and on a
//! database that answered all the while, takes it and then *fences* the node it took it from: that one commits nothing any more. A leader that
//! could not renew for [`NodeSettings::resign_after`], which is shorter, stops at once by itself, for the sake of what lies outside of the
//! database: requests to origins.
//!
//! # What it costs
//! A read and a commit per node and heartbeat.

mod door;
mod node;
mod record;
mod relay;
mod watch;

pub use door::{ASTRAY, Countersign, Door, Face, IsPassed, LeaderTurn, Passed, Refusal};
pub use node::{JoinError, Leader, Member, Node, NodeSettings};
pub use relay::{Relay, RelayError};
