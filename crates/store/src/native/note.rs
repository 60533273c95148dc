//! Notes that a wrapper writes beside an upload that is there already, and beside its parts.

use umbra_core::{Body, ByteRange, Entity, Error, ObjectKey, Result, UploadId};
use umbra_meta::{Expect, Revision, Write, key};

use super::{
    Native, Pieces,
    commit::{Changes, Fence},
    content_stream,
};
use crate::{
    Bucket, PartAddress, Terms,
    record::{self, part::PartRecord},
};

/// A part as it is stored, to be sent elsewhere.
#[derive(Debug)]
pub struct StoredPart {
    /// What was noted beside it.
    pub note: Option<String>,
    /// Bytes of content.
    pub size: u64,
    /// The content.
    pub body: Body,
    record: PartRecord,
    revision: Revision,
}

impl Native {
    /// Notes something beside an upload that has no note; `writes` ride in the same batch. Gives the note it has then, this one or another's.
    pub async fn note_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        note: String,
        writes: Vec<Write>,
    ) -> Result<String> {
        let (row, mut fence) = (key::upload(upload), Fence::from(bucket));
        let terms = Terms { writes, ..Terms::default() };
        loop {
            let mut found = self.find_upload(bucket, key, upload).await?;
            if let Some(earlier) = found.record.note {
                return Ok(earlier);
            }
            found.record.note = Some(note.clone());
            let mut changes = Changes::behind(fence);
            let expected = Expect::Revision(found.revision);
            changes.check(row.clone(), expected);
            changes.put(row.clone(), (bytes::Bytes::new(), record::upload::encode(&found.record)));
            changes.add_terms(&terms);
            match self.commit(&mut fence, changes).await? {
                Ok(_) => return Ok(note),
                // A part came meanwhile, or another note.
                Err(lost) => drop(lost.reread(&row, expected)?),
            }
        }
    }

    /// Opens a part's content.
    pub async fn open_part(&self, bucket: &Bucket, part: PartAddress<'_>) -> Result<StoredPart> {
        let upload = self.find_upload(bucket, part.key, part.upload).await?;
        let entry = self.meta().get(bucket.partition, &key::part(part.upload, part.number)).await?;
        let entry = entry.ok_or_else(|| Error::not_found(Entity::Part))?;
        let record = record::part::decode(&entry)?;
        let (size, pieces) = (record.head.size, Pieces::Extents(record.extents.clone()));
        let blobs = self.sealed_blobs(bucket, upload.record.options.attributes.narrowed.as_ref(), None);
        let stream = content_stream::open(&blobs, self.reclaimer(), &pieces, ByteRange::new(0, size)).await??;
        Ok(StoredPart { note: record.note.clone(), size, body: Body::new(Some(size), stream), record, revision: entry.revision })
    }

    /// Notes something beside the very part that was opened, in place of an earlier note; a [`umbra_core::ErrorKind::Conflict`] when it was
    /// replaced meanwhile.
    pub async fn note_part(&self, bucket: &Bucket, part: PartAddress<'_>, noted: PartNoting, note: String) -> Result<()> {
        let (row, mut fence) = (key::part(part.upload, part.number), Fence::from(bucket));
        let record = PartRecord { note: Some(note), ..noted.record };
        let mut changes = Changes::behind(fence);
        changes.check(row.clone(), Expect::Revision(noted.revision));
        changes.put(row, record::part::encode(&record));
        self.commit(&mut fence, changes).await??;
        Ok(())
    }
}

/// The part that a note is for.
#[derive(Debug)]
pub struct PartNoting {
    record: PartRecord,
    revision: Revision,
}

impl StoredPart {
    /// Takes the content out, and leaves what a note is written beside.
    pub fn into_body(self) -> (Body, PartNoting) {
        (self.body, PartNoting { record: self.record, revision: self.revision })
    }
}
