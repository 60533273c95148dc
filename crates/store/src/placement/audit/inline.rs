//! Small contents that are kept in records.
//!
//! The database is in no region, or in all. A location that says where contents have to be takes those out of it that were written before, into a
//! blob like any other.

use umbra_blob::BlobStore;
use umbra_core::{Error, ObjectKey, Result};
use umbra_meta::{Batch, Error as MetaError, Expect, is_outcome_unknown, key};

use super::{Auditor, page::Named};
use crate::{Bucket, Extent, Pieces, placement::decide, record};

/// What became of a content that is in a record.
pub(super) enum Outcome {
    /// It may stay there, or there is no region that it may be in.
    Stayed,
    /// It is in a blob now.
    TakenOut,
    /// Something changes just now.
    NotNow,
}

impl Auditor {
    /// Takes the content of an object out of its record, if it may not be there. `named` is what the row names then.
    pub(super) async fn take_out(&self, bucket: &Bucket, named: &mut Named) -> Result<Outcome> {
        let Some(mut object) = named.inline.take() else { return Ok(Outcome::Stayed) };
        let blobs = &self.parts.blobs;
        let placement = decide(&bucket.settings.location, named.narrowed.as_ref(), None, blobs.topology());
        if placement.is_everywhere() || placement.homes().is_empty() {
            return Ok(Outcome::Stayed);
        }
        let (bytes, seal) = match object.content {
            Pieces::Inline(bytes) => (bytes, None),
            Pieces::SealedInline(bytes, seal) => (bytes, Some(seal)),
            Pieces::Extents(_) => return Ok(Outcome::Stayed),
        };
        // What is coming in by pieces counts on the object that is there.
        let hydration = key::parse_object(&named.row).and_then(|key| ObjectKey::parse(key).ok()).map(|key| key::hydration(&key));
        if let Some(hydration) = &hydration
            && self.parts.meta.get(bucket.partition, hydration).await?.is_some()
        {
            return Ok(Outcome::NotNow);
        }
        let stored = blobs.by(placement).put(vec![bytes]).await?;
        let extent = Extent { blob: stored.id, size: object.size, seal };
        object.content = Pieces::Extents(vec![extent.clone()]);
        let (head, body) = record::object::encode(&object);
        let batch =
            Batch::new(bucket.partition).check(key::settings(), Expect::Exists).check(named.row.clone(), Expect::Revision(named.revision));
        let batch =
            hydration.into_iter().fold(batch, |batch, hydration| batch.check(hydration, Expect::Absent)).put(named.row.clone(), head, body);
        match self.parts.meta.commit(batch).await {
            Ok(committed) => {
                named.revision = committed.revision;
                named.extents.push(extent);
                Ok(Outcome::TakenOut)
            }
            Err(MetaError::Conflict { .. }) => {
                blobs.delete(&extent.blob).await?;
                Ok(Outcome::NotNow)
            }
            Err(error) => {
                let error = Error::from(error);
                if is_outcome_unknown(&error) {
                    // Better that than a record without content.
                    tracing::warn!(bucket = %bucket.name, blob = ?extent.blob, "a blob stays behind: the outcome of a commit is not known");
                } else {
                    blobs.delete(&extent.blob).await?;
                }
                Err(error)
            }
        }
    }
}
