//! Blobs that may be encrypted, as if they were not.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use umbra_blob::BlobStore;
use umbra_core::{Body, BodyStream, ByteRange, Error, Narrowed, Result};

use super::{
    Extent, Native,
    cipher::{decrypted, encrypt, stored_range},
};
use crate::{Bucket, CustomerKey, Keyring, Sealing, keyring::Seal};

/// Reads and writes extents, encrypted ones with the keys that open them.
#[derive(Clone, Debug)]
pub struct SealedBlobs {
    blobs: Arc<dyn BlobStore>,
    keys: Arc<Keyring>,
    customer: Option<CustomerKey>,
}

impl Native {
    /// The blobs of an object of `bucket` that is `narrowed` by its writer or not, to be read with the keys that are kept here and perhaps a client's.
    pub fn sealed_blobs(&self, bucket: &Bucket, narrowed: Option<&Narrowed>, customer: Option<&CustomerKey>) -> SealedBlobs {
        SealedBlobs { blobs: self.blobs_of(bucket, narrowed), keys: Arc::clone(self.keys()), customer: customer.cloned() }
    }
}

impl SealedBlobs {
    /// Stores `content`, which is in memory and not empty, as an extent of its own. `is_read` tells whether somebody is about to read it.
    pub async fn put(&self, content: Vec<Bytes>, sealing: Option<&Sealing>, is_read: bool) -> Result<Extent> {
        let size = content.iter().map(|chunk| chunk.len() as u64).sum();
        let (stored, seal) = match sealing {
            None => (content, None),
            Some(sealing) => {
                let (seal, key) = self.keys.seal(sealing)?;
                (encrypt(&key, &content), Some(Box::new(seal)))
            }
        };
        let stored = if is_read { self.blobs.put(stored).await? } else { self.blobs.put_unread(stored).await? };
        Ok(Extent { blob: stored.id, size, seal })
    }

    /// Reads `range` of an extent. The inner error is the blob store's, when the blob cannot be opened.
    pub async fn read(&self, extent: &Extent, range: ByteRange) -> Result<umbra_blob::Result<BodyStream>> {
        let Some(seal) = &extent.seal else {
            return Ok(self.blobs.read(&extent.blob, range).await.map(|stream| stream.map_err(Error::from).boxed()));
        };
        let key = self.keys.unseal(seal, self.customer.as_ref())?;
        let stored = self.blobs.read(&extent.blob, stored_range(range, extent.size)).await;
        Ok(stored.map(|stored| decrypted(stored.map_err(Error::from), &key, range, extent.size).boxed()))
    }

    /// `range` of a content of `size` bytes that is in memory, encrypted.
    pub(super) fn open(&self, sealed: &Bytes, seal: &Seal, size: u64, range: ByteRange) -> Result<BodyStream> {
        let key = self.keys.unseal(seal, self.customer.as_ref())?;
        let body: BoxStream<'static, Result<Bytes>> = Body::from_bytes(within(sealed, stored_range(range, size))).into_stream();
        Ok(decrypted(body, &key, range, size).boxed())
    }
}

/// What of `bytes` lies in `range`.
pub(super) fn within(bytes: &Bytes, range: ByteRange) -> Bytes {
    let place = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
    bytes.slice(place(range.start)..place(range.end))
}
