//! The end of a hydration: the whole is verified and becomes the object.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures::StreamExt;
use umbra_core::{Body, ByteRange, Checksum, Error, ErrorKind, ObjectInfo, ReadSource, Result, Tags, limits};
use umbra_meta::{Check, Expect, Write, is_outcome_unknown, key};
use umbra_store::{Bucket, Content, Extent, Identity, Integrity, Terms};

use crate::{
    cold_parts::known_parts,
    fetch::{Failure, failure_of},
    hashes::{Hashes, Sums},
    hydrate::{Hydration, Pinned, same_shadow},
    inventory,
    origin::Uncarried,
    partial::{self, Partial},
    transfer::{End, StoredPiece, Transfer, cut_off},
};

impl Hydration {
    /// Verifies the whole, lets readers have the last of it and makes it the object. Every byte is here.
    pub(crate) async fn finish(&self, transfer: &Transfer) {
        let end = match self.told_of_the_whole().await {
            Ok(info) => match self.verify(transfer, &info).await {
                Ok(sums) => {
                    transfer.verified();
                    End::Complete { kept: self.keep_or_leave(transfer, info, sums).await }
                }
                Err(_) if self.transfer_is_void().await => {
                    self.leave(transfer, "the shadow was cleared").await;
                    End::Failed(cut_off())
                }
                // What is stored cannot be read now: that says nothing of it.
                Err(error) if error.kind() == ErrorKind::Unavailable => End::Failed(error),
                Err(error) => {
                    tracing::warn!(bucket = %self.bucket.name, key = %self.key, error = ?error, "a copy cannot be verified and is thrown away");
                    self.leave(transfer, "it is not what the origin says it is").await;
                    End::Failed(error)
                }
            },
            Err(Failure::Changed) => {
                self.leave(transfer, "it changed at the origin").await;
                End::Superseded
            }
            // An origin that cannot be asked says nothing of the bytes: they stay.
            Err(Failure::Other(error)) => End::Failed(error),
        };
        transfer.finish(end);
    }

    /// Whether the shadow was cleared: then what was stored goes while it is read.
    async fn transfer_is_void(&self) -> bool {
        matches!(self.current().await, Err(error) if error.kind() == ErrorKind::Conflict)
    }

    /// What the origin tells of the whole, asked for unless the first answer was of the whole.
    async fn told_of_the_whole(&self) -> Result<ObjectInfo, Failure> {
        let Pinned { info, is_whole, .. } = self.pinned();
        let info = ObjectInfo { size: self.size().unwrap_or(info.size), ..info.clone() };
        if *is_whole {
            return Ok(info);
        }
        let told = self.origin.head(&self.path, &self.key).await.map_err(failure_of)?.info;
        if (&told.etag, told.size) == (&info.etag, info.size) {
            Ok(ObjectInfo { tag_count: info.tag_count, source: info.source, ..told })
        } else {
            Err(Failure::Changed)
        }
    }

    /// Verifies the whole before it is stored, if one answer brought it from the first byte to the last: readers need not wait for the disk.
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

    async fn verify(&self, transfer: &Transfer, info: &ObjectInfo) -> Result<Sums> {
        if let Some(sums) = transfer.take_sums() {
            return sums;
        }
        let Pinned { etag_is_md5, is_whole, .. } = self.pinned();
        let mut hashes = match transfer.last_hashes() {
            Some(hashes) if *is_whole => hashes,
            _ => Hashes::new(info, *etag_is_md5, info.etag.part_count().map(|_| self.ask_first_part())),
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
        for piece in pieces {
            let skip = hashes.position().saturating_sub(piece.offset);
            if skip >= piece.size {
                continue;
            }
            let mut stream = self.native.sealed_blobs(None).read(&piece.extent(), ByteRange::new(skip, piece.size)).await??;
            while let Some(bytes) = stream.next().await.transpose()? {
                hashes.update(&bytes).await;
            }
        }
        Ok(())
    }

    /// Makes the copy the object, and tells whether it is. Every reader has all it needs: what fails here costs only the copy.
    async fn keep_or_leave(&self, transfer: &Transfer, info: ObjectInfo, sums: Sums) -> bool {
        let size = info.size;
        let Err(error) = self.keep(transfer, info, sums).await else { return true };
        self.stats.discarded_copies.add(1);
        self.stats.discarded_bytes.add(size);
        if error.kind() != ErrorKind::Conflict {
            tracing::warn!(bucket = %self.bucket.name, key = %self.key, error = ?error, "a copy could not be kept");
        }
        // If the commit may have landed the pieces may be the object's.
        if is_outcome_unknown(&error) {
            return false;
        }
        if error.kind() == ErrorKind::Conflict || !transfer.is_kept {
            self.leave(transfer, "something newer is here").await;
        } else if let Ok(small) = transfer.content() {
            // What was brought need not be brought again.
            self.keep_for_later(transfer, small).await;
        }
        false
    }

    async fn keep(&self, transfer: &Transfer, mut info: ObjectInfo, sums: Sums) -> Result<()> {
        let Sums { crc, parts, first_part } = sums;
        if parts.is_empty() {
            // Not all alike, or the content says nothing of them.
            info.parts = known_parts(&*self.origin, &self.path, &self.key, &info, first_part).await;
        } else {
            info.parts = parts;
        }
        let tags = if self.pinned().tags_known && info.tag_count == 0 { Tags::default() } else { self.tags(&info).await? };
        if info.checksums.is_empty() {
            info.checksums.push(crc.clone());
        }
        info.tag_count = tags.len();
        info.source = ReadSource::Local;
        let size = info.size;
        let identity = Identity { info, tags, hydrated: self.native.clock().now(), is_written: self.is_written };
        // From memory: the commit holds it against what is stored.
        let mut current = self.of_this_shadow(self.catalog.bucket(&self.bucket.name).await?)?;
        while let Err(error) = self.publish(transfer, &current, &identity, &crc).await {
            if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable) || is_outcome_unknown(&error) {
                return Err(error);
            }
            // Settings may have changed that are none of the copy's business, such as the credentials, or whether versions are kept.
            let now = self.current().await?;
            if now.revision == current.revision {
                return Err(error);
            }
            current = now;
        }
        self.stats.hydrated_objects.add(1);
        self.stats.hydrated_bytes.add(size);
        Ok(())
    }

    /// Gives the content of a small object a row, as larger ones have: the next transfer finds it complete.
    async fn keep_for_later(&self, transfer: &Transfer, small: Vec<Bytes>) {
        let stored = async {
            let extent = self.store(small).await?;
            self.record_piece(transfer, 0, &extent).await
        };
        if let Err(error) = stored.await {
            tracing::debug!(bucket = %self.bucket.name, key = %self.key, error = ?error, "what was brought cannot be kept for later");
        }
    }

    /// The bucket as it stands, if it still has the shadow that the copy came from.
    async fn current(&self) -> Result<Arc<Bucket>> {
        self.of_this_shadow(self.catalog.refresh(&self.bucket.name).await?)
    }

    fn of_this_shadow(&self, bucket: Arc<Bucket>) -> Result<Arc<Bucket>> {
        if same_shadow(&self.bucket, &bucket) { Ok(bucket) } else { Err(Error::new(ErrorKind::Conflict, "the shadow changed")) }
    }

    async fn publish(&self, transfer: &Transfer, current: &Bucket, identity: &Identity, crc: &Checksum) -> Result<()> {
        let mut terms = self.terms().await?;
        terms.checks.push(Check { key: key::settings(), expect: Expect::Revision(current.revision) });
        let publish = |content: Content| {
            let mut identity = identity.clone();
            // What an earlier transfer brought may lie there as it came.
            identity.info.attributes.encryption = self.sealing().filter(|_| content.pieces.is_sealed()).map(|sealing| sealing.told());
            self.native.publish_copy(current, &self.key, content, identity, self.base.object, terms)
        };
        match transfer.content() {
            Ok(small) => self.publish_small(small, publish, crc.clone()).await,
            Err(pieces) => {
                let extents = pieces.iter().map(StoredPiece::extent).collect();
                publish(assembled(extents, crc.clone())).await
            }
        }
    }

    /// A small object needs no row for its piece: there is nothing to resume or to find.
    async fn publish_small<F: Future<Output = Result<()>>>(
        &self,
        small: Vec<Bytes>,
        publish: impl FnOnce(Content) -> F,
        crc: Checksum,
    ) -> Result<()> {
        let size: usize = small.iter().map(Bytes::len).sum();
        if size <= limits::INLINE_BYTES_MAX {
            let integrity = Integrity { sealing: self.sealing(), ..Integrity::default() };
            publish(self.native.ingest(Body::from_bytes(small.concat()), integrity).await?).await?;
        } else {
            let extent = self.store(small).await?;
            let blob = extent.blob.clone();
            let published = publish(assembled(vec![extent], crc)).await;
            if let Err(error) = &published
                && !is_outcome_unknown(error)
                && let Err(error) = self.native.blobs().delete(&blob).await
            {
                tracing::warn!(?blob, error = ?error, "the blob of a discarded copy stays behind");
            }
            published?;
        }
        self.stats.moved_bytes.add(size as u64);
        Ok(())
    }

    /// The batch terms under which the copy becomes the object: nothing of the key has changed since the origin was asked.
    async fn terms(&self) -> Result<Terms> {
        let mut checks = vec![self.base.tombstone_unchanged(&self.key), self.base.intent_unchanged(&self.key)];
        let mut writes = Vec::new();
        for (row, revision) in [(key::tombstone(&self.key), self.base.tombstone), (key::write_intent(&self.key), self.base.intent)] {
            if revision.is_some() {
                writes.push(Write::Delete { key: row });
            }
        }
        if let Some(begun) = *self.row.lock().await {
            let row = key::hydration(&self.key);
            checks.push(Check { key: row.clone(), expect: Expect::Revision(begun) });
            writes.push(Write::Delete { key: row });
            let rows = partial::load(&self.native, &self.bucket, &self.key).await?.map_or(Vec::new(), |Partial { pieces, .. }| pieces);
            writes.extend(rows.into_iter().map(|(_, row)| Write::Delete { key: row }));
        }
        Ok(Terms { checks, writes, removal: Some(inventory::removal(&self.key)), ..Terms::default() })
    }

    /// The origin's tags; an origin that does not know tags has none to carry over. One that does not show them, but the object, is noted.
    ///
    /// They are asked for after the content: where there are any, the origin is asked once more whether they are still of this object.
    async fn tags(&self, info: &ObjectInfo) -> Result<Tags> {
        let conflict = |why| Error::new(ErrorKind::Conflict, why);
        let tags = match self.origin.tags(&self.path, &self.key).await {
            Ok(tags) => Some(tags),
            Err(error) if error.error.kind() == ErrorKind::OriginRefused => None,
            Err(error) if error.error.kind() == ErrorKind::Unsupported => return Ok(Tags::default()),
            Err(error) if error.is_not_found() => return Err(conflict("the object is gone at the origin")),
            Err(error) => return Err(error.into()),
        };
        let Pinned { tags_known, is_whole, .. } = self.pinned();
        let had_none = info.tag_count == 0 && (*tags_known || *is_whole);
        if had_none && tags.as_ref().is_some_and(Tags::is_empty) {
            return Ok(Tags::default());
        }
        match self.origin.head(&self.path, &self.key).await {
            Ok(told) if told.info.etag == info.etag => {}
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => return Err(conflict("the object changed at the origin")),
        }
        if tags.is_none() {
            self.notes.add(&self.key, &[Uncarried::HiddenTags]).await;
        }
        Ok(tags.unwrap_or_default())
    }
}

/// Content that came in pieces. Nothing asks for the MD5 of a copy: its ETag is the origin's.
fn assembled(extents: Vec<Extent>, crc: Checksum) -> Content {
    Content::assembled(extents, [0; 16], vec![crc])
}
