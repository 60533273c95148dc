//! Brings one key to the origin as it is here: for a rollback.
//!
//! Like a write-through it takes the key's lock and is journalled before the origin is changed. Unlike one it leaves what is here as it is:
//! a copy that lost its owner is not repaired but given up, and made again. While a large body travels the lock is free: a user's write goes
//! first, and the copy, which is not the newest any more, is broken off before its last byte.
//!
//! What the origin holds by then must be what it was seen to hold when it was judged that it may be replaced. A PUT has the origin judge that
//! where it can; before anything else is done it is looked at once more, and between the look and the deed somebody else may come.

use umbra_core::{ETag, Entity, Error, ErrorKind, ObjectInfo, ObjectKey, PartNumber, RangeSpec, Result, Tags, limits};
use umbra_meta::{Batch, Check, Expect, Revision, key};
use umbra_store::{Bucket, GetOptions, ObjectRecord, Stored, Terms};

use crate::{
    Shadow,
    examine::Look,
    held_body::{Hold, hold},
    intent::{Intended, IntentGuard},
    key_locks::KeyGuard,
    origin::{Origin as _, OriginAttributes, OriginError, PutConditions},
};

/// Objects up to this size are sent with their key locked: none of them is ever broken off. A user's write of the key waits that long.
const LOCKED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The size of parts of an object that is too large for one PUT and whose boundaries are not known.
const PART_BYTES: u64 = 1024 * 1024 * 1024;

/// How a copy ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyEnd {
    /// The origin holds what is here.
    Copied,
    /// Something newer is here, or there: this copy is not needed any more.
    Superseded,
}

/// What is to be brought to the origin.
pub(crate) enum Change<'a> {
    /// An object.
    Object(&'a Stored),
    /// Only the tags of an object that the origin has.
    Tags(&'a Stored),
    /// The absence of the key; with the revision of what says so.
    Absence,
}

impl Change<'_> {
    /// The revision that the object of the key has to have, still.
    fn revision(&self) -> Option<Revision> {
        match self {
            Self::Object(stored) | Self::Tags(stored) => Some(stored.revision),
            Self::Absence => None,
        }
    }

    /// What the origin has once it is done.
    fn done(&self) -> Done {
        match self {
            Self::Object(stored) => Done::Object(stored.object.tags.clone()),
            Self::Tags(stored) => Done::Tags(stored.object.tags.clone()),
            Self::Absence => Done::Absence,
        }
    }
}

/// What the origin has now: an object with these tags, these tags, or nothing.
enum Done {
    Object(Tags),
    Tags(Tags),
    Absence,
}

/// What the origin was seen to hold, and what has it judge itself that it still does; nothing where it does not.
struct Replaced<'a> {
    there: Option<&'a ObjectInfo>,
    conditions: PutConditions,
}

/// A change that is journalled: its key is locked and holds what is to be brought to the origin. The intent goes before the lock.
struct Held<'a> {
    bucket: Bucket,
    intent: IntentGuard,
    revision: Option<Revision>,
    done: Done,
    _lock: KeyGuard<'a>,
}

/// An upload at the origin, journalled. The key is not locked meanwhile.
struct Upload {
    id: String,
    intent: IntentGuard,
}

impl Shadow {
    /// Brings `change` of `key` to the origin, unless something newer is here by then, or the origin does not hold `there` any more.
    pub(crate) async fn copy_back(
        &self,
        look: &Look<'_>,
        key: &ObjectKey,
        change: Change<'_>,
        there: Option<&ObjectInfo>,
    ) -> Result<CopyEnd> {
        match change {
            Change::Object(stored) => match parts_of(&stored.object)? {
                Some(parts) => self.copy_in_parts(look, key, stored, &parts, there).await,
                None if stored.object.size > LOCKED_BYTES_MAX => self.copy_whole(look, key, stored, there).await,
                None => self.copy_locked(look, key, change, there).await,
            },
            Change::Tags(_) | Change::Absence => self.copy_locked(look, key, change, there).await,
        }
    }

    /// What lets the origin judge itself whether it still holds `there` when an object is put, where it can.
    async fn replacing<'a>(&self, look: &Look<'_>, there: Option<&'a ObjectInfo>) -> Result<Replaced<'a>> {
        let conditions = PutConditions { if_absent: there.is_none(), if_match: there.map(|there| there.etag.clone()) };
        let is_judged = look.direct().judges_conditions(&look.path).await?;
        Ok(Replaced { there, conditions: if is_judged { conditions } else { PutConditions::default() } })
    }

    /// Whether the origin still holds `there`: asked just before it is replaced.
    async fn is_still_there(&self, look: &Look<'_>, key: &ObjectKey, there: Option<&ObjectInfo>) -> Result<bool> {
        let same = |now: &ObjectInfo| there.is_some_and(|there| there.etag == now.etag && there.last_modified == now.last_modified);
        match look.direct().head(&look.path, key).await {
            Ok(now) => Ok(same(&now.info)),
            Err(error) if error.is_not_found() => Ok(there.is_none()),
            Err(error) => Err(error.into()),
        }
    }

    async fn copy_locked(&self, look: &Look<'_>, key: &ObjectKey, change: Change<'_>, there: Option<&ObjectInfo>) -> Result<CopyEnd> {
        let replaced = match change {
            Change::Object(_) => self.replacing(look, there).await?,
            Change::Tags(_) | Change::Absence => Replaced { there, conditions: PutConditions::default() },
        };
        let bytes = if let Change::Object(stored) = change { stored.object.size } else { 0 };
        look.paced.turn(key, bytes).await;
        let Some(held) = self.hold_key(look, key, &change, &replaced).await? else { return Ok(CopyEnd::Superseded) };
        let done = match change {
            Change::Object(stored) => {
                let body = match self.native().open(look.bucket, stored, &GetOptions::default()).await {
                    Ok(object) => object.body,
                    Err(error) => {
                        held.intent.withdraw().await;
                        return Err(error);
                    }
                };
                look.direct()
                    .put(&look.path, key, stored.object.size, body, &attributes(&stored.object), &replaced.conditions)
                    .await
                    .map(Some)
            }
            Change::Tags(stored) => look.direct().put_tags(&look.path, key, &stored.object.tags).await.map(|()| None),
            Change::Absence => look.direct().delete(&look.path, key).await.map(|()| None),
        };
        self.settle_copy(key, held, done).await
    }

    /// One PUT. The last chunk is withheld until the key is locked and the write journalled.
    async fn copy_whole(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, there: Option<&ObjectInfo>) -> Result<CopyEnd> {
        let replaced = self.replacing(look, there).await?;
        let body = match self.native().open(look.bucket, stored, &GetOptions::default()).await {
            Ok(object) => object.body,
            Err(error) => return self.unless_superseded(look, key, stored, error).await,
        };
        let (body, Hold { reached, release }) = hold(body);
        let attributes = attributes(&stored.object);
        let put = look.paced.put(&look.path, key, stored.object.size, body, &attributes, &replaced.conditions);
        tokio::pin!(put);
        let reached = tokio::select! {
            biased;
            reached = reached => reached,
            answer = &mut put => return self.ended_early(look, key, stored, answer).await,
        };
        if reached.is_err() {
            // The body failed: the origin's side tells how.
            return self.ended_early(look, key, stored, put.await).await;
        }
        let Some(held) = self.hold_key(look, key, &Change::Object(stored), &replaced).await? else { return Ok(CopyEnd::Superseded) };
        // If nobody takes it the origin has given up, and says so.
        let _ = release.send(());
        let answer = put.await;
        self.settle_copy(key, held, answer.map(Some)).await
    }

    /// A multipart upload with the boundaries the object has here, so that the ETag is the same.
    async fn copy_in_parts(
        &self,
        look: &Look<'_>,
        key: &ObjectKey,
        stored: &Stored,
        parts: &[(PartNumber, u64)],
        there: Option<&ObjectInfo>,
    ) -> Result<CopyEnd> {
        let id = look.paced.create_upload(&look.path, key, &attributes(&stored.object)).await?;
        let upload = match self.begin_upload(look, key, stored, &id).await {
            Ok(Some(intent)) => Upload { id, intent },
            end => {
                abort(look, key, &id).await?;
                return end.map(|_| CopyEnd::Superseded);
            }
        };
        match self.copy_parts(look, key, stored, &upload.id, parts).await {
            Ok(etags) => self.complete_copy(look, key, stored, upload, &etags, there).await,
            Err(error) => {
                self.give_up_upload(look, key, upload).await?;
                self.unless_superseded(look, key, stored, error).await
            }
        }
    }

    /// Journals an upload, so that it is aborted should this process die.
    async fn begin_upload(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, upload: &str) -> Result<Option<IntentGuard>> {
        let _lock = self.0.locks.lock(look.bucket.partition, key).await;
        self.journal_copy(look, key, Some(stored.revision), Some(upload.to_owned())).await.map(|held| held.map(|(_, intent)| intent))
    }

    async fn copy_parts(
        &self,
        look: &Look<'_>,
        key: &ObjectKey,
        stored: &Stored,
        upload: &str,
        parts: &[(PartNumber, u64)],
    ) -> Result<Vec<(PartNumber, ETag)>> {
        let (mut etags, mut first) = (Vec::with_capacity(parts.len()), 0);
        for (number, size) in parts {
            // A shadow that was switched meanwhile takes no more of it.
            self.fresh(look.bucket).await?;
            let range = RangeSpec::From { first, last: Some(first + size - 1) };
            let object = self.native().open(look.bucket, stored, &GetOptions { range: Some(range), ..GetOptions::default() }).await?;
            etags.push((*number, look.paced.put_part(&look.path, key, upload, *number, *size, object.body).await?));
            first += size;
        }
        Ok(etags)
    }

    async fn complete_copy(
        &self,
        look: &Look<'_>,
        key: &ObjectKey,
        stored: &Stored,
        upload: Upload,
        etags: &[(PartNumber, ETag)],
        there: Option<&ObjectInfo>,
    ) -> Result<CopyEnd> {
        let lock = self.0.locks.lock(look.bucket.partition, key).await;
        let bucket = self.fresh(look.bucket).await;
        let view = self.view(look.bucket, key).await?;
        let is_ours = view.base.object == Some(stored.revision) && view.base.intent == Some(upload.intent.revision());
        let bucket = match (bucket, self.is_still_there(look, key, there).await) {
            (Ok(bucket), Ok(true)) if is_ours => bucket,
            (bucket, is_still_there) => {
                self.give_up_upload(look, key, upload).await?;
                return bucket.and(is_still_there).map(|_| CopyEnd::Superseded);
            }
        };
        match look.direct().complete_upload(&look.path, key, &upload.id, etags).await {
            Ok(etag) => {
                let done = Change::Object(stored).done();
                let held = Held { bucket, intent: upload.intent, revision: Some(stored.revision), done, _lock: lock };
                self.settle_copy(key, held, Ok(Some(etag))).await
            }
            Err(error) => {
                self.give_up_upload(look, key, upload).await?;
                Err(error.error)
            }
        }
    }

    /// Drops an upload at the origin. If that fails its intent stays, and is repaired.
    async fn give_up_upload(&self, look: &Look<'_>, key: &ObjectKey, upload: Upload) -> Result<()> {
        abort(look, key, &upload.id).await?;
        let row = self.native().meta().get(look.bucket.partition, &key::write_intent(key)).await?;
        if row.is_some_and(|row| row.revision == upload.intent.revision()) {
            upload.intent.withdraw().await;
        } else {
            // A user's write took its place.
            upload.intent.settle();
        }
        Ok(())
    }

    async fn hold_key(&self, look: &Look<'_>, key: &ObjectKey, change: &Change<'_>, replaced: &Replaced<'_>) -> Result<Option<Held<'_>>> {
        let lock = self.0.locks.lock(look.bucket.partition, key).await;
        if replaced.conditions.is_empty() && !self.is_still_there(look, key, replaced.there).await? {
            return Ok(None);
        }
        let held = self.journal_copy(look, key, change.revision(), None).await?;
        Ok(held.map(|(bucket, intent)| Held { bucket, intent, revision: change.revision(), done: change.done(), _lock: lock }))
    }

    /// Journals that what is here is about to be brought to the origin, if that is still what is here. The caller holds the key's lock.
    async fn journal_copy(
        &self,
        look: &Look<'_>,
        key: &ObjectKey,
        revision: Option<Revision>,
        upload: Option<String>,
    ) -> Result<Option<(Bucket, IntentGuard)>> {
        let bucket = self.fresh(look.bucket).await?;
        let view = self.view(&bucket, key).await?;
        let is_known = revision.is_some() || view.gone;
        if view.is_dead || view.base.object != revision || !is_known {
            return Ok(None);
        }
        let intent = self.begin_intent(&bucket, key, &view, Intended::CopyBack(upload)).await?;
        Ok(Some((bucket, intent)))
    }

    /// Ends a copy as the origin answered. The ETag the origin gave the object becomes ours, where it is another.
    async fn settle_copy(&self, key: &ObjectKey, held: Held<'_>, answer: Result<Option<ETag>, OriginError>) -> Result<CopyEnd> {
        let Held { _lock, bucket, intent, revision, done } = held;
        let etag = match answer {
            Ok(etag) => etag,
            Err(failure) => {
                // Whether or not it was applied: what is here stands, and the next attempt sees what the origin holds.
                intent.withdraw().await;
                return if is_overtaken(&failure) { Ok(CopyEnd::Superseded) } else { Err(failure.error) };
            }
        };
        let object = Check { key: key::object(key), expect: Expect::unchanged(revision) };
        let ours = self.native().find(&bucket, key).await?.map(|stored| stored.object.etag);
        let writes = match (&done, etag.as_ref().or(ours.as_ref())) {
            (Done::Object(tags), Some(etag)) => vec![self.written_ancestor(&bucket, key, etag, Some(tags))],
            (Done::Tags(tags), _) => self.retagged_ancestor(&bucket, key, tags).await?.into_iter().collect(),
            (Done::Absence, _) => vec![self.absent_ancestor(&bucket, key)],
            (Done::Object(_), None) => vec![],
        };
        let terms = intent.settle_with(Terms { checks: vec![object], writes, ..Terms::default() });
        match etag.filter(|etag| ours.as_ref().is_some_and(|ours| ours != etag)) {
            Some(etag) => self.native().adopt_etag(&bucket, key, etag, terms).await?,
            None => {
                let batch = Batch { partition: bucket.partition, checks: terms.checks, writes: terms.writes };
                self.native().meta().commit(batch).await?;
            }
        }
        intent.settle();
        Ok(CopyEnd::Copied)
    }

    /// A PUT came to an end before the origin had the whole.
    async fn ended_early(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, answer: Result<ETag, OriginError>) -> Result<CopyEnd> {
        match answer {
            Err(failure) if is_overtaken(&failure) => Ok(CopyEnd::Superseded),
            answer => self.unless_superseded(look, key, stored, too_early(answer)).await,
        }
    }

    /// A copy failed: that is no failure if the object was replaced and its content went away under the copy.
    async fn unless_superseded(&self, look: &Look<'_>, key: &ObjectKey, stored: &Stored, error: Error) -> Result<CopyEnd> {
        let now = self.native().find(look.bucket, key).await?;
        if now.is_some_and(|now| now.revision == stored.revision) { Err(error) } else { Ok(CopyEnd::Superseded) }
    }
}

async fn abort(look: &Look<'_>, key: &ObjectKey, upload: &str) -> Result<()> {
    Ok(look.direct().abort_upload(&look.path, key, upload).await?)
}

fn attributes(object: &ObjectRecord) -> OriginAttributes {
    OriginAttributes { headers: object.headers.clone(), metadata: object.metadata.clone(), tags: object.tags.clone() }
}

/// Whether the origin did nothing because it does not hold any more what it was seen to hold.
const fn is_overtaken(failure: &OriginError) -> bool {
    matches!(failure.error.kind(), ErrorKind::Precondition | ErrorKind::NotFound(Entity::Object))
}

/// An answer that came before the origin had the whole.
fn too_early(answer: Result<ETag, OriginError>) -> Error {
    let odd = || Error::new(ErrorKind::OriginUnavailable, "the origin answered before it had the whole object");
    answer.err().map_or_else(odd, |failure| failure.error)
}

/// The parts to copy an object in; `None` for one PUT.
fn parts_of(object: &ObjectRecord) -> Result<Option<Vec<(PartNumber, u64)>>> {
    let count = object.etag.part_count().map(usize::from);
    let is_whole = object.parts.iter().map(|part| part.size).sum::<u64>() == object.size && object.parts.iter().all(|part| part.size > 0);
    if count == Some(object.parts.len()) && is_whole && object.size > 0 {
        let part = |part: &umbra_core::PartInfo| Ok((PartNumber::new(part.number.into())?, part.size));
        return object.parts.iter().map(part).collect::<Result<_>>().map(Some);
    }
    if object.size <= limits::PUT_BYTES_MAX {
        return Ok(None);
    }
    let sizes = (0..object.size).step_by(usize::try_from(PART_BYTES).unwrap_or(usize::MAX)).map(|at| PART_BYTES.min(object.size - at));
    (1..).zip(sizes).map(|(number, size)| Ok((PartNumber::new(number)?, size))).collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use umbra_core::{ETag, PartInfo};

    use super::parts_of;
    use crate::compare::tests::twins;

    fn sizes(etag: &str, size: u64, parts: &[(u16, u64)]) -> Option<Vec<(u16, u64)>> {
        let (mut object, _) = twins(false);
        (object.size, object.etag) = (size, ETag::parse(etag));
        object.parts = parts.iter().map(|(number, size)| PartInfo { number: *number, size: *size, checksums: vec![] }).collect();
        parts_of(&object).unwrap().map(|parts| parts.into_iter().map(|(number, size)| (number.get(), size)).collect())
    }

    #[test]
    fn boundaries_are_kept_where_they_are_known() {
        const GIB: u64 = 1 << 30;
        let multi = "d41d8cd98f00b204e9800998ecf8427e-2";
        assert_eq!(sizes(multi, 7, &[(1, 5), (4, 2)]), Some(vec![(1, 5), (4, 2)]));
        assert_eq!(sizes(multi, 7, &[]), None, "unknown: one PUT");
        assert_eq!(sizes(multi, 8, &[(1, 5), (4, 2)]), None, "they do not make up the whole");
        assert_eq!(sizes("d41d8cd98f00b204e9800998ecf8427e", 7, &[]), None);
        assert_eq!(sizes("odd", 0, &[]), None);
        let large = sizes("odd", 5 * GIB + 1, &[]).unwrap();
        assert_eq!((large.len(), large[5]), (6, (6, 1)));
        assert_eq!(large.iter().map(|(_, size)| size).sum::<u64>(), 5 * GIB + 1);
    }
}
