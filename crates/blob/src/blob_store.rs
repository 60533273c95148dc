//! The content seam: immutable bytes under identifiers the store issues.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use umbra_core::ByteRange;

use crate::{BlobId, Result};

/// A blob that is durably stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its identifier.
    pub id: BlobId,
    /// Bytes of content.
    pub size: u64,
}

/// A store of blobs: written once, read in ranges, deleted.
///
/// Every engine answers alike; `suite::run` is the definition of alike. A blob whose write returned survives `kill -9` and power
/// loss. Every byte read is verified against a checksum taken when it was written. An unfinished write leaves nothing readable.
#[async_trait]
pub trait BlobStore: fmt::Debug + Send + Sync + 'static {
    /// Stores `content`, the concatenation of its chunks, which is already in memory. Meant for up to a few MiB.
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob>;

    /// Like [`BlobStore::put`], for content that nobody is about to read: an engine need not keep it at hand.
    async fn put_unread(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.put(content).await
    }

    /// Begins a blob whose content streams, of any size. Uses a bounded amount of memory.
    async fn create(&self) -> Result<Box<dyn BlobWriter>>;

    /// Reads `range` of a blob, in chunks of at most 256 KiB, none of them empty.
    ///
    /// A blob that is gone is [`NotFound`](crate::Error::NotFound) here, not in the stream. A range that does not lie within the blob
    /// is [`Corrupt`](crate::Error::Corrupt): whoever recorded the size and the blob contradict each other.
    ///
    /// Reading keeps the blob alive: a delete meanwhile does not disturb a stream that was returned.
    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// How many bytes of content the identifier says its blob has, where the engine's identifiers say so. Looks at nothing stored.
    fn size_of(&self, _id: &BlobId) -> Option<u64> {
        None
    }

    /// Whether the store can be reached now: an error where a write would fail whatever it holds. One on this machine need not look.
    async fn answers(&self) -> Result<()> {
        Ok(())
    }

    /// Deletes a blob and frees its space, at once or once its last reader is done. Deleting what is gone is no error.
    ///
    /// A delete need not survive a crash: a blob that was deleted just before may be back after it.
    async fn delete(&self, id: &BlobId) -> Result<()>;
}

/// A blob being written. Dropped without [`BlobWriter::finish`] it leaves nothing behind.
#[async_trait]
pub trait BlobWriter: Send + 'static {
    /// Appends `chunk`. After an error the blob is lost, and every later call is an error too.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Makes the blob durable and issues its identifier.
    async fn finish(self: Box<Self>) -> Result<StoredBlob>;
}
