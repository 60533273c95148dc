//! Metadata: the [`MetaStore`] seam, the key space, and the engines.

mod batch;
mod error;
pub mod key;
mod meta_store;

pub use batch::{Batch, Check, Expect, Write};
pub use error::{Error, Result};
pub use meta_store::{Committed, DelimPage, Entry, KeyRange, MetaStore, Partition, Projection, Revision, ScanDelim, successor};
