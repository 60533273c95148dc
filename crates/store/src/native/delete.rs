//! Deletes.

use umbra_core::{ObjectKey, Preconditions, Result, check_write};
use umbra_meta::{Expect, key};

use super::{
    Native, Stored,
    commit::{Changes, Fence},
    detached,
};
use crate::{Bucket, EventKind, Terms};

impl Native {
    /// Removes the object of `key`, once `conditions` hold for what the key holds at that moment. Tells whether there was one.
    ///
    /// The writes of `terms` are committed even when there was none. A check of `terms` that fails is
    /// [`umbra_core::ErrorKind::Conflict`]. Once called it runs to its end.
    pub async fn remove(&self, bucket: &Bucket, key: &ObjectKey, conditions: &Preconditions, mut terms: Terms) -> Result<bool> {
        let (marker, removed) = match terms.expires {
            true => (EventKind::ExpiredWithMarker, EventKind::Expired),
            false => (EventKind::DeleteMarker, EventKind::Delete),
        };
        terms.telling = self.telling(bucket, key, marker, removed);
        let (native, fence, key, conditions) = (self.clone(), Fence::from(bucket), key.clone(), conditions.clone());
        detached(async move { native.remove_object(fence, &key, &conditions, &terms).await }).await
    }

    async fn remove_object(&self, mut fence: Fence, key: &ObjectKey, conditions: &Preconditions, terms: &Terms) -> Result<bool> {
        let row = key::object(key);
        let mut current = self.meta().get(fence.partition, &row).await?;
        loop {
            let old = current.as_ref().map(Stored::decode).transpose()?;
            check_write(conditions, old.as_ref().map(|old| &old.object.etag).or(terms.cold.as_ref()))?;
            if old.is_none() && terms.writes.is_empty() && terms.checks.is_empty() {
                return Ok(false);
            }
            let expected = Expect::unchanged(old.as_ref().map(|old| old.revision));
            let mut changes = Changes::behind(fence);
            changes.check(row.clone(), expected);
            if let Some(Stored { object, .. }) = &old {
                changes.delete(row.clone());
                changes.count(-1, -object.size.cast_signed());
                changes.reclaim(object.content.extents(), self.reclamation_due());
            }
            changes.add_terms(terms);
            match self.commit(&mut fence, changes).await? {
                Ok(_) => return Ok(old.is_some()),
                Err(lost) => current = lost.reread(&row, expected)?,
            }
        }
    }
}
