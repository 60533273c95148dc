//! What a hydration writes down: a row for each piece, and first one that tells what the object is.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use umbra_core::{ETag, Error, ErrorKind, ObjectInfo, ReadSource, Result, SystemHeaders, Timestamp, UserMetadata};
use umbra_meta::{Expect, is_outcome_unknown, key};
use umbra_store::{Bucket, DefaultEncryption, Extent, Sealing};

use super::{Hydration, Pinned};
use crate::{partial, record::Hydrating, shadow::scope_of, transfer::Transfer, view::Base};

impl Hydration {
    /// Stores what was brought, encrypted if the bucket wants what comes in to be. `is_read` tells whether somebody is about to read it.
    pub(crate) async fn store(&self, content: Vec<Bytes>, is_read: bool) -> Result<Extent> {
        self.native.sealed_blobs(None).put(content, self.sealing().as_ref(), is_read).await
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

    async fn commit_piece(&self, offset: u64, extent: &Extent) -> Result<()> {
        let first = *self.first_piece.get_or_init(|| partial::first_piece(u64::from_le_bytes(self.native.random().array())));
        let row = partial::piece_row(&self.key, first, self.pieces.fetch_add(1, Ordering::Relaxed))
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "the object has too many pieces"))?;
        let batch = partial::put_piece(&self.bucket, row, extent, offset);
        let mut begun = self.row.lock().await;
        if let Some(revision) = *begun {
            drop(begun);
            self.native.meta().commit(batch.check(key::hydration(&self.key), Expect::Revision(revision))).await?;
        } else {
            let committed = self.native.meta().commit(partial::begin(batch, &self.key, &self.record(first))).await?;
            *begun = Some(committed.revision);
        }
        Ok(())
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
