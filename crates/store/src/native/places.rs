//! Where the content of a bucket's objects is, in a store with regions.

use std::{collections::BTreeSet, sync::Arc};

use umbra_blob::BlobStore;
use umbra_core::{Error, Fault, Location, Narrowed, Result};

use super::{Native, ObjectRecord, commit::Changes};
use crate::{
    Bucket, Terms,
    placement::{PlacedBlobStore, Placement, decide, due::Wanted},
};

impl Native {
    /// The contents of all regions, in a store with regions.
    pub const fn placed(&self) -> Option<&PlacedBlobStore> {
        self.placed.as_ref()
    }

    /// Where the content of an object of `bucket` is to be that was `narrowed` by its writer or not. `None` in a store without regions.
    pub fn placement(&self, bucket: &Bucket, narrowed: Option<&Narrowed>) -> Option<Placement> {
        let placed = self.placed.as_ref()?;
        Some(decide(&bucket.settings.location, narrowed, bucket.taken_in.as_ref(), placed.topology()))
    }

    /// Where the content of such an object is read and written: held to [`Native::placement`].
    pub fn blobs_of(&self, bucket: &Bucket, narrowed: Option<&Narrowed>) -> Arc<dyn BlobStore> {
        match &self.placed {
            Some(placed) => Arc::new(placed.of(bucket, narrowed)),
            None => Arc::clone(self.blobs()),
        }
    }

    /// The most content that is kept in an object's record. The database is in no region, or in all: what is to be in some only is not kept there.
    pub(super) fn inline_max(&self, bucket: &Bucket, narrowed: Option<&Narrowed>) -> u64 {
        let is_bound = self.placed.is_some() && !is_everywhere(bucket, narrowed);
        if is_bound { 0 } else { umbra_core::limits::INLINE_BYTES_MAX as u64 }
    }

    /// Refuses content for which there is no region, before any of it is taken.
    pub(super) fn check_homes(&self, bucket: &Bucket, narrowed: Option<&Narrowed>) -> Result<()> {
        let has_home = self.placement(bucket, narrowed).is_none_or(|placement| !placement.homes().is_empty());
        if has_home {
            return Ok(());
        }
        let refused = match (&bucket.settings.location, narrowed) {
            (Location::Global, Some(narrowed)) => format!("this store has no region of those that are named: {}", narrowed.to_places()),
            (location, _) => format!("the bucket's location, {location}, names no region of this store: it is to be changed"),
        };
        Err(Error::invalid(Fault::InvalidRequest, refused))
    }
}

impl Native {
    /// The same as [`Native::placement`], of content that may not be everywhere.
    pub(super) fn bound(&self, bucket: &Bucket, narrowed: Option<&Narrowed>) -> Option<Placement> {
        if is_everywhere(bucket, narrowed) { None } else { self.placement(bucket, narrowed) }
    }

    /// Adds to `changes` that the content of `object` has to be copied to where `terms` say.
    pub(super) fn require_copies(&self, changes: &mut Changes, terms: &Terms, object: &ObjectRecord) {
        let (Some(placed), Some(placement)) = (&self.placed, &terms.placement) else { return };
        let mut copies = BTreeSet::new();
        for extent in object.content.extents() {
            let Some(home) = placed.home_of(&extent.blob) else { continue };
            // What is at home where it may not be moves, once it is where it may: a part that was sent before the location changed.
            let is_allowed = placement.may_keep(&home);
            let Some(settled) = Some(&home).filter(|_| is_allowed).or(placement.homes().first()) else { continue };
            let missing = placement.required(settled).into_iter().filter(|region| *region != home);
            copies.extend(missing.map(|region| {
                let becomes_home = !is_allowed && region == *settled;
                Wanted { region: region.to_string(), blob: extent.blob.clone(), becomes_home }
            }));
        }
        if !copies.is_empty() {
            changes.require_copies(&copies, self.clock().now());
        }
    }
}

fn is_everywhere(bucket: &Bucket, narrowed: Option<&Narrowed>) -> bool {
    bucket.settings.location == Location::Global && narrowed.is_none()
}
