//! A piece of a cold object that is stored here.

use umbra_blob::BlobId;
use umbra_store::{Extent, Seal};

/// A piece of the object in the blob store.
#[derive(Clone, Debug)]
pub(crate) struct StoredPiece {
    /// Where it begins within the object.
    pub(crate) offset: u64,
    /// Bytes of content.
    pub(crate) size: u64,
    /// Where it is.
    pub(crate) blob: BlobId,
    /// The key it is encrypted with, if it is.
    pub(crate) seal: Option<Box<Seal>>,
}

impl StoredPiece {
    /// The piece that lies in `extent`.
    pub(crate) fn new(offset: u64, extent: Extent) -> Self {
        let Extent { blob, size, seal } = extent;
        Self { offset, size, blob, seal }
    }

    /// Where it lies in the blob store.
    pub(crate) fn extent(&self) -> Extent {
        Extent { blob: self.blob.clone(), size: self.size, seal: self.seal.clone() }
    }

    /// One past its last byte.
    pub(crate) const fn end(&self) -> u64 {
        self.offset + self.size
    }
}
