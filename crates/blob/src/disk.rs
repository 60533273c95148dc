//! Blobs on this machine's disk.
//!
//! # Overview
//! A blob that is small is a record in an append-only segment; writers share its flushes, so that sixteen of them cost little more than
//! one. A larger blob has a file of its own. Both carry the same checksums, one per 64 KiB (`record.rs`), and a blob's identifier says
//! where it lies (`address.rs`): there is no index, and opening a store reads no content.
//! Large records that nobody reads soon are written past the page cache (`direct.rs`), to segments of their own.
//!
//! # Durability
//! A write returns after `fdatasync`, and for a file of its own after its directory is synced too. A flush that fails is never tried
//! again: whoever waited for it gets an error, the segment takes no more records, and the next write begins a new one.
//!
//! # Crashes
//! Nothing is ever appended to a segment of an earlier life: its end may be torn. Records that were being written are never referred to
//! by anyone, files that were being written are removed at the next start. A blob that was finished but whose identifier was lost with
//! the process stays, and takes space.
//!
//! # Space
//! Deleting gives the space back at once (`segments.rs`), without moving anything; a delete during a read waits for the reader. Writes
//! are refused before the reserve of free space is touched, deletes never are. While a backup copies the files (`backup.rs`) deletes
//! are put off.
//!
//! # Not here
//! Encryption, compression, deduplication; more than one directory.

mod address;
mod backup;
mod direct;
mod engine;
mod file;
mod hold;
mod hole;
mod large;
mod layout;
mod reader;
mod record;
mod segment;
mod segments;
mod settings;
mod space;
#[cfg(test)]
mod tests;
mod writer;

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::task::spawn_blocking;
use umbra_core::ByteRange;

use self::{
    address::Address,
    engine::{Components, Engine},
    segment::Packing,
    writer::{DiskWriter, put_record, stopped},
};
pub use self::{
    backup::{CopiedFiles, DiskBackup},
    settings::DiskSettings,
};
use crate::{BlobId, BlobStore, BlobWriter, Error, Result, StoredBlob};

/// Blobs on this machine's disk. Clones are the same store.
#[derive(Clone)]
pub struct DiskBlobStore {
    engine: Arc<Engine>,
}

/// What a store takes of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes of disk that blobs take.
    pub stored_bytes: u64,
    /// Bytes that are free on the file system, the reserve included.
    pub free_bytes: u64,
    /// Bytes that writes leave free.
    pub reserve_bytes: u64,
}

impl DiskBlobStore {
    /// Opens the store in `dir`, which is created if need be. One process at a time: waits a few seconds for another to let go.
    pub async fn open(dir: impl Into<PathBuf>, settings: DiskSettings) -> Result<Self> {
        Self::open_with(dir.into(), settings, Components::default()).await
    }

    /// Opens a store for what can be had again: its writes are not flushed, and what an earlier process left is removed.
    pub(crate) async fn open_empty(dir: PathBuf, settings: DiskSettings) -> Result<Self> {
        let old = dir.clone();
        let removed = blocking(move || file::or_gone(std::fs::remove_dir_all(old)).map_err(Error::from_io("empty the cache of blobs")));
        removed.await?;
        Self::open_with(dir, settings, Components { sync: Arc::new(|_| Ok(())), ..Components::default() }).await
    }

    /// Deletes a blob without anybody waiting for it.
    pub(crate) fn delete_in_background(&self, id: &BlobId) {
        let Some(address) = Address::decode(id) else { return };
        let engine = Arc::clone(&self.engine);
        file::in_background(move || {
            if let Err(error) = engine.delete(&address) {
                tracing::warn!(%error, "a blob is not deleted");
            }
        });
    }

    /// Stores `content`, packed like this if it is a record and large enough.
    async fn put_packed(&self, content: Vec<Bytes>, packing: Packing) -> Result<StoredBlob> {
        if content.iter().map(|chunk| chunk.len() as u64).sum::<u64>() <= self.engine.settings.record_bytes_max {
            return put_record(&self.engine, content, packing).await;
        }
        let mut writer = self.create().await?;
        for chunk in content {
            writer.write(chunk).await?;
        }
        writer.finish().await
    }

    async fn open_with(dir: PathBuf, settings: DiskSettings, components: Components) -> Result<Self> {
        let engine = blocking(move || Engine::open(dir, settings, components)).await?;
        Ok(Self { engine: Arc::new(engine) })
    }

    /// Measures what the store takes. Looks at every file: cheap for segments, about a second for a million larger blobs.
    pub async fn usage(&self) -> Result<DiskUsage> {
        let engine = Arc::clone(&self.engine);
        let measured = blocking(move || {
            let usage =
                |stored_bytes| Ok(DiskUsage { stored_bytes, free_bytes: engine.space.free()?, reserve_bytes: engine.space.reserve() });
            engine.layout.stored_bytes().and_then(usage).map_err(Error::from_io("measure the blob store"))
        });
        measured.await
    }
}

#[async_trait]
impl BlobStore for DiskBlobStore {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.put_packed(content, Packing::Dense).await
    }

    async fn put_unread(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.put_packed(content, Packing::Aligned).await
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(DiskWriter::new(Arc::clone(&self.engine))))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        reader::read(Arc::clone(&self.engine), id.clone(), range).await
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        Address::decode(id).map(|address| address.length())
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        let Some(address) = Address::decode(id) else { return Ok(()) };
        let engine = Arc::clone(&self.engine);
        blocking(move || engine.delete(&address)).await
    }
}

impl fmt::Debug for DiskBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskBlobStore").field("dir", &self.engine.layout.root()).finish_non_exhaustive()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(stopped()))
}
