//! What becomes of what was brought, when it does not become the object.

use std::sync::{Arc, Weak};

use umbra_blob::BlobId;
use umbra_core::Result;
use umbra_store::Native;

use super::Hydration;
use crate::{
    partial::{self, Partial},
    transfer::{Leftovers, StoredPiece, Transfer},
};

impl Hydration {
    /// Everything that this hydration has stored, with the rows that hold it.
    async fn left(&self) -> Result<Option<Partial>> {
        let Some(revision) = *self.row.lock().await else { return Ok(None) };
        let partial = partial::load(&self.native, &self.bucket, &self.key).await?;
        Ok(partial.filter(|partial| partial.revision == revision))
    }

    /// Drops what is stored. No later transfer finds it; the bytes go once the last reader of this one is gone.
    pub(crate) async fn leave(&self, transfer: &Transfer, why: &str) {
        tracing::debug!(bucket = %self.bucket.name, key = %self.key, why, "what was brought of an object is dropped");
        if let Err(error) = self.try_leave(transfer).await {
            tracing::warn!(bucket = %self.bucket.name, key = %self.key, error = ?error, "an abandoned copy stays until it is swept");
        }
    }

    async fn try_leave(&self, transfer: &Transfer) -> Result<()> {
        if !transfer.is_kept {
            self.drop_unkept(transfer);
            return Ok(());
        }
        let Some(Partial { revision, pieces, .. }) = self.left().await? else { return Ok(()) };
        transfer.leaves();
        if partial::forget(&self.native, &self.bucket, &self.key, revision).await? {
            let leftovers = self.dropping(pieces);
            self.keep_until_unread(transfer, &leftovers);
        }
        Ok(())
    }

    /// Drops pieces that belong to no hydration any more.
    fn dropping(&self, pieces: Vec<(StoredPiece, Vec<u8>)>) -> Arc<Leftovers> {
        let (native, bucket, key) = (self.native.clone(), self.bucket.clone(), self.key.clone());
        Leftovers::new(async move {
            if let Err(error) = partial::drop_pieces(&native, &bucket, pieces).await {
                tracing::warn!(bucket = %bucket.name, %key, error = ?error, "the pieces of an abandoned copy stay until they are swept");
            }
        })
    }

    /// Puts `leftovers` off until the last reader of `transfer` is gone, and of those whose pieces it may have taken over: readers that have begun
    /// keep what they began to read.
    pub(crate) fn keep_until_unread(&self, transfer: &Transfer, leftovers: &Arc<Leftovers>) {
        self.keep_for_outlived(leftovers);
        transfer.keep_until_unread(Arc::clone(leftovers));
    }

    fn keep_for_outlived(&self, leftovers: &Arc<Leftovers>) {
        self.outlived.iter().filter_map(Weak::upgrade).for_each(|earlier| earlier.keep_until_unread(Arc::clone(leftovers)));
    }

    /// Drops pieces of an earlier hydration, whose first row is gone, once their readers are.
    pub(super) fn drop_earlier(&self, pieces: Vec<(StoredPiece, Vec<u8>)>) {
        self.keep_for_outlived(&self.dropping(pieces));
    }

    /// Deletes pieces that no row names, once nobody reads them any more.
    fn drop_unkept(&self, transfer: &Transfer) {
        let (native, pieces) = (self.native.clone(), transfer.content().err().unwrap_or_default());
        transfer.keep_until_unread(Leftovers::new(async move {
            for piece in pieces {
                delete(&native, &piece.blob).await;
            }
        }));
    }

    /// Deletes a piece that readers were not shown, if no row names it.
    pub(crate) async fn drop_unless_kept(&self, transfer: &Transfer, piece: &StoredPiece) {
        if !transfer.is_kept {
            delete(&self.native, &piece.blob).await;
        }
    }

    /// Drops what is stored if it could not become the object any more; otherwise it waits for the next reader.
    pub(crate) async fn drop_if_outdated(&self, transfer: &Transfer) {
        if !transfer.is_kept {
            return self.drop_unkept(transfer);
        }
        match self.is_still_wanted().await {
            Ok(true) => {}
            Ok(false) => self.leave(transfer, "the key was written here").await,
            Err(error) => tracing::debug!(bucket = %self.bucket.name, key = %self.key, error = ?error, "a copy waits to be swept"),
        }
    }
}

async fn delete(native: &Native, blob: &BlobId) {
    if let Err(error) = native.blobs().delete(blob).await {
        tracing::warn!(?blob, error = ?error, "the blob of an abandoned copy stays behind");
    }
}
