//! What a hydration writes down: a row for each piece, and first one that tells what the object is.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use umbra_core::{ETag, Error, ErrorKind, ObjectInfo, ReadSource, Result, SystemHeaders, Timestamp, UserMetadata};
use umbra_meta::{Batch, Expect, Revision, is_outcome_unknown, key};
use umbra_store::{Bucket, DefaultEncryption, Extent, Sealing};

use super::{Hydration, Pinned};
use crate::{
    partial,
    record::{Hydrating, decode},
    shadow::scope_of,
    transfer::Transfer,
    view::Base,
};

/// How often a piece's row is put whose commits have an outcome that nobody knows.
const COMMITS_MAX: usize = 3;

impl Hydration {
    /// Stores what was brought, encrypted if the bucket wants what comes in to be. `is_read` tells whether somebody is about to read it.
    pub(crate) async fn store(&self, content: Vec<Bytes>, is_read: bool) -> Result<Extent> {
        self.native.sealed_blobs(&self.bucket, None, None).put(content, self.sealing().as_ref(), is_read).await
    }

    /// How what is brought is encrypted.
    pub(crate) fn sealing(&self) -> Option<Sealing> {
        self.bucket.settings.extras.encryption.as_ref().map(DefaultEncryption::sealing)
    }

    /// Gives a stored piece its row, by which it is found whatever happens. A piece that gets none is deleted.
    pub(crate) async fn record_piece(&self, transfer: &Transfer, offset: u64, extent: &Extent) -> Result<()> {
        if !transfer.is_kept {
            self.stats.moved_bytes.add(extent.size);
            return Ok(());
        }
        let Err(error) = self.commit_piece(offset, extent).await else {
            self.stats.moved_bytes.add(extent.size);
            return Ok(());
        };
        if !is_outcome_unknown(&error)
            && let Err(error) = self.native.blobs().delete(&extent.blob).await
        {
            tracing::warn!(blob = ?extent.blob, error = ?error, "a piece without a row stays behind");
        }
        Err(error)
    }

    /// Puts a piece's row, once more where nobody knows whether that was done: the row is its own, and the same each time.
    async fn commit_piece(&self, offset: u64, extent: &Extent) -> Result<()> {
        let first = *self.first_piece.get_or_init(|| partial::first_piece(u64::from_le_bytes(self.native.random().array())));
        let row = partial::piece_row(&self.key, first, self.pieces.fetch_add(1, Ordering::Relaxed))
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "the object has too many pieces"))?;
        let batch = partial::put_piece(&self.bucket, row, extent, offset);
        let mut unknown = None;
        for _ in 0..COMMITS_MAX {
            match self.try_commit_piece(first, batch.clone()).await {
                Err(error) if is_outcome_unknown(&error) => unknown = Some(error),
                // What came before may have been done all the same.
                Err(error) => return Err(unknown.unwrap_or(error)),
                Ok(()) => return Ok(()),
            }
        }
        unknown.map_or(Ok(()), Err)
    }

    async fn try_commit_piece(&self, first: u64, batch: Batch) -> Result<()> {
        let mut begun = self.row.lock().await;
        if begun.is_none() {
            let begins = partial::begin(batch.clone(), &self.key, &self.record(first));
            let error = match self.native.meta().commit(begins).await.map_err(Error::from) {
                Ok(committed) => {
                    *begun = Some(committed.revision);
                    return Ok(());
                }
                Err(error) => error,
            };
            let is_in_the_way = error.kind() == ErrorKind::Conflict;
            if is_in_the_way || is_outcome_unknown(&error) {
                // What is there may be ours, from this commit or one before.
                *begun = self.find_begun(first).await.ok().flatten();
            }
            if begun.is_none() || !is_in_the_way {
                return Err(error);
            }
        }
        let expected = begun.map_or(Expect::Absent, Expect::Revision);
        drop(begun);
        self.native.meta().commit(batch.check(key::hydration(&self.key), expected)).await?;
        Ok(())
    }

    /// The revision of the row that begins this hydration, known by the number of its first piece, if it is there.
    async fn find_begun(&self, first: u64) -> Result<Option<Revision>> {
        let Some(entry) = self.native.meta().get(self.bucket.partition, &key::hydration(&self.key)).await? else { return Ok(None) };
        let record: Hydrating = decode("hydration", &entry.body)?;
        Ok((record.first_piece == first).then_some(entry.revision))
    }

    fn record(&self, first_piece: u64) -> Hydrating {
        let Pinned { info, tags_known, etag_is_md5, .. } = self.pinned();
        Hydrating {
            generation: self.bucket.settings.generation,
            base: self.base.numbers(),
            first_piece,
            etag: info.etag.as_str().to_owned(),
            size: self.size().unwrap_or(Hydrating::SIZE_UNKNOWN),
            last_modified: info.last_modified.as_millis(),
            headers: headers_in_order(&info.headers),
            metadata: info.metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            tag_count: tags_known.then_some(info.tag_count as u64),
            etag_is_md5: *etag_is_md5,
            scope: scope_of(&self.bucket),
        }
    }
}

impl Hydrating {
    /// Whether it is of what the bucket shadows now, and its key held the same here when it began.
    pub(crate) fn is_of(&self, bucket: &Bucket, base: &Base) -> bool {
        (self.generation, self.scope, self.base) == (bucket.settings.generation, scope_of(bucket), base.numbers())
    }

    /// The origin did not tell the size: there is no going on with it.
    pub(crate) const SIZE_UNKNOWN: u64 = u64::MAX;

    /// What it tells of the origin's object.
    pub(super) fn info(&self) -> ObjectInfo {
        let mut headers = self.headers.iter().cloned();
        let mut next = || headers.next().flatten();
        ObjectInfo {
            size: self.size,
            etag: ETag::parse(&self.etag),
            last_modified: Timestamp::from_millis(self.last_modified),
            headers: SystemHeaders {
                content_type: next(),
                cache_control: next(),
                content_disposition: next(),
                content_encoding: next(),
                content_language: next(),
                expires: next(),
                website_redirect_location: next(),
                storage_class: next(),
            },
            metadata: UserMetadata::new(self.metadata.iter().cloned()),
            checksums: Vec::new(),
            parts: Vec::new(),
            tag_count: self.tag_count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
            tags: None,
            attributes: umbra_core::Attributes::default(),
            version: umbra_core::VersionId::Null,
            source: ReadSource::Origin,
        }
    }
}

fn headers_in_order(headers: &SystemHeaders) -> Vec<Option<String>> {
    let SystemHeaders {
        content_type,
        cache_control,
        content_disposition,
        content_encoding,
        content_language,
        expires,
        website_redirect_location,
        storage_class,
    } = headers.clone();
    vec![
        content_type,
        cache_control,
        content_disposition,
        content_encoding,
        content_language,
        expires,
        website_redirect_location,
        storage_class,
    ]
}
