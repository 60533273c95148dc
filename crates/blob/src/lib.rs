//! Content: the [`BlobStore`] seam and its engines.
//!
//! [`DiskBlobStore`] keeps blobs on this machine's disk, [`S3BlobStore`] in a bucket of any S3-compatible engine, [`MemoryBlobStore`] in
//! memory; [`CachedBlobStore`] keeps what is read and written of another on this machine's disk. What every engine promises is said on
//! [`BlobStore`] and defined by `suite::run` (feature `testing`).

mod blob_id;
mod blob_store;
mod cached;
mod disk;
mod error;
#[cfg(feature = "testing")]
mod failing;
mod memory;
mod pins;
mod remote;
#[cfg(feature = "testing")]
pub mod suite;

pub use blob_id::BlobId;
pub use blob_store::{BlobStore, BlobWriter, StoredBlob};
pub use cached::{CacheMetrics, CacheSettings, CachedBlobStore};
pub use disk::{CopiedFiles, DiskBackup, DiskBlobStore, DiskSettings, DiskUsage};
pub use error::{Error, Result};
#[cfg(feature = "testing")]
pub use failing::{BlobOperation, FailingBlobStore};
pub use memory::MemoryBlobStore;
pub use remote::{Badge, RemoteSettings, S3BlobStore};
