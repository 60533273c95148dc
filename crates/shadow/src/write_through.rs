//! Writes with write-through: the origin first, then here, acknowledged when both hold it.
//!
//! Each runs as a task of its own: a client that goes away cannot stop it between the two sides. The key's lock is held from the journal to
//! the commit, never while a client's body arrives.

use std::{future::Future, sync::Arc};

use umbra_core::{
    Attributes, Body, ETag, Encryption, Entity, Error, ErrorKind, Matches, ObjectKey, Preconditions, RequestContext, Result, Tags,
    VersionId,
};
use umbra_meta::Check;
use umbra_store::{Bucket, Content, DeleteOptions, Deleted, NewObject, PutObject, PutOptions, Terms};

use crate::{
    Shadow,
    intent::{Intended, IntentGuard, half_done, mark_of_metadata},
    key_locks::KeyGuard,
    origin::{Origin, OriginAttributes, OriginError, PutConditions, ShadowPath},
    shadow::{scope_of, writes_through},
    tee::{Outcome, store_on_both},
    view::{View, has_versions},
    write_here::{Judge, judge_delete, judge_put},
};

/// A write that is journalled: its key is locked and its conditions hold.
struct Journalled<'a> {
    bucket: Bucket,
    terms: Terms,
    intent: IntentGuard,
    // Behind the intent, which has to go first: the next writer's would else be taken for it.
    _lock: KeyGuard<'a>,
}

/// Refuses to write through what is to be encrypted with a customer's key: it would lie at the origin without.
pub(crate) fn refuse_customer_key(attributes: &Attributes) -> Result<()> {
    if !matches!(attributes.encryption, Some(Encryption::Customer { .. })) {
        return Ok(());
    }
    let message = "an object with a customer's key cannot be written through: the origin would get it without encryption";
    Err(Error::new(ErrorKind::Unsupported, message))
}

impl Shadow {
    /// Runs `write` to its end whether or not anybody waits for it.
    pub(crate) async fn to_the_end<T: Send + 'static>(&self, write: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let task = self.0.tasks.spawn(write);
        task.await.map_err(|error| Error::internal("a write ended abruptly").because(error))?
    }

    /// The bucket as it stands now; the shadow may have changed since the request resolved it.
    pub(crate) async fn fresh(&self, bucket: &Bucket) -> Result<Bucket> {
        let fresh = self.0.catalog.refresh(&bucket.name).await?;
        // Also what began to go to another address of the origin ends: it would not be known by which one it came.
        if !writes_through(&fresh) || scope_of(&fresh) != scope_of(bucket) || fresh.partition != bucket.partition {
            return Err(switched());
        }
        Ok((*fresh).clone())
    }

    async fn journal(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        conditions: &Preconditions,
        origin: &Arc<dyn Origin>,
        intended: Intended,
    ) -> Result<Journalled<'_>> {
        let lock = self.0.locks.lock(bucket.partition, key).await;
        let bucket = self.fresh(bucket).await?;
        let is_tag = matches!(intended, Intended::Tag(_));
        if is_tag {
            // Tags are put to what both sides hold; what the origin alone holds would be left there, with our tags.
            self.repair(cx, &bucket, key, origin).await?;
        }
        let is_delete = matches!(intended, Intended::Delete);
        let judge = if is_delete { judge_delete } else { judge_put };
        let (mut view, terms) = match self.judge_through(cx, &bucket, key, conditions, judge, origin).await {
            // That is an answer, and there will be no commit to hold it against the settings.
            Err(error) if is_delete && error.kind() == ErrorKind::NotFound(Entity::Object) => {
                return self.stands(&bucket, Err(error)).await;
            }
            judged => judged?,
        };
        if is_delete {
            // Beside a write that never was it would pass for done where the origin holds nothing anyway.
            view = self.forget_unless_applied(cx, &bucket, key, view, &**origin).await?;
        }
        if is_tag && view.object.is_none() {
            // Gone since it was brought here to be tagged.
            let changed = || Error::new(ErrorKind::Conflict, "the object changed; please try again");
            return Err(if view.gone { Error::not_found(Entity::Object) } else { changed() });
        }
        let intent = self.begin_intent(&bucket, key, &view, intended).await?;
        Ok(Journalled { _lock: lock, bucket, terms, intent })
    }

    pub(crate) async fn put_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        body: Body,
        options: PutOptions,
        origin: Arc<dyn Origin>,
    ) -> Result<PutObject> {
        let (shadow, cx, bucket, key) = (self.clone(), cx.clone(), bucket.clone(), key.clone());
        self.to_the_end(async move {
            let PutOptions { headers, metadata, tags, attributes, preconditions, integrity, cause } = options;
            refuse_customer_key(&attributes)?;
            // Before the body moves; judged again, for good, under the key's lock.
            let (view, terms) = shadow.judge_early(&cx, &bucket, &key, &preconditions, &origin).await?;
            let theirs = OriginAttributes { headers: headers.clone(), metadata: metadata.clone(), tags: tags.clone() };
            let path = shadow.path(&cx, &bucket);
            let conditions = shadow.conditions_there(&path, &view, terms.cold, &preconditions, &*origin).await?;
            let write = |size, body| origin.put(&path, &key, size, body, &theirs, &conditions);
            let journal = |content: &Content| {
                let mark = mark_of_metadata(&theirs.metadata);
                let put = Intended::Put { etag: ETag::from_md5(content.md5), size: content.size, metadata: mark };
                shadow.journal(&cx, &bucket, &key, &preconditions, &origin, put)
            };
            match store_on_both(shadow.native(), (&bucket, attributes.narrowed.as_ref()), body, integrity, write, journal).await {
                Outcome::Refused(error) => Err(error),
                Outcome::Failed { error, journal } => Err(origin_failed(journal.intent, error).await),
                Outcome::Stored { content, written, journal } => {
                    let Journalled { _lock, bucket, terms, intent } = journal;
                    let terms = intent.settle_with(merge(terms, shadow.terms_of_put_through(&bucket, &key, written, Some(&tags))));
                    let new = NewObject { headers, metadata, tags, attributes, cause };
                    // Judged under the key's lock already; the origin has taken it, so nothing may refuse it now.
                    let published = shadow.native().publish(&bucket, &key, content, new, &Preconditions::default(), terms).await;
                    finish(intent, published)
                }
            }
        })
        .await
    }

    /// What the origin is to judge of a conditional write, so that a client of its own cannot come between the judgement here and the write
    /// there.
    ///
    /// That is what was judged of the origin's own object. Where something is here, or a tombstone, ours is what counts: a change that somebody
    /// made at the origin is not seen, and what was written or deleted here before write-through was on is not there.
    async fn conditions_there(
        &self,
        path: &ShadowPath,
        view: &View,
        cold: Option<ETag>,
        conditions: &Preconditions,
        origin: &dyn Origin,
    ) -> Result<PutConditions> {
        let wanted = PutConditions {
            if_absent: cold.is_none() && conditions.if_none_match == Some(Matches::Any),
            if_match: cold.filter(|_| conditions.if_match.is_some()),
        };
        if wanted.is_empty() || !view.is_cold() || view.unsettled().is_some() || !origin.judges_conditions(path).await? {
            return Ok(PutConditions::default());
        }
        Ok(wanted)
    }

    pub(crate) async fn delete_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: DeleteOptions,
        origin: Arc<dyn Origin>,
    ) -> Result<Deleted> {
        let (shadow, cx, bucket, key) = (self.clone(), cx.clone(), bucket.clone(), key.clone());
        self.to_the_end(async move {
            let journalled = match shadow.journal(&cx, &bucket, &key, &options.preconditions, &origin, Intended::Delete).await {
                // What is absent is deleted already, whatever the conditions.
                Err(error) if error.kind() == ErrorKind::NotFound(Entity::Object) => return Ok(Deleted::default()),
                journalled => journalled?,
            };
            let Journalled { _lock, bucket, terms, intent } = journalled;
            if options.version.is_some() && has_versions(&bucket) {
                // The only version there was when this began; by now it is one of several, and this would put a delete marker over them.
                intent.withdraw().await;
                return Err(switched());
            }
            if let Err(error) = origin.delete(&shadow.path(&cx, &bucket), &key).await {
                return Err(origin_failed(intent, error).await);
            }
            let terms = intent.settle_with(merge(terms, shadow.terms_of_delete_through(&bucket, &key)));
            let removed = shadow.native().remove(&bucket, &key, &Preconditions::default(), terms).await;
            finish(intent, removed)
        })
        .await
    }

    /// Deletes an object on both sides while what is here is as `unchanged` says; [`ErrorKind::Conflict`] when it is not.
    pub(crate) async fn expire_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        unchanged: Vec<Check>,
        origin: Arc<dyn Origin>,
    ) -> Result<()> {
        let (shadow, cx, bucket, key) = (self.clone(), cx.clone(), bucket.clone(), key.clone());
        self.to_the_end(async move {
            let journalled = shadow.journal(&cx, &bucket, &key, &Preconditions::default(), &origin, Intended::Delete).await?;
            let Journalled { _lock, bucket, terms, intent } = journalled;
            // Under the key's lock, so that nothing comes between this look and the deletes.
            for check in unchanged {
                let current = shadow.native().meta().get(bucket.partition, &check.key).await?;
                if !check.expect.holds(current.map(|entry| entry.revision)) {
                    intent.withdraw().await;
                    return Err(Error::new(ErrorKind::Conflict, "the object or its bucket changed; please try again"));
                }
            }
            if let Err(error) = origin.delete(&shadow.path(&cx, &bucket), &key).await {
                return Err(origin_failed(intent, error).await);
            }
            let terms = intent.settle_with(merge(terms, shadow.terms_of_delete_through(&bucket, &key)));
            let mut terms = terms;
            terms.expires = true;
            let removed = shadow.native().remove(&bucket, &key, &Preconditions::default(), terms).await;
            finish(intent, removed.map(|_| ()))
        })
        .await
    }

    pub(crate) async fn put_tags_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Tags,
        origin: Arc<dyn Origin>,
    ) -> Result<VersionId> {
        self.hydrate_now(cx, bucket, key, &origin).await?;
        if !writes_through(bucket) {
            return self.replace_tags_here(bucket, key, version, tags).await;
        }
        let (shadow, cx, bucket, key) = (self.clone(), cx.clone(), bucket.clone(), key.clone());
        self.to_the_end(async move {
            let journalled = shadow.journal(&cx, &bucket, &key, &Preconditions::default(), &origin, Intended::Tag(tags.clone())).await?;
            let Journalled { _lock, bucket, intent, .. } = journalled;
            if version.is_some() && shadow.current_version(&bucket, &key).await? != version {
                intent.withdraw().await;
                return Err(Error::new(ErrorKind::Conflict, "the object changed; please try again"));
            }
            let is_there = match origin.put_tags(&shadow.path(&cx, &bucket), &key, &tags).await {
                // An object from a time without write-through is not there to be tagged; if it is here this is no 404.
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(origin_failed(intent, error).await),
                Ok(()) => true,
            };
            let mut terms = intent.settle_with(Terms::default());
            if is_there {
                terms.writes.extend(shadow.retagged_ancestor(&bucket, &key, &tags).await?);
            }
            match shadow.native().replace_tags(&bucket, &key, version, tags, terms).await {
                // Deleted before this write got the key's lock.
                Err(error) if !is_there && matches!(error.kind(), ErrorKind::NotFound(_)) => {
                    intent.withdraw().await;
                    Err(error)
                }
                replaced => finish(intent, replaced),
            }
        })
        .await
    }

    /// Judges conditions without the key's lock, unless only the origin knows what the key holds: that is settled under it.
    async fn judge_early(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        conditions: &Preconditions,
        origin: &Arc<dyn Origin>,
    ) -> Result<(View, Terms)> {
        let view = self.view(bucket, key).await?;
        if view.unsettled().is_some() {
            return Ok((view, Terms::default()));
        }
        let cold = self.cold_etag(cx, bucket, key, &view, conditions, &**origin).await?;
        judge_put(conditions, view.found(cold.as_ref()))?;
        Ok((view, Terms { cold, ..Terms::default() }))
    }

    /// Judges conditions under the key's lock, a cold object counting as existing. What an earlier write left half-done is settled first where it matters.
    pub(crate) async fn judge_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        conditions: &Preconditions,
        judge: Judge,
        origin: &Arc<dyn Origin>,
    ) -> Result<(View, Terms)> {
        let mut view = self.view(bucket, key).await?;
        // One half-done write can be remembered beside the next, not two.
        let is_full = view.intent.as_ref().is_some_and(|intent| intent.before.is_some());
        if view.is_dead && (is_full || !conditions.is_empty()) {
            self.repair(cx, bucket, key, origin).await?;
            view = self.view(bucket, key).await?;
        }
        let cold = self.cold_etag(cx, bucket, key, &view, conditions, &**origin).await?;
        judge(conditions, view.found(cold.as_ref()))?;
        Ok((view, Terms { cold, ..Terms::default() }))
    }
}

/// The terms of both.
pub(crate) fn merge(mut terms: Terms, more: Terms) -> Terms {
    terms.checks.extend(more.checks);
    terms.writes.extend(more.writes);
    terms.removal = more.removal.or(terms.removal);
    terms.etag = more.etag.or(terms.etag);
    terms
}

/// The bucket's shadow is not what it was when the request began.
pub(crate) fn switched() -> Error {
    Error::new(ErrorKind::Unavailable, "the bucket's shadow was just changed; please try again")
}

/// The origin did not do it: nothing changes here. If nobody knows whether it did, the intent stays and the key is repaired.
pub(crate) async fn origin_failed(intent: IntentGuard, failure: OriginError) -> Error {
    if failure.outcome_unknown {
        return half_done(failure.error);
    }
    intent.withdraw().await;
    failure.error
}

/// The origin has it: either it is here as well, or the intent stays and the key is repaired.
pub(crate) fn finish<T>(intent: IntentGuard, applied: Result<T>) -> Result<T> {
    match applied {
        Ok(applied) => {
            intent.settle();
            Ok(applied)
        }
        Err(error) => Err(half_done(error)),
    }
}
