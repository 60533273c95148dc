//! Content: the [`BlobStore`] seam and its engines.

mod blob_id;
mod blob_store;
mod error;

pub use blob_id::BlobId;
pub use blob_store::{BlobStore, BlobWriter, StoredBlob};
pub use error::{Error, Result};
