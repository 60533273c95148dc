//! Metadata: the [`MetaStore`] seam, the key space, and the engines.

mod batch;
mod counter;
mod delim;
mod dump;
mod error;
#[cfg(feature = "testing")]
mod failing;
pub mod key;
mod memory;
mod meta_store;
mod neighbours;
pub mod postgres;
pub mod sqlite;
#[cfg(feature = "testing")]
pub mod suite;
mod sums;

pub use batch::{Batch, Check, Expect, Write};
pub use counter::{counter_head, counter_value};
pub use dump::{DumpReader, DumpWriter};
pub use error::{Error, Result, is_fenced, is_outcome_unknown};
#[cfg(feature = "testing")]
pub use failing::{CommitFault, FailingMetaStore};
pub use memory::MemoryMetaStore;
pub use meta_store::{
    Committed, DelimPage, Entry, KeyRange, MetaStore, Partition, Projection, Revision, ScanDelim, SharedMetaStore, successor,
};
pub use neighbours::{Declaration, Neighbours};
pub use postgres::{Nearby, PostgresMetaStore, PostgresSettings, ReplicaMetrics, ReplicaSettings};
pub use sqlite::{SqliteMetaStore, SqliteSettings};
