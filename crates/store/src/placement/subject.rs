//! What bytes are of, and where that may be now.
//!
//! A decision on where bytes may be is as old as the request it was made for, or the transfer: a slow reader or a large object may outlast the
//! location of their bucket. So whoever makes a copy asks the bucket anew, *behind* the row which says that the copy is coming. A change of the
//! location that this does not see comes later than the row, and is followed by a walk that finds it (`audit.rs`). So either the copy
//! is not made or the walk drops it, however long anything takes and whatever clocks say.

use umbra_core::{Narrowed, Region, Result};
use umbra_meta::{Partition, key};

use super::{PlacedBlobStore, Shared, decide};
use crate::record::bucket::decode_settings;

/// What bytes are of.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    partition: Partition,
    narrowed: Option<Narrowed>,
}

impl Subject {
    /// An object of the bucket in `partition`, or what is to become one, which its writer has `narrowed` or not.
    pub(super) const fn new(partition: Partition, narrowed: Option<Narrowed>) -> Self {
        Self { partition, narrowed }
    }
}

impl PlacedBlobStore {
    /// Whether what is of `subject` may be in `region`, by what the location of its bucket is now. `None`: there is no bucket any more.
    pub(super) async fn may_be_in(&self, region: &str, subject: &Subject) -> Result<Option<bool>> {
        self.shared.may_be_in(region, subject).await
    }
}

impl Shared {
    pub(super) async fn may_be_in(&self, region: &str, subject: &Subject) -> Result<Option<bool>> {
        let Some(settings) = self.meta.get(subject.partition, &key::settings()).await? else { return Ok(None) };
        let location = decode_settings(&settings.body)?.location;
        let placement = decide(&location, subject.narrowed.as_ref(), None, &self.topology);
        Ok(Some(Region::parse(region).is_ok_and(|region| placement.may_keep(&region))))
    }

    /// Whether a copy of what is of `subject` may be kept in this region. Where that cannot be told, it may not.
    pub(super) async fn may_be_here(&self, subject: &Subject) -> bool {
        match self.may_be_in(self.region.as_str(), subject).await {
            Ok(may_be_here) => may_be_here.unwrap_or(false),
            Err(error) => {
                tracing::debug!(?error, "it cannot be told whether a copy may be kept");
                false
            }
        }
    }
}
