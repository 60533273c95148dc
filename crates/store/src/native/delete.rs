//! Deletes.

use umbra_core::{Found, ObjectKey, Preconditions, Result, check_delete};

use super::{
    Native,
    commit::{Changes, Fence},
    detached,
    versions::Known,
};
use crate::{Bucket, Deleted, EventKind, Terms, Versioning};

impl Native {
    /// Removes the object of `key`, once `conditions` hold for what the key holds at that moment: for good where there are no versions, and else
    /// by a delete marker. Without an object there is nothing to judge.
    ///
    /// Where conditions find nothing, nothing is committed; without any, the writes of `terms` are even then. A check of `terms` that fails
    /// is [`umbra_core::ErrorKind::Conflict`]. Once called it runs to its end.
    pub async fn remove(&self, bucket: &Bucket, key: &ObjectKey, conditions: &Preconditions, mut terms: Terms) -> Result<Deleted> {
        let (marker, removed) = match terms.expires {
            true => (EventKind::ExpiredWithMarker, EventKind::Expired),
            false => (EventKind::DeleteMarker, EventKind::Delete),
        };
        terms.telling = self.telling(bucket, key, marker, removed);
        let (native, fence, key, conditions) = (self.clone(), Fence::in_any_location(bucket), key.clone(), conditions.clone());
        detached(async move { native.remove_object(fence, &key, &conditions, &terms).await }).await
    }

    /// Commits `terms` and nothing else. A check that fails is [`umbra_core::ErrorKind::Conflict`].
    pub async fn commit_terms(&self, bucket: &Bucket, terms: &Terms) -> Result<()> {
        let mut fence = Fence::in_any_location(bucket);
        let mut changes = Changes::behind(fence);
        changes.add_terms(terms);
        self.commit(&mut fence, changes).await??;
        Ok(())
    }

    async fn remove_object(&self, mut fence: Fence, key: &ObjectKey, conditions: &Preconditions, terms: &Terms) -> Result<Deleted> {
        let has_terms = !terms.writes.is_empty() || !terms.checks.is_empty();
        loop {
            // It may find nothing to commit: then what it found must hold by the same settings.
            let known =
                if has_terms && conditions.is_empty() { self.known(fence, key).await? } else { self.known_now(&mut fence, key).await? };
            let found = found(&known, terms);
            check_delete(conditions, found)?;
            // Whoever sets conditions wants neither a delete marker of what never was, nor anything else that would hide what comes later.
            let is_done_already = !conditions.is_empty() && matches!(found, Found::Nothing);
            let makes_marker = fence.versioning != Versioning::Off && !is_done_already;
            if is_done_already || (!makes_marker && known.object.is_none() && !has_terms) {
                return Ok(Deleted::default());
            }
            let mut changes = Changes::behind(fence);
            known.check(&mut changes, key);
            let mut deleted = Deleted::default();
            if makes_marker {
                let mut marker = self.marker();
                self.add_version(&mut changes, fence, key, &known, &mut marker).await?;
                deleted = Deleted { version: Some(marker.version.id()), is_marker: true };
            } else if let Some(old) = &known.object {
                changes.delete(umbra_meta::key::object(key));
                self.drop_record(&mut changes, &old.object);
            }
            changes.add_terms(terms);
            match self.commit(&mut fence, changes).await? {
                Ok(_) => return Ok(deleted),
                Err(lost) if known.is_outdated_by(&lost, key) || lost.is_of_any_version(key) => {}
                Err(lost) => return Err(lost.into()),
            }
        }
    }
}

fn found<'a>(known: &'a Known, terms: &'a Terms) -> Found<'a> {
    match known.etag().or(terms.cold.as_ref()) {
        Some(etag) => Found::Object(etag),
        None if known.is_absent() => Found::Nothing,
        None => Found::Marker,
    }
}
