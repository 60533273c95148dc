//! Parts of multipart uploads: storing and listing them.

use std::sync::Arc;

use umbra_core::{ETag, Encryption, Entity, Error, ErrorKind, ObjectKey, PartNumber, Result, UploadId, VersionId};
use umbra_meta::{Entry, Expect, Projection, key};

use super::{
    Content, Extent, Native, Pieces,
    commit::{Changes, Fence},
    content::Custody,
    detached,
    upload::{Upload, mismatch},
};
use crate::{
    Bucket, CreateUpload, ListedPart, PartAddress, PartsPage, PutObject,
    record::{
        self,
        part::{PartHead, PartRecord},
    },
};

impl Native {
    /// Makes `content` a part of an upload, in place of an earlier one of the same number.
    ///
    /// On an error the content is discarded. Once called it runs to its end.
    pub async fn publish_part(&self, bucket: &Bucket, part: PartAddress<'_>, content: Content) -> Result<PutObject> {
        self.publish_part_noted(bucket, part, content, None).await
    }

    /// Like [`Native::publish_part`], with something a wrapper finds again in [`super::CompletionPlan::parts`].
    pub async fn publish_part_noted(
        &self,
        bucket: &Bucket,
        part: PartAddress<'_>,
        content: Content,
        note: Option<String>,
    ) -> Result<PutObject> {
        let (native, bucket, fence) = (self.clone(), bucket.clone(), Fence::from(bucket));
        let (key, upload, number) = (part.key.clone(), part.upload.clone(), part.number);
        detached(async move {
            let part = PartAddress { key: &key, upload: &upload, number };
            let rows = native.part_rows(fence, part).await?;
            let content = native.without_inline(&bucket, part, content, &rows).await?;
            let (record, encryption) = native.part_record(part, &content, note, &rows)?;
            let outcome = native.store_part(fence, part, &record, rows).await;
            let holds = |entry: &Entry| Ok(record::part::decode(entry)?.extents == record.extents);
            native.settle(fence, &key::part(&upload, number), content, outcome, holds).await?;
            Ok(record.head.put_object(encryption))
        })
        .await
    }

    /// Moves inline content to a blob: a completed object is made of the blobs of its parts.
    async fn without_inline(&self, bucket: &Bucket, part: PartAddress<'_>, content: Content, rows: &Rows) -> Result<Content> {
        let (bytes, seal) = match &content.pieces {
            Pieces::Inline(bytes) => (bytes.clone(), None),
            Pieces::SealedInline(bytes, seal) => (bytes.clone(), Some(seal.clone())),
            Pieces::Extents(_) => return Ok(content),
        };
        if bytes.is_empty() {
            return Ok(Content { pieces: Pieces::Extents(Vec::new()), ..content });
        }
        let upload = Upload::decode(part.upload, part.key, Some(&rows.upload))?;
        let blobs = self.blobs_of(bucket, upload.record.options.attributes.narrowed.as_ref());
        let stored = blobs.put(vec![bytes]).await?;
        let custody = Custody::of(Arc::clone(self.blobs()), stored.id.clone());
        let pieces = Pieces::Extents(vec![Extent { blob: stored.id, size: content.size, seal }]);
        Ok(Content { pieces, custody, ..content })
    }

    async fn part_rows(&self, fence: Fence, part: PartAddress<'_>) -> Result<Rows> {
        let keys = [key::upload(part.upload), key::part(part.upload, part.number)];
        let mut rows = self.meta().multi_get(fence.partition, &keys.each_ref().map(Vec::as_slice)).await?.into_iter();
        let upload = rows.next().flatten().ok_or_else(|| Error::not_found(Entity::Upload))?;
        Ok(Rows { upload, part: rows.next().flatten() })
    }

    /// The record of a part, and how its upload is encrypted.
    fn part_record(
        &self,
        part: PartAddress<'_>,
        content: &Content,
        note: Option<String>,
        rows: &Rows,
    ) -> Result<(PartRecord, Option<Encryption>)> {
        let upload = Upload::decode(part.upload, part.key, Some(&rows.upload))?;
        let head = PartHead {
            size: content.size,
            md5: content.tag,
            last_modified: self.clock().now(),
            checksums: checksums_to_keep(&upload.record.options, content)?,
        };
        let record = PartRecord { head, extents: content.pieces.extents().to_vec(), note };
        Ok((record, upload.record.options.attributes.encryption))
    }

    async fn store_part(&self, mut fence: Fence, part: PartAddress<'_>, record: &PartRecord, rows: Rows) -> Result<()> {
        let (upload_row, part_row) = (key::upload(part.upload), key::part(part.upload, part.number));
        let Rows { upload, part: mut current } = rows;
        loop {
            let old = current.as_ref().map(record::part::decode).transpose()?;
            let expected = Expect::unchanged(current.as_ref().map(|entry| entry.revision));
            let mut changes = Changes::behind(fence);
            changes.check(upload_row.clone(), Expect::Exists);
            changes.check(part_row.clone(), expected);
            // Written anew with the same content, so that its revision tells a completion whether any part came meanwhile.
            changes.put(upload_row.clone(), (upload.head.clone(), upload.body.clone()));
            changes.put(part_row.clone(), record::part::encode(record));
            if let Some(old) = old {
                changes.reclaim(&old.extents, self.reclamation_due());
            }
            match self.commit(&mut fence, changes).await? {
                Ok(_) => return Ok(()),
                Err(lost) if lost.is_of(&upload_row, Expect::Exists) => return Err(Error::not_found(Entity::Upload)),
                Err(lost) => current = lost.reread(&part_row, expected)?,
            }
        }
    }

    pub(super) async fn page_of_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartsPage> {
        let mut range = key::part_range(upload);
        if let Some(after) = after {
            range = range.after(&key::part(upload, after));
        }
        let mut entries = self.meta().scan(bucket.partition, range, limit.saturating_add(1), Projection::Head).await?;
        // Looked for behind its parts: an upload that is there now was there when they were read.
        self.find_upload(bucket, key, upload).await?;
        let truncated = limit > 0 && entries.len() > limit;
        entries.truncate(limit);
        let parts = entries.iter().map(listed).collect::<Result<_>>()?;
        Ok(PartsPage { parts, truncated })
    }
}

/// What is known of a part before it is stored.
struct Rows {
    upload: Entry,
    /// The earlier part of the same number.
    part: Option<Entry>,
}

impl PartHead {
    fn put_object(self, encryption: Option<Encryption>) -> PutObject {
        let Self { size, md5, last_modified, checksums } = self;
        PutObject { etag: ETag::from_md5(md5), checksums, size, last_modified, version: VersionId::Null, encryption }
    }
}

/// The checksum the upload was begun with; without one, all there are: what the client sent, and CRC64NVME for the whole.
fn checksums_to_keep(upload: &CreateUpload, content: &Content) -> Result<Vec<umbra_core::Checksum>> {
    let Some((algorithm, _)) = upload.checksum else { return Ok(content.checksums.clone()) };
    let kept: Vec<_> = content.checksums.iter().filter(|checksum| checksum.algorithm == algorithm).cloned().collect();
    if kept.is_empty() { Err(mismatch(algorithm, "null")) } else { Ok(kept) }
}

pub(super) fn parse_row(entry: &Entry) -> Result<(UploadId, PartNumber)> {
    key::parse_part(&entry.key).ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("{} is no key of a part", entry.key.escape_ascii())))
}

fn listed(entry: &Entry) -> Result<ListedPart> {
    let (_, number) = parse_row(entry)?;
    let head = record::part::decode_head(&entry.head)?;
    Ok(ListedPart { number, size: head.size, etag: head.etag(), last_modified: head.last_modified, checksums: head.checksums })
}
