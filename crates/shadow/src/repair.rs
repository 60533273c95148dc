//! Repairs: keys whose write-through lost its owner are made to hold what the origin holds.

use std::{slice, sync::Arc, time::Duration};

use umbra_core::{Error, ErrorKind, ObjectInfo, ObjectKey, Preconditions, RequestContext, Result, Timestamp};
use umbra_meta::{Batch, Check, Entry, Expect, KeyRange, Projection, Write, key};
use umbra_store::{Bucket, Terms};

use crate::{
    Shadow,
    hydrate::Wanted,
    intent::{mark_of_metadata, mark_of_tags},
    origin::Origin,
    read_through::ATTEMPTS_MAX,
    record::{Intent, Operation, decode},
    repairs::PendingRepair,
    transfer::End,
    view::{Base, View, has_versions},
    write_through::merge,
};

/// How far the origin's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Rows read at once.
const PAGE: usize = 1000;

/// Intents that lost their owner.
#[derive(Debug, Default)]
pub(crate) struct DeadIntents {
    /// Keys and their intents.
    pub(crate) found: Vec<(ObjectKey, Intent)>,
    /// What the first row has that cannot be read.
    pub(crate) damaged: Option<Error>,
}

impl Shadow {
    /// Keys whose intent lost its owner, at most `limit`. Fails where that cannot be told of one.
    pub(crate) async fn pending_repairs(&self, bucket: &Bucket, limit: usize) -> Result<Vec<ObjectKey>> {
        let queue = self.dead_intents(bucket, limit).await?;
        if let Some(damaged) = queue.damaged {
            return Err(damaged);
        }
        Ok(queue.found.into_iter().map(|(key, _)| key).collect())
    }

    /// The repair queue, with what is known of it; at most `limit`, and without what is damaged.
    pub(crate) async fn repair_queue(&self, bucket: &Bucket, limit: usize) -> Result<Vec<PendingRepair>> {
        let shown = |(key, intent): (ObjectKey, Intent)| {
            let trouble = self.0.repairs.trouble(bucket.partition, &key);
            PendingRepair {
                operation: intent.operation.name(),
                since: Timestamp::from_millis(intent.at),
                attempts: trouble.as_ref().map_or(0, |trouble| trouble.attempts),
                next_attempt: trouble.as_ref().map(|trouble| trouble.next),
                last_error: trouble.map(|trouble| trouble.error),
                key,
            }
        };
        Ok(self.dead_intents(bucket, limit).await?.found.into_iter().map(shown).collect())
    }

    async fn dead_intents(&self, bucket: &Bucket, limit: usize) -> Result<DeadIntents> {
        let (mut all, mut range) = (DeadIntents::default(), key::write_intent_range(""));
        while all.found.len() < limit
            && let Some(page) = self.page_of_repairs(bucket, &mut range).await?
        {
            all.found.extend(page.found);
            all.damaged = all.damaged.or(page.damaged);
        }
        all.found.truncate(limit);
        Ok(all)
    }

    /// The intents of the next page of `range` that lost their owner, which may be none of it; `None` behind the last page. A damaged row keeps
    /// none of the others from being repaired.
    pub(crate) async fn page_of_repairs(&self, bucket: &Bucket, range: &mut KeyRange) -> Result<Option<DeadIntents>> {
        let rows = self.native().meta().scan(bucket.partition, range.clone(), PAGE, Projection::Full).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        *range = range.clone().after(&last.key);
        let mut page = DeadIntents::default();
        for row in &rows {
            match self.ownerless(bucket, slice::from_ref(row)) {
                Ok(found) => page.found.extend(found),
                Err(error) => {
                    self.0.repairs.note_damage(bucket, row, &error);
                    page.damaged = page.damaged.or(Some(error));
                }
            }
        }
        Ok(Some(page))
    }

    /// The intents among `rows` that lost their owner.
    pub(crate) fn ownerless(&self, bucket: &Bucket, rows: &[Entry]) -> Result<Vec<(ObjectKey, Intent)>> {
        self.intents_among(bucket, rows, |_, is_live| !is_live)
    }

    /// The keys of those among `rows` of which the origin alone knows what was applied, as [`View::unsettled`] says of one.
    pub(crate) fn half_done(&self, bucket: &Bucket, rows: &[Entry]) -> Result<Vec<ObjectKey>> {
        let found = self.intents_among(bucket, rows, |intent, is_live| !is_live || intent.before.is_some())?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    /// The intents among `rows` that are of this shadow and that `wanted` picks, told whether they have their owner.
    fn intents_among(&self, bucket: &Bucket, rows: &[Entry], wanted: impl Fn(&Intent, bool) -> bool) -> Result<Vec<(ObjectKey, Intent)>> {
        let mut found = Vec::new();
        for row in rows {
            let intent: Intent = decode("intent", &row.body)?;
            let Some(key) = key::parse_write_intent(&row.key).and_then(|key| ObjectKey::parse(key).ok()) else { continue };
            let live = self.0.live(intent.operation).lock().get(&(bucket.partition, key.clone())).copied();
            let is_live = live.is_some_and(|live| live.owns(row.revision));
            if intent.generation == bucket.settings.generation && wanted(&intent, is_live) {
                found.push((key, intent));
            }
        }
        Ok(found)
    }

    /// What the origin applied of a write whose owner died, or of the one that it took the place of.
    ///
    /// A put is recognised by the ETag it would have. Where the origin's ETags are not MD5s, an object of the right size that is not older than
    /// the write counts as it: the write was not acknowledged, so either answer is one the client must reckon with. What has other user metadata
    /// was there before, with the same content: it must not undo what was acknowledged here since.
    pub(crate) async fn applied(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        intent: &Intent,
        origin: &dyn Origin,
    ) -> Result<Option<Operation>> {
        Ok(self.applied_of(cx, bucket, key, intent, origin).await?.0)
    }

    /// Like [`Shadow::applied`]; gives what the origin holds as well.
    pub(crate) async fn applied_of(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        intent: &Intent,
        origin: &dyn Origin,
    ) -> Result<(Option<Operation>, Option<ObjectInfo>)> {
        let there = match origin.head(&self.path(cx, bucket), key).await {
            Ok(head) => Some(head.info),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let mut next = Some(intent);
        while let Some(intent) = next {
            if self.shows(cx, bucket, key, intent, there.as_ref(), origin).await? {
                return Ok((Some(intent.operation), there));
            }
            next = intent.before.as_deref();
        }
        Ok((None, there))
    }

    /// Whether what the origin holds, `there`, is what `intent` was to make of it.
    async fn shows(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        intent: &Intent,
        there: Option<&ObjectInfo>,
        origin: &dyn Origin,
    ) -> Result<bool> {
        Ok(match (intent.operation, there) {
            (Operation::Delete, there) => there.is_none(),
            (Operation::Put, Some(info)) => {
                let is_later = info.last_modified.plus(CLOCK_SKEW).as_millis() >= intent.at;
                let may_be_it = info.etag.as_md5().is_none() && intent.size == Some(info.size) && is_later;
                let is_named_so = intent.metadata.as_ref().is_none_or(|mark| *mark == mark_of_metadata(&info.metadata));
                // The same content under the same names may have been there all along.
                let was_there = !is_later && self.is_ancestor_of_before(bucket, key, info).await?;
                is_named_so && !was_there && (intent.mark.as_deref() == Some(info.etag.as_str()) || may_be_it)
            }
            (Operation::Tag, Some(_)) => match origin.tags(&self.path(cx, bucket), key).await {
                Ok(tags) => intent.mark == Some(mark_of_tags(&tags)),
                // Deleted since the look before: its absence is for others to tell, who look at more than tags.
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(error.into()),
            },
            (Operation::Put | Operation::Tag, None) | (Operation::CopyBack, _) => false,
        })
    }

    /// Brings both sides together again, if a write of `key` lost its owner. The caller holds the key's lock.
    ///
    /// A write that the origin applied is applied here; one that it did not apply never was, and what is here stands.
    pub(crate) async fn repair(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, origin: &Arc<dyn Origin>) -> Result<()> {
        let view = self.view(bucket, key).await?;
        if let Some(copy) = view.copying_back.as_ref().filter(|_| self.has_abandoned_copy(bucket, key, &view)) {
            return self.give_up_copy(cx, bucket, key, &view, copy, &**origin).await;
        }
        match self.applied_by_the_dead(cx, bucket, key, &view, &**origin).await? {
            None | Some(Operation::CopyBack) => Ok(()),
            Some(Operation::Delete) => self.repaired_absent(bucket, key, &view).await,
            Some(Operation::Tag) => self.repaired_tags(cx, bucket, key, &view, &**origin).await,
            Some(Operation::Put) => {
                let wanted = view.intent.as_ref().and_then(|intent| intent.size).map_or(Wanted::Whole, Wanted::WholeOf);
                match self.hydrate_wanting(cx, bucket, key, origin, wanted).ended().await {
                    End::Failed(error) => Err(error),
                    End::Complete { .. } | End::Superseded => self.assure_repaired(bucket, key).await,
                }
            }
        }
    }

    /// What the origin applied of a write of `key` that lost its owner. One of which it applied nothing is forgotten: what is here stands.
    async fn applied_by_the_dead(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        view: &View,
        origin: &dyn Origin,
    ) -> Result<Option<Operation>> {
        let Some(intent) = view.intent.as_ref().filter(|_| view.is_dead) else { return Ok(None) };
        let applied = self.applied(cx, bucket, key, intent, origin).await?;
        if applied.is_none() {
            self.drop_intent(bucket, key, &view.base).await?;
        }
        Ok(applied)
    }

    /// What is known of `key` once a dead write of which the origin applied nothing is forgotten; the caller holds the key's lock. One that the
    /// origin does not let us judge stays, so that the key can be deleted: readers are not told of it, either.
    pub(crate) async fn forget_unless_applied(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        mut view: View,
        origin: &dyn Origin,
    ) -> Result<View> {
        for _ in 0..ATTEMPTS_MAX {
            if !view.is_dead {
                break;
            }
            match self.applied_by_the_dead(cx, bucket, key, &view, origin).await {
                Ok(None) => {}
                Ok(Some(_)) => break,
                // It came in meanwhile, which settles it, or changed beneath.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) if matches!(error.kind(), ErrorKind::OriginUnavailable | ErrorKind::Unavailable) => return Err(error),
                Err(_) => break,
            }
            view = self.view(bucket, key).await?;
        }
        Ok(view)
    }

    /// Takes the origin's tags, if both sides hold the same object.
    async fn repaired_tags(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, view: &View, origin: &dyn Origin) -> Result<()> {
        let path = self.path(cx, bucket);
        let info = origin.head(&path, key).await?.info;
        if view.object.as_ref().is_none_or(|stored| stored.object.etag != info.etag) {
            return self.drop_intent(bucket, key, &view.base).await;
        }
        let tags = origin.tags(&path, key).await?;
        let mut terms = Terms {
            checks: vec![view.base.intent_unchanged(key)],
            writes: vec![Write::Delete { key: key::write_intent(key) }],
            ..Terms::default()
        };
        terms.writes.extend(self.retagged_ancestor(bucket, key, &tags).await?);
        self.native().replace_tags(bucket, key, None, tags, terms).await.map(drop)
    }

    async fn assure_repaired(&self, bucket: &Bucket, key: &ObjectKey) -> Result<()> {
        if self.view(bucket, key).await?.is_dead {
            return Err(Error::new(ErrorKind::Unavailable, "the key is still being repaired; please try again"));
        }
        Ok(())
    }

    /// Whether a copy back of `key` lost its owner.
    pub(crate) fn has_abandoned_copy(&self, bucket: &Bucket, key: &ObjectKey, view: &View) -> bool {
        view.copying_back.is_some() && !self.0.live_copies.lock().contains_key(&(bucket.partition, key.clone()))
    }

    /// A copy back lost its owner: what is here stands, and the origin is not left with half an upload.
    async fn give_up_copy(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        view: &View,
        copy: &Intent,
        origin: &dyn Origin,
    ) -> Result<()> {
        if let Some(upload) = &copy.mark {
            origin.abort_upload(&self.path(cx, bucket), key, upload).await?;
        }
        self.drop_intent(bucket, key, &view.base).await
    }

    /// What is here stands: only the intent goes.
    async fn drop_intent(&self, bucket: &Bucket, key: &ObjectKey, base: &Base) -> Result<()> {
        let object = Check { key: key::object(key), expect: Expect::unchanged(base.object) };
        let mut batch = Batch::new(bucket.partition).delete(key::write_intent(key));
        batch.checks.extend([object, base.intent_unchanged(key)]);
        self.native().meta().commit(batch).await?;
        Ok(())
    }

    /// The origin does not hold it: neither do we, and no transfer under way may bring it back.
    async fn repaired_absent(&self, bucket: &Bucket, key: &ObjectKey, view: &View) -> Result<()> {
        let terms = Terms {
            checks: vec![view.base.intent_unchanged(key)],
            writes: vec![Write::Delete { key: key::write_intent(key) }],
            ..Terms::default()
        };
        let mut terms = merge(terms, self.terms_of_delete_through(bucket, key));
        if view.object.is_none() && has_versions(bucket) {
            // There is nothing that a delete marker would have to hide.
            terms.checks.push(Check { key: key::object(key), expect: Expect::Absent });
            return self.native().commit_terms(bucket, &terms).await;
        }
        self.native().remove(bucket, key, &Preconditions::default(), terms).await?;
        Ok(())
    }
}
