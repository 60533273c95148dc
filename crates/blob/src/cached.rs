//! What is read and written of another store, kept on this machine's disk.
//!
//! # Overview
//! Blobs are immutable, so that a copy is right as long as it is there. They are kept block by block (1 MiB): a range of a large blob
//! does not bring in the rest. Readers of one block share one fetch; a reader of many that are not here reads them in one go. Which
//! blocks stay is decided by an index in memory (Clock-PRO, which a scan does not spoil); the bytes are records of a
//! [`DiskBlobStore`], checked against their checksums whenever they are read. A copy that is damaged is thrown away and fetched again.
//!
//! # Crashes
//! The cache is empty after every start: its files are not flushed, and nothing of an earlier process is trusted.
//!
//! # Deletes
//! A delete here takes the copies along, at once or when the last reader here is done. Of a delete at another node nothing is
//! heard: the copies stay until they are displaced, which is harmless, for nobody refers to them and no identifier is issued twice.
//!
//! # Not here
//! A memory of its own: what is read often is in the operating system's.

mod index;
mod metrics;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use umbra_core::ByteRange;

pub use self::metrics::CacheMetrics;
use self::{
    index::Index,
    reader::{Pin, Reader},
    writer::{Blocks, CachedWriter},
};
use crate::{BlobId, BlobStore, BlobWriter, DiskBlobStore, DiskSettings, Error, Result, StoredBlob, pins::Pins};

/// How much is kept, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many bytes of content are kept at most. Less where the disk has not that much to spare.
    pub bytes: u64,
    /// How long the blocks are in which content is fetched and kept. At most 16 MiB. Default 1 MiB.
    pub block_bytes: u64,
    /// The largest blob that is kept when it is written; a larger one is kept as it is read. Default 8 MiB.
    pub written_bytes_max: u64,
    /// Free space that the cache never touches; see [`DiskSettings::reserve_bytes`].
    pub reserve_bytes: Option<u64>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { bytes: 10 << 30, block_bytes: 1 << 20, written_bytes_max: 8 << 20, reserve_bytes: None }
    }
}

/// Another store, with a cache on this machine's disk in front. Clones are the same store.
#[derive(Clone)]
pub struct CachedBlobStore {
    cache: Arc<Cache>,
}

/// What all operations share.
struct Cache {
    inner: Arc<dyn BlobStore>,
    disk: DiskBlobStore,
    index: Index,
    pins: Pins<BlobId>,
    metrics: CacheMetrics,
    settings: CacheSettings,
}

impl CachedBlobStore {
    /// Puts a cache in the directory `dir`, whose content is removed, in front of `inner`.
    pub async fn open(inner: Arc<dyn BlobStore>, dir: PathBuf, mut settings: CacheSettings, metrics: CacheMetrics) -> Result<Self> {
        settings.block_bytes = settings.block_bytes.clamp(1, 16 << 20);
        let disk = DiskSettings {
            segment_bytes: 64 << 20,
            record_bytes_max: settings.block_bytes,
            reserve_bytes: settings.reserve_bytes,
            ..DiskSettings::default()
        };
        let disk = DiskBlobStore::open_empty(dir, disk).await?;
        let usage = disk.usage().await?;
        // The rest of the machine writes, too.
        let spare = usage.free_bytes.saturating_sub(usage.reserve_bytes) / 5 * 4;
        if spare < settings.bytes {
            tracing::warn!(
                bytes = spare,
                wanted = settings.bytes,
                "the cache of blobs is smaller than was set: the disk has no more to spare"
            );
        }
        let index = Index::new(settings.bytes.min(spare), settings.block_bytes, metrics.evictions.clone());
        Ok(Self { cache: Arc::new(Cache { inner, disk, index, pins: Pins::default(), metrics, settings }) })
    }
}

#[async_trait]
impl BlobStore for CachedBlobStore {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        let size: u64 = content.iter().map(|chunk| chunk.len() as u64).sum();
        if size > self.cache.settings.written_bytes_max {
            return self.cache.inner.put(content).await;
        }
        let stored = self.cache.inner.put(content.clone()).await?;
        let mut blocks = Blocks::new(Arc::clone(&self.cache));
        for chunk in content {
            blocks.push(chunk).await;
        }
        blocks.keep(&stored).await;
        Ok(stored)
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        let inner = self.cache.inner.create().await?;
        Ok(Box::new(CachedWriter::new(inner, Blocks::new(Arc::clone(&self.cache)))))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        let size = self.cache.inner.size_of(id).filter(|size| !range.is_empty() && range.end <= *size);
        // The engine knows what to say of the rest.
        let Some(size) = size else {
            self.cache.check_alive(id)?;
            return self.cache.inner.read(id, range).await;
        };
        Ok(Reader::open(&self.cache, id, size, range).await?.into_stream())
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        self.cache.inner.size_of(id)
    }

    async fn answers(&self) -> Result<()> {
        self.cache.inner.answers().await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        if !self.cache.pins.doom(id.clone()) {
            return Ok(());
        }
        let _doomed = Doomed { cache: &self.cache, id };
        self.cache.delete(id).await
    }
}

impl fmt::Debug for CachedBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedBlobStore").field("inner", &self.cache.inner).field("disk", &self.cache.disk).finish_non_exhaustive()
    }
}

/// A blob that is shut to readers while it is deleted.
struct Doomed<'a> {
    cache: &'a Cache,
    id: &'a BlobId,
}

impl Drop for Doomed<'_> {
    fn drop(&mut self) {
        self.cache.pins.forget(self.id.clone());
    }
}

impl Cache {
    /// Lets a reader in.
    fn pin(self: &Arc<Self>, id: &BlobId) -> Result<Pin> {
        if self.pins.enter(id.clone()) { Ok(Pin::new(Arc::clone(self), id.clone())) } else { Err(Error::NotFound(id.clone())) }
    }

    fn check_alive(self: &Arc<Self>, id: &BlobId) -> Result<()> {
        self.pin(id).map(drop)
    }

    /// Deletes the blob and the copies of it.
    async fn delete(&self, id: &BlobId) -> Result<()> {
        let blocks = self.inner.size_of(id).map_or(0, |size| size.div_ceil(self.settings.block_bytes));
        self.index.forget(id, blocks);
        self.tell_size();
        self.inner.delete(id).await
    }

    fn tell_size(&self) {
        self.metrics.bytes.set(i64::try_from(self.index.bytes()).unwrap_or(i64::MAX));
    }
}
