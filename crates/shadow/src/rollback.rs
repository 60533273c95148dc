//! Rollback: copies back to the origin what is newer here, so that the application can be pointed back to it.
//!
//! With write-through on, nothing written from then on is missing there. What was written or deleted here before is found by walking both
//! sides and brought to the origin (`copy_back.rs`). What somebody else changed or deleted at the origin is left as it is there and told.

use umbra_core::{Error, ErrorKind, ObjectKey, Result};
use umbra_store::ListedObject;

use crate::{
    Shadow,
    both::Ahead,
    compare::Field,
    copy_back::{Change, CopyEnd},
    difference::{DifferenceKind, Discrepancy},
    examine::{Look, Seen},
    slice::Slice,
    view::View,
};

/// How often a key is looked at that keeps changing.
const ATTEMPTS_MAX: usize = 8;

/// What became of one key.
#[derive(Debug)]
pub(crate) enum Rolled {
    /// The origin has what is here.
    Same,
    /// An object was copied back, or would be; with its size.
    Copied(u64),
    /// Only its tags.
    Tagged,
    /// A key was deleted at the origin, or would be; with the size of what was there.
    Deleted(u64),
    /// Somebody else changed it at the origin: it is left as it is there.
    Left(Discrepancy),
}

/// A page of keys, and what became of each that was not the same.
#[derive(Debug)]
pub(crate) struct RolledPage {
    pub(crate) next: Option<String>,
    pub(crate) same: u64,
    pub(crate) keys: Vec<(ObjectKey, Result<Rolled>)>,
}

/// What is to be done about a key.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Copy,
    Tag,
    Delete,
    Leave,
}

/// What a difference asks for. Where both sides were changed ours stands, as everywhere.
fn plan(difference: &Discrepancy, view: &View) -> Plan {
    let is_copy = view.object.as_ref().is_some_and(|stored| stored.object.hydrated.is_some());
    match difference.kind {
        DifferenceKind::Cold | DifferenceKind::StorageClass => Plan::Nothing,
        DifferenceKind::DeletedHere => Plan::Delete,
        _ if is_copy => Plan::Leave,
        _ if difference.fields == [Field::Tags] => Plan::Tag,
        _ => Plan::Copy,
    }
}

impl Shadow {
    /// Brings the keys behind `after` that begin with `prefix` to the origin, as many as the slice of time allows; with `dry_run` only tells what it would do.
    pub(crate) async fn roll_back_page(
        &self,
        look: &Look<'_>,
        prefix: &str,
        after: Option<&str>,
        dry_run: bool,
        slice: &Slice<'_>,
        ahead: &mut Ahead,
    ) -> Result<RolledPage> {
        let page = self.both_sides(look.bucket, &look.paced, &look.path, prefix, after, ahead).await?;
        let mut rolled = RolledPage { next: None, same: 0, keys: Vec::new() };
        let work = |(key, listed): (ObjectKey, Option<ListedObject>)| async move {
            let outcome = self.roll_back_listed(look, &key, listed.as_ref(), dry_run).await;
            (key, outcome)
        };
        let take = |key: ObjectKey, outcome: Result<Rolled>| {
            match outcome {
                Ok(Rolled::Same) => rolled.same += 1,
                outcome => rolled.keys.push((key, outcome)),
            }
            Ok(())
        };
        let next = page.work_through(look.parallel, slice, work, take).await?;
        Ok(RolledPage { next, ..rolled })
    }

    /// Asks the origin only about what was changed here, or is listed otherwise than it is here.
    async fn roll_back_listed(&self, look: &Look<'_>, key: &ObjectKey, listed: Option<&ListedObject>, dry_run: bool) -> Result<Rolled> {
        let view = self.view(look.bucket, key).await?;
        let is_settled = match (&view.object, listed) {
            _ if view.is_dead => false,
            (None, _) => !view.gone,
            (Some(stored), Some(listed)) if stored.object.hydrated.is_some() => {
                stored.object.etag == listed.etag && stored.object.size == listed.size
            }
            _ => false,
        };
        if is_settled { Ok(Rolled::Same) } else { self.roll_back_key(look, key, dry_run).await }
    }

    /// Brings one key to the origin as it is here.
    pub(crate) async fn roll_back_key(&self, look: &Look<'_>, key: &ObjectKey, dry_run: bool) -> Result<Rolled> {
        for _ in 0..ATTEMPTS_MAX {
            let view = self.view(look.bucket, key).await?;
            if !dry_run && (view.is_dead || self.has_abandoned_copy(look.bucket, key, &view)) {
                let _lock = self.0.locks.lock(look.bucket.partition, key).await;
                self.repair(look.cx, look.bucket, key, look.direct()).await?;
                continue;
            }
            let Seen { difference, .. } = self.examine(look, &look.paced, key, &view).await?;
            let Some(difference) = difference else { return Ok(Rolled::Same) };
            let (change, rolled) = match (plan(&difference, &view), &view.object) {
                (Plan::Copy, Some(stored)) => (Change::Object(stored), Rolled::Copied(stored.object.size)),
                (Plan::Tag, Some(stored)) => (Change::Tags(stored), Rolled::Tagged),
                (Plan::Delete, None) => (Change::Absence, Rolled::Deleted(difference.size)),
                (Plan::Leave, _) => return Ok(Rolled::Left(difference)),
                _ if view.is_dead => return Ok(Rolled::Left(difference)),
                _ => return Ok(Rolled::Same),
            };
            if dry_run || self.copy_back(look, key, change).await? == CopyEnd::Copied {
                return Ok(rolled);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the object keeps changing"))
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::ObjectKey;
    use umbra_meta::Revision;
    use umbra_store::Stored;

    use super::{Plan, plan};
    use crate::{
        compare::{Field, tests::twins},
        difference::{DifferenceKind as Kind, Discrepancy},
        view::{Base, View},
    };

    #[test]
    fn ours_goes_back_and_what_others_did_at_the_origin_stays() {
        let view = |hydrated: Option<bool>| View {
            object: hydrated.map(|hydrated| Stored { object: twins(hydrated).0, revision: Revision(1) }),
            gone: hydrated.is_none(),
            intent: None,
            is_dead: false,
            copying_back: None,
            base: Base { object: None, tombstone: None, intent: None },
        };
        let cases = [
            (Kind::Cold, vec![], None, Plan::Nothing),
            (Kind::DeletedHere, vec![], None, Plan::Delete),
            (Kind::OnlyHere, vec![], Some(false), Plan::Copy),
            (Kind::NewerHere, vec![Field::ETag], Some(false), Plan::Copy),
            (Kind::NewerHere, vec![Field::ContentType, Field::Tags], Some(false), Plan::Copy),
            (Kind::NewerHere, vec![Field::Tags], Some(false), Plan::Tag),
            (Kind::ChangedAtOrigin, vec![Field::ETag], Some(false), Plan::Copy),
            (Kind::ChangedAtOrigin, vec![Field::ETag], Some(true), Plan::Leave),
            (Kind::DeletedAtOrigin, vec![], Some(true), Plan::Leave),
            (Kind::Metadata, vec![Field::Tags], Some(true), Plan::Leave),
            (Kind::StorageClass, vec![Field::StorageClass], Some(true), Plan::Nothing),
        ];
        for (kind, fields, hydrated, expected) in cases {
            let difference = Discrepancy { fields, ..Discrepancy::new(&ObjectKey::parse("k").unwrap(), kind, "", 0) };
            assert_eq!(plan(&difference, &view(hydrated)), expected, "{kind} {hydrated:?}");
        }
    }
}
