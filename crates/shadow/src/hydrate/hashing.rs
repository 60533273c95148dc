//! The hashes of what comes in, and the verdict: computed as bytes pass in order, and behind them for what comes by several requests at once.

use futures::StreamExt;
use umbra_core::{ByteRange, ObjectInfo, Result};

use super::{Hydration, Pinned};
use crate::{
    hashes::{Hashes, Sums},
    reader::At,
    transfer::{StoredPiece, Transfer},
};

impl Hydration {
    /// Hashes from `position` on what other fetches bring, as a reader would follow them: at the end little is left to hash.
    pub(crate) async fn hash_along(&self, transfer: &Transfer, position: u64) {
        let Some(mut hashes) = transfer.take_hashes(position) else { return };
        let stops = || transfer.cancel.is_cancelled();
        let mut news = transfer.follow();
        while !stops() && self.size() != Some(hashes.position()) {
            news.catch_up();
            match transfer.at(hashes.position(), |_| false) {
                At::Bytes(bytes) => {
                    // Readers first, as where bytes arrive.
                    tokio::task::yield_now().await;
                    hashes.update(&bytes).await;
                }
                At::Stored(piece) => {
                    if let Err(error) = self.hash_piece(&piece, &mut hashes, stops).await {
                        tracing::debug!(bucket = %self.bucket.name, key = %self.key, error = ?error, "hashing waits for the end");
                        break;
                    }
                }
                At::NotYet | At::Missing => tokio::select! {
                    biased;
                    () = transfer.cancel.cancelled() => break,
                    () = news.changed() => {}
                },
                At::Failed(_) => break,
            }
        }
        self.verify_early(transfer, hashes).await;
    }

    /// Verifies the whole before it is stored, if every byte was hashed in order: readers need not wait for the disk.
    pub(crate) async fn verify_early(&self, transfer: &Transfer, hashes: Hashes) {
        let Pinned { info, is_whole, .. } = self.pinned();
        let size = hashes.position();
        if !is_whole || self.size() != Some(size) {
            return transfer.put_hashes(hashes);
        }
        let sums = hashes.verify(&ObjectInfo { size, ..info.clone() }).await;
        if sums.is_ok() {
            transfer.verified();
        }
        transfer.put_sums(sums);
    }

    /// Compares the whole with what the origin tells of it.
    pub(crate) async fn verify(&self, transfer: &Transfer, info: &ObjectInfo) -> Result<Sums> {
        if let Some(sums) = transfer.take_sums() {
            return sums;
        }
        let Pinned { etag_is_md5, is_whole, .. } = self.pinned();
        let mut hashes = match transfer.last_hashes() {
            Some(hashes) if *is_whole => hashes,
            _ => Hashes::new(info, *etag_is_md5, self.native.md5s(), info.etag.part_count().map(|_| self.ask_first_part())),
        };
        self.hash_the_rest(transfer, &mut hashes).await?;
        hashes.verify(info).await
    }

    /// Hashes what did not come in order, from where it is stored.
    async fn hash_the_rest(&self, transfer: &Transfer, hashes: &mut Hashes) -> Result<()> {
        let pieces = match transfer.content() {
            Ok(small) => {
                let mut position = 0;
                for bytes in &small {
                    if position >= hashes.position() {
                        hashes.update(bytes).await;
                    }
                    position += bytes.len() as u64;
                }
                return Ok(());
            }
            Err(pieces) => pieces,
        };
        for piece in &pieces {
            if piece.end() > hashes.position() {
                self.hash_piece(piece, hashes, || false).await?;
            }
        }
        Ok(())
    }

    /// Hashes what is left of a piece, unless it is to stop.
    async fn hash_piece(&self, piece: &StoredPiece, hashes: &mut Hashes, stops: impl Fn() -> bool) -> Result<()> {
        let left = ByteRange::new(hashes.position().saturating_sub(piece.offset), piece.size);
        let mut stream = self.native.sealed_blobs(&self.bucket, None, None).read(&piece.extent(), left).await??;
        while let Some(bytes) = stream.next().await.transpose()? {
            hashes.update(&bytes).await;
            if stops() {
                break;
            }
        }
        Ok(())
    }
}
