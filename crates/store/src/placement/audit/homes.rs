//! Homes that have lost their bytes.
//!
//! A copy that has all of them becomes the home, wherever it is: where it may not be is what the audit puts right afterwards, like any other home.
//! Where there is none nothing is touched, and it is told. A region that does not answer has lost nothing.
//!
//! An answer that there is nothing may be wrong, for a moment or for a part of the requests. So a home is asked more than once, the copy has to be
//! whole, and what may be left at the old home stays, as a copy.

use umbra_blob::BlobId;
use umbra_core::{Region, Result};
use umbra_meta::key;

use super::{
    Auditor,
    page::{Named, in_region},
};
use crate::{
    Bucket,
    placement::{
        Moved, Placement,
        index::{CopyRow, Place},
        moving::home_of,
    },
};

/// Objects whose bytes are nowhere that one audit tells one by one.
const TOLD_MAX: u64 = 1000;

/// How often a home is asked before a copy is looked for; once more before that becomes the home.
const LOOKS: usize = 2;

/// What was found of the bytes that have to be at home.
pub(super) enum Bytes {
    /// They are there.
    AtHome,
    /// They were lost, and their home is elsewhere now.
    Moved,
    /// They were lost, and there is no copy.
    Nowhere,
    /// Something changes just now.
    NotNow,
}

impl Auditor {
    /// Looks for the bytes of a blob at its `home`. If they are lost a copy becomes the home, one that may be where it is rather than another.
    pub(super) async fn find_bytes(
        &self,
        bucket: &Bucket,
        named: &Named,
        id: &BlobId,
        (home, copies): (&Region, &[CopyRow]),
        placement: &Placement,
    ) -> Result<Bytes> {
        let blobs = &self.parts.blobs;
        let place = home_of(copies).map_or_else(|| blobs.born(id), CopyRow::place);
        let Some(place) = place else { return Ok(Bytes::NotNow) };
        for _ in 0..LOOKS {
            if blobs.answer_at(&place).await.map_err(|error| in_region(&place.region, error))? {
                return Ok(Bytes::AtHome);
            }
        }
        let mut others: Vec<_> = copies.iter().filter(|copy| copy.record.home.is_none()).collect();
        others.sort_by_key(|copy| !is_allowed(placement, copy));
        let (mut away, mut is_coming) = (None, false);
        for copy in others {
            is_coming |= copy.record.blob.is_none();
            match blobs.move_lost_home(id, &copy.region).await {
                Ok(Moved::Done) => {
                    tracing::warn!(bucket = %bucket.name, blob = ?id, from = %home, to = copy.region, "a home has lost its bytes; a copy is the home now");
                    return Ok(Bytes::Moved);
                }
                Ok(Moved::Already) => return Ok(Bytes::NotNow),
                Ok(Moved::NotNow) => {}
                Err(error) => away = Some(in_region(&copy.region, error)),
            }
        }
        match away {
            Some(error) => Err(error),
            None if is_coming || self.has_changed(bucket, named, id, &place, copies).await? => Ok(Bytes::NotNow),
            None => Ok(Bytes::Nowhere),
        }
    }

    /// Whether an object or the copies of its blob are others than they were read to be: then it says nothing that bytes are not there.
    async fn has_changed(&self, bucket: &Bucket, named: &Named, id: &BlobId, home: &Place, copies: &[CopyRow]) -> Result<bool> {
        let revisions = |copies: &[CopyRow]| copies.iter().map(|copy| (copy.region.clone(), copy.revision)).collect::<Vec<_>>();
        let entry = self.parts.meta.get(bucket.partition, &named.row).await?;
        let is_same = entry.is_some_and(|entry| entry.revision == named.revision);
        let copies_now = self.parts.blobs.copies(id).await?;
        // Nor may it be that it was just about to be there.
        Ok(!is_same || revisions(copies) != revisions(&copies_now) || self.parts.blobs.answer_at(home).await?)
    }

    /// Tells that bytes of an object are nowhere, after `before` contents of which that was found.
    pub(super) fn tell_gone(&self, bucket: &Bucket, named: &Named, contents: u64, before: u64) {
        self.parts.blobs.metrics().count_gone(contents);
        if before >= TOLD_MAX {
            return;
        }
        let version = key::parse_version(&named.row);
        let object = version.as_ref().map(|(key, _)| key.as_str()).or_else(|| key::parse_object(&named.row)).unwrap_or_default();
        tracing::error!(
            bucket = %bucket.name,
            key = object,
            is_old_version = version.is_some(),
            contents,
            "an object has lost its bytes: their home answers that it has none, and there is no copy"
        );
    }
}

fn is_allowed(placement: &Placement, copy: &CopyRow) -> bool {
    Region::parse(&copy.region).is_ok_and(|region| placement.may_keep(&region))
}
