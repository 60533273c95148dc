//! The end of a hydration: the whole is verified and becomes the object.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use tokio::time::timeout;
use umbra_core::{Body, Checksum, Error, ErrorKind, ObjectInfo, ReadSource, Result, Tags, limits};
use umbra_meta::{Check, Expect, Write, is_outcome_unknown, key};
use umbra_store::{Bucket, Content, Extent, Identity, Integrity, Terms};

use crate::{
    cold_parts::known_parts,
    fetch::{Failure, failure_of},
    hashes::Sums,
    hydrate::{Hydration, PATIENCE, Pinned, same_shadow},
    inventory,
    origin::{OriginError, Uncarried},
    partial::{self, Partial},
    transfer::{End, Leftovers, StoredPiece, Transfer, cut_off},
};

impl Hydration {
    /// Verifies the whole, lets readers have the last of it and makes it the object. Every byte is here.
    pub(crate) async fn finish(&self, transfer: &Transfer) {
        let end = match self.told_of_the_whole().await {
            Ok((info, untold)) => match self.verify(transfer, &info).await {
                Ok(sums) => {
                    transfer.verified();
                    match untold {
                        None => End::Complete { kept: self.keep_or_leave(transfer, info, sums).await },
                        // Readers have what they need. It is the object once the origin tells the rest of it.
                        Some(error) => {
                            self.keep_for_later(transfer).await;
                            End::Failed(error)
                        }
                    }
                }
                Err(_) if self.transfer_is_void().await => {
                    self.leave(transfer, "the shadow was cleared").await;
                    End::Failed(cut_off())
                }
                // What is stored cannot be read now: that says nothing of it.
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    self.drop_if_outdated(transfer).await;
                    End::Failed(error)
                }
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
            // An origin that cannot be asked says nothing of the bytes: they stay for the next transfer.
            Err(Failure::Other(error)) => {
                self.drop_if_outdated(transfer).await;
                End::Failed(error)
            }
        };
        transfer.finish(end);
    }

    /// Whether the shadow was cleared: then what was stored goes while it is read.
    async fn transfer_is_void(&self) -> bool {
        matches!(self.current().await, Err(error) if error.kind() == ErrorKind::Conflict)
    }

    /// What the origin tells of the whole, asked for unless it told when it was first asked; and why it cannot tell now, where that is so.
    async fn told_of_the_whole(&self) -> Result<(ObjectInfo, Option<Error>), Failure> {
        let Pinned { info, is_whole, .. } = self.pinned();
        let info = ObjectInfo { size: self.size().unwrap_or(info.size), ..info.clone() };
        if *is_whole {
            return Ok((info, None));
        }
        let late = |_| {
            Err(OriginError::certain(Error::new(ErrorKind::OriginUnavailable, "the origin does not tell the object's headers in time")))
        };
        let told = timeout(PATIENCE, self.origin.head(&self.path, &self.key)).await.unwrap_or_else(late);
        match told.map_err(failure_of) {
            Ok(told) if (&told.info.etag, told.info.size) == (&info.etag, info.size) => {
                Ok((ObjectInfo { tag_count: info.tag_count, source: info.source, ..told.info }, None))
            }
            Ok(_) => Err(Failure::Changed),
            // It gives the content and will not tell more of it than that did.
            Err(Failure::Other(error)) if error.kind() == ErrorKind::OriginRefused => Ok((info, None)),
            Err(Failure::Other(error)) if error.kind() == ErrorKind::OriginUnavailable => Ok((info, Some(error))),
            Err(failure) => Err(failure),
        }
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
        if error.kind() == ErrorKind::Conflict {
            self.leave(transfer, "something newer is here").await;
        } else {
            self.keep_for_later(transfer).await;
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
        if let Err(pieces) = transfer.content() {
            // The object may be overwritten before they are read.
            let pin = self.native.pin(pieces.into_iter().map(|piece| piece.blob).collect());
            self.keep_until_unread(transfer, &Leftovers::new(async move { drop(pin) }));
        }
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

    /// Sees to it that what was brought need not be brought again: the next transfer finds it complete. Only the content of a small object has no
    /// row yet.
    async fn keep_for_later(&self, transfer: &Transfer) {
        if !transfer.is_kept {
            return self.leave(transfer, "another transfer of it keeps its pieces").await;
        }
        let Ok(small) = transfer.content() else { return };
        let stored = async {
            let extent = self.store(small, transfer.is_read()).await?;
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
            Ok(small) => self.publish_small(small, transfer.is_read(), publish, crc.clone()).await,
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
        is_read: bool,
        publish: impl FnOnce(Content) -> F,
        crc: Checksum,
    ) -> Result<()> {
        let size: usize = small.iter().map(Bytes::len).sum();
        if size <= limits::INLINE_BYTES_MAX {
            let integrity = Integrity { sealing: self.sealing(), ..Integrity::default() };
            publish(self.native.ingest(&self.bucket, None, Body::from_bytes(small.concat()), integrity).await?).await?;
        } else {
            let extent = self.store(small, is_read).await?;
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
