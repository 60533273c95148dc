//! Content: bytes that are stored and not yet part of an object.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use umbra_blob::{BlobId, BlobStore};
use umbra_core::Checksum;

use super::cipher::TAG_BYTES;
use crate::keyring::Seal;

/// A blob that holds the next `size` bytes of a content, the whole of it, perhaps encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The blob.
    pub blob: BlobId,
    /// Bytes of content, never 0.
    pub size: u64,
    /// The key they are encrypted with, if they are.
    pub seal: Option<Box<Seal>>,
}

impl Extent {
    /// `size` bytes that are stored as they are.
    pub const fn plain(blob: BlobId, size: u64) -> Self {
        Self { blob, size, seal: None }
    }
}

/// Where the bytes of a content are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// In the metadata record.
    Inline(Bytes),
    /// In the metadata record, encrypted.
    SealedInline(Bytes, Box<Seal>),
    /// In blobs, one after the other.
    Extents(Vec<Extent>),
}

impl Pieces {
    /// Bytes of content.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            // Inline content is one segment.
            Self::SealedInline(bytes, _) => (bytes.len() as u64).saturating_sub(TAG_BYTES as u64),
            Self::Extents(extents) => extents.iter().map(|extent| extent.size).sum(),
        }
    }

    /// Whether all of it is encrypted.
    pub fn is_sealed(&self) -> bool {
        match self {
            Self::Inline(bytes) => bytes.is_empty(),
            Self::SealedInline(..) => true,
            Self::Extents(extents) => extents.iter().all(|extent| extent.seal.is_some()),
        }
    }

    /// The blobs, none when the content is inline.
    pub fn extents(&self) -> &[Extent] {
        match self {
            Self::Inline(_) | Self::SealedInline(..) => &[],
            Self::Extents(extents) => extents,
        }
    }
}

/// Content that is stored but not yet part of an object. Not visible. Publish or discard it.
///
/// Content that came of [`crate::Native::ingest`] owns its blobs: dropped, it deletes them in the background.
#[derive(Debug)]
pub struct Content {
    /// Where the bytes are.
    pub pieces: Pieces,
    /// How many there are.
    pub size: u64,
    /// Their MD5.
    pub md5: [u8; 16],
    /// What the ETag is made of: the MD5, or something that says nothing of the content.
    pub tag: [u8; 16],
    /// Checksums over them: first the one the client asked for, if any, then CRC64NVME.
    pub checksums: Vec<Checksum>,
    pub(super) custody: Custody,
}

impl Content {
    /// Content whose blobs are already named by rows of their own, such as the pieces of a hydration.
    ///
    /// It does not own them: they stay when it is dropped or discarded, and whoever publishes it removes those rows in the same batch.
    pub fn assembled(extents: Vec<Extent>, md5: [u8; 16], checksums: Vec<Checksum>) -> Self {
        let size = extents.iter().map(|extent| extent.size).sum();
        Self { pieces: Pieces::Extents(extents), size, md5, tag: md5, checksums, custody: Custody::none() }
    }

    /// Says that a record holds the blobs now.
    pub(super) fn release(&mut self) {
        self.custody.blobs = None;
    }

    /// Deletes what it owns.
    pub(super) async fn discard(mut self) {
        if let Some((store, ids)) = self.custody.blobs.take() {
            delete_all(&*store, &ids).await;
        }
    }
}

/// The duty to delete blobs that no record names.
pub(super) struct Custody {
    blobs: Option<(Arc<dyn BlobStore>, Vec<BlobId>)>,
}

impl Custody {
    pub(super) const fn none() -> Self {
        Self { blobs: None }
    }

    pub(super) fn of(store: Arc<dyn BlobStore>, id: BlobId) -> Self {
        Self { blobs: Some((store, vec![id])) }
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        let Some((store, ids)) = self.blobs.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { delete_all(&*store, &ids).await })),
            Err(_) => tracing::warn!(?ids, "blobs of an abandoned write stay behind: no runtime to delete them"),
        }
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.blobs.iter().flat_map(|(_, ids)| ids)).finish()
    }
}

async fn delete_all(store: &dyn BlobStore, ids: &[BlobId]) {
    for id in ids {
        if let Err(error) = store.delete(id).await {
            tracing::warn!(blob = ?id, error = &error as &dyn std::error::Error, "the blob of an abandoned write stays behind");
        }
    }
}
