//! Rollback: copies back to the origin what is newer here, so that the application can be pointed back to it.
//!
//! With write-through on, nothing written from then on is missing there. What was written or deleted here before is found by walking both
//! sides and brought to the origin (`copy_back.rs`). What somebody else changed or deleted at the origin is left as it is there and told: of
//! a copy that is all; of a key that was written or deleted here too it is a conflict, which stands in the way (`ancestor.rs`).

use umbra_core::{Error, ErrorKind, ObjectInfo, ObjectKey, Result};
use umbra_meta::{Batch, Check, Expect, key};
use umbra_store::{GetOptions, ListedObject, Stored, Terms};

use crate::{
    Shadow,
    both::Ahead,
    compare::Field,
    contents::{Compared, compare},
    copy_back::{Change, CopyEnd},
    difference::{DifferenceKind, Discrepancy},
    examine::{Look, Seen},
    origin::Origin as _,
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
    /// Somebody else changed it at the origin, and it is only a copy here: it is left as it is there.
    Left(Discrepancy),
    /// It was written or deleted here, and changed at the origin by somebody else: both are left as they are.
    Conflict(Discrepancy),
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

/// What a difference asks for, if nobody else changed what was written here.
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
            let Seen { difference, there, tags } = self.examine(look, &look.paced, key, &view).await?;
            let Some(difference) = difference else {
                if let (Some(stored), Some(there), false) = (&view.object, &there, dry_run) {
                    self.remember_same(look, key, stored, there).await?;
                }
                return Ok(Rolled::Same);
            };
            let (change, rolled) = match (plan(&difference, &view), &view.object) {
                _ if view.is_dead => return Ok(Rolled::Left(difference)),
                (Plan::Copy, Some(stored)) => (Change::Object(stored), Rolled::Copied(stored.object.size)),
                (Plan::Tag, Some(stored)) => (Change::Tags(stored), Rolled::Tagged),
                (Plan::Delete, None) => (Change::Absence, Rolled::Deleted(difference.size)),
                (Plan::Leave, _) => match self.still_differs(look, key, &view).await? {
                    Some((difference, _)) => return Ok(Rolled::Left(difference)),
                    None => continue,
                },
                _ => return Ok(Rolled::Same),
            };
            if self.ancestor(look.bucket, key, &view).await?.forbids(view.local(), there.as_ref(), tags.as_ref()).is_some() {
                match (&view.object, &there) {
                    (Some(stored), Some(there)) if self.is_ours_there(look, key, stored, there, &difference).await? => {
                        if dry_run || self.adopt(look, key, stored, there).await? {
                            return Ok(Rolled::Same);
                        }
                    }
                    _ => {
                        if let Some((difference, Some(why))) = self.still_differs(look, key, &view).await? {
                            return Ok(Rolled::Conflict(conflict(difference, why)));
                        }
                    }
                }
                continue;
            }
            if dry_run || self.copy_back(look, key, change, there.as_ref()).await? == CopyEnd::Copied {
                return Ok(rolled);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the object keeps changing"))
    }

    /// How the two sides differ, and why ours must not go to the origin, if so: looked at once more under the key's lock, for then no write is
    /// between them. `None` if one has been since `before`.
    async fn still_differs(&self, look: &Look<'_>, key: &ObjectKey, before: &View) -> Result<Option<(Discrepancy, Option<&'static str>)>> {
        let _lock = self.0.locks.lock(look.bucket.partition, key).await;
        let view = self.view(look.bucket, key).await?;
        if view.base != before.base {
            return Ok(None);
        }
        let Seen { difference, there, tags } = self.examine(look, &**look.direct(), key, &view).await?;
        let ancestor = self.ancestor(look.bucket, key, &view).await?;
        Ok(difference.map(|difference| (difference, ancestor.forbids(view.local(), there.as_ref(), tags.as_ref()))))
    }

    /// Keeps in mind that the origin holds what was written here: by a copy whose answer was lost, for one.
    async fn remember_same(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, there: &ObjectInfo) -> Result<()> {
        let tags = &stored.object.tags;
        if stored.object.hydrated.is_some() || self.has_ancestor(look.bucket, key, there, tags).await? {
            return Ok(());
        }
        let batch = Batch {
            partition: look.bucket.partition,
            checks: vec![
                Check { key: key::settings(), expect: Expect::Revision(look.bucket.revision) },
                Check { key: key::object(key), expect: Expect::Revision(stored.revision) },
            ],
            writes: vec![self.written_ancestor(look.bucket, key, &there.etag, Some(tags))],
        };
        match self.native().meta().commit(batch).await.map_err(Error::from) {
            // It was written anew, and that knows better.
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the origin's object is ours with another ETag: that of a copy whose answer was lost. Only the contents tell.
    async fn is_ours_there(
        &self,
        look: &Look<'_>,
        key: &ObjectKey,
        stored: &Stored,
        there: &ObjectInfo,
        difference: &Discrepancy,
    ) -> Result<bool> {
        if difference.fields != [Field::ETag] {
            return Ok(false);
        }
        let local = self.native().open(look.bucket, stored, &GetOptions::default()).await?.body;
        let origin = look.paced.get(&look.path, key, None, Some(&there.etag)).await?.body;
        match compare(local.into_stream(), origin.into_stream()).await {
            Compared::Same => Ok(true),
            Compared::DifferFrom(_) => Ok(false),
            Compared::LocalFailed(error) | Compared::OriginFailed(error) => Err(error),
        }
    }

    /// Takes over the ETag the origin gave to what is here. False when that was written anew meanwhile.
    async fn adopt(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, there: &ObjectInfo) -> Result<bool> {
        let terms = Terms {
            checks: vec![Check { key: key::object(key), expect: Expect::Revision(stored.revision) }],
            writes: vec![self.written_ancestor(look.bucket, key, &there.etag, Some(&stored.object.tags))],
            ..Terms::default()
        };
        match self.native().adopt_etag(look.bucket, key, there.etag.clone(), terms).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            adopted => adopted.map(|()| true),
        }
    }
}

/// A difference that must not be settled, and how a person can.
fn conflict(difference: Discrepancy, why: &str) -> Discrepancy {
    let detail = format!("{why}; write or delete it here once more, which goes to the origin now, if it is to be as it is here");
    Discrepancy { detail, ..difference }
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
            is_marked: false,
            gone: hydrated.is_none(),
            gone_since: None,
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
