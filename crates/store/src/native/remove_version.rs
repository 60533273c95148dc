//! Deletes of one version, for good.

use umbra_core::{Error, ErrorKind, Fault, Found, ObjectKey, Preconditions, Result, VersionId, check_delete};
use umbra_meta::{Expect, Projection, Revision, key};

use super::{
    Native, Stored,
    commit::{Changes, Fence},
    detached, lock,
    versions::{Known, Place},
};
use crate::{Bucket, Deleted, Terms, record};

/// How to remove a version.
#[derive(Clone, Debug, Default)]
pub struct RemoveVersion {
    /// Conditions on the version.
    pub conditions: Preconditions,
    /// Whether to remove what is kept by a retention that may be bypassed.
    pub bypass_governance: bool,
    /// Whether to refuse what would change which object is current.
    pub keeps_current: bool,
    /// The revision that its record must have; [`ErrorKind::Conflict`] when it has another.
    pub at: Option<Revision>,
    /// Whether the key must have nothing else; [`ErrorKind::Conflict`] when it has.
    pub alone: bool,
    /// A wrapper's terms for a commit that leaves the key an object.
    pub terms: Terms,
    /// A wrapper's terms for a commit that leaves it none.
    pub terms_of_absence: Terms,
}

/// What a removal leaves.
struct Left {
    has_object: bool,
    changes_current: bool,
}

impl Native {
    /// Removes `version` of `key`; the next older one becomes current when it was the newest. Without that version nothing happens, whatever
    /// the conditions are, and no terms are committed.
    ///
    /// A check of the terms that fails is [`umbra_core::ErrorKind::Conflict`]. Once called it runs to its end.
    pub async fn remove_version(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: VersionId,
        mut options: RemoveVersion,
    ) -> Result<Deleted> {
        let telling = self.telling_of_version(bucket, key, version, options.terms.expires);
        options.terms.telling.clone_from(&telling);
        options.terms_of_absence.telling = telling;
        let (native, fence, key) = (self.clone(), Fence::in_any_location(bucket), key.clone());
        detached(async move { native.remove_version_here(fence, &key, version, &options).await }).await
    }

    async fn remove_version_here(&self, mut fence: Fence, key: &ObjectKey, version: VersionId, options: &RemoveVersion) -> Result<Deleted> {
        loop {
            let known = self.known(fence, key).await?;
            let Some(place) = self.locate(fence, key, version).await? else {
                self.confirm(&mut fence).await?;
                return Ok(Deleted { version: Some(version), is_marker: false });
            };
            if options.at.is_some_and(|at| at != place.stored.revision) || (options.alone && !known.is_alone()) {
                return Err(Error::new(ErrorKind::Conflict, "the versions of the object changed; please try again"));
            }
            let object = &place.stored.object;
            let found = if object.version.is_marker { Found::Marker } else { Found::Object(&object.etag) };
            check_delete(&options.conditions, found)?;
            lock::refuse_kept(&object.attributes.lock, self.clock().now(), options.bypass_governance)?;
            let mut changes = Changes::behind(fence);
            known.check(&mut changes, key);
            let left = self.take_out(&mut changes, fence, key, &known, &place).await?;
            if left.changes_current && options.keeps_current {
                let message = "deleting this version would change which one is current, and that cannot be done at the origin; delete the \
                               object without naming a version, or switch write-through off";
                return Err(Error::invalid(Fault::InvalidRequest, message));
            }
            changes.add_terms(if left.has_object { &options.terms } else { &options.terms_of_absence });
            match self.commit(&mut fence, changes).await? {
                Ok(_) => return Ok(Deleted { version: Some(version), is_marker: object.version.is_marker }),
                Err(lost) if known.is_outdated_by(&lost, key) || lost.is_of_any_version(key) => {}
                Err(lost) => return Err(lost.into()),
            }
        }
    }

    /// The changes that remove what is at `place` and let the next older one take the place of the newest.
    async fn take_out(&self, changes: &mut Changes, fence: Fence, key: &ObjectKey, known: &Known, place: &Place) -> Result<Left> {
        let (row, current) = (&place.row, key::object(key));
        let is_current = *row == current;
        if !is_current {
            changes.check(row.clone(), Expect::Revision(place.stored.revision));
        }
        self.drop_record(changes, &place.stored.object);
        let Some((mut history, _)) = known.history else {
            changes.delete(row.clone());
            return Ok(Left { has_object: false, changes_current: true });
        };
        if !is_current {
            history.count -= 1;
            history.null = history.null.filter(|null| *null != place.stored.object.version.sequence);
        }
        // Behind an object everything is older. Otherwise only the first row is the newest.
        let promoted = if is_current || known.object.is_none() { self.next_older(fence, key, row, is_current).await? } else { None };
        match promoted {
            Some(Place { row: from, stored: Stored { mut object, revision } }) => {
                // Whatever it was a copy of, what the origin has by now is not what it is.
                object.hydrated = None;
                changes.check(from.clone(), Expect::Revision(revision));
                changes.delete(from);
                history.count -= 1;
                history.null = history.null.filter(|null| *null != object.version.sequence);
                changes.put(current, record::object::encode(&object));
                if !is_current {
                    changes.delete(row.clone());
                }
                self.put_history(changes, key, known, history);
                Ok(Left { has_object: true, changes_current: true })
            }
            None => {
                changes.delete(row.clone());
                self.put_history(changes, key, known, history);
                Ok(Left { has_object: !is_current && known.object.is_some(), changes_current: is_current })
            }
        }
    }

    /// The version that becomes current when the one at `row` goes; `None` when that is not the newest, or the next is a delete marker.
    async fn next_older(&self, fence: Fence, key: &ObjectKey, row: &[u8], is_current: bool) -> Result<Option<Place>> {
        let behind = key::versions_of(key.as_str()).after(&key::history(key));
        let rows = self.meta().scan(fence.partition, behind, 2, Projection::Full).await?;
        let next = match rows.as_slice() {
            [next, ..] if is_current => next,
            [first, next] if first.key == row => next,
            _ => return Ok(None),
        };
        let stored = Stored::decode(next)?;
        Ok((!stored.object.version.is_marker).then(|| Place { row: next.key.to_vec(), stored }))
    }
}
