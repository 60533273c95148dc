//! Identifiers of blobs.

use std::{fmt, sync::Arc};

/// A blob's identifier: issued by the store that holds it, opaque to everyone else, never issued twice.
///
/// At most [`BlobId::BYTES_MAX`] bytes. It is kept in metadata records, so its form is a storage format of the engine that issued it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(Arc<[u8]>);

impl BlobId {
    /// The longest identifier.
    pub const BYTES_MAX: usize = 64;

    /// Takes an identifier an engine issued, or one a record holds.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        debug_assert!(bytes.len() <= Self::BYTES_MAX);
        Self(bytes.into())
    }

    /// The identifier's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
