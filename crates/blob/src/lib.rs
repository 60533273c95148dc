//! Content: the [`BlobStore`] seam and its engines.
//!
//! [`DiskBlobStore`] keeps blobs on this machine's disk, [`MemoryBlobStore`] in memory. What every engine promises is said on
//! [`BlobStore`] and defined by `suite::run` (feature `testing`).

mod blob_id;
mod blob_store;
mod disk;
mod error;
#[cfg(feature = "testing")]
mod failing;
mod memory;
#[cfg(feature = "testing")]
pub mod suite;

pub use blob_id::BlobId;
pub use blob_store::{BlobStore, BlobWriter, StoredBlob};
pub use disk::{DiskBlobStore, DiskSettings, DiskUsage};
pub use error::{Error, Result};
#[cfg(feature = "testing")]
pub use failing::{BlobOperation, FailingBlobStore};
pub use memory::MemoryBlobStore;
