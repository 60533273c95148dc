//! Metadata: the [`MetaStore`] seam, the key space, the records, and the engines.

mod batch;
mod error;
mod meta_store;

pub use batch::{Batch, Check, Expect, Write};
pub use error::{Error, Result};
pub use meta_store::{Committed, DelimPage, Entry, KeyRange, MetaStore, Partition, Projection, Revision, ScanDelim, successor};
