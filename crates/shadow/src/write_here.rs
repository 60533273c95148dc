//! Writes of a bucket with an origin but without write-through: they touch only us.

use umbra_core::{
    Body, Entity, Error, ErrorKind, Found, ObjectKey, Preconditions, RequestContext, Result, Tags, UploadId, VersionId, check_delete,
    check_write,
};
use umbra_meta::{Check, Expect, Revision, Write, key};
use umbra_store::{Bucket, CompleteUpload, DeleteOptions, Deleted, NewObject, PutObject, PutOptions, Terms};

use crate::{
    Shadow,
    origin::Origin,
    record::{Intent, decode},
    shadow::writes_through,
    write_through::{merge, switched},
};

/// How a write is committed that stays here.
pub(crate) struct OnlyHere {
    pub(crate) terms: Terms,
    /// The settings by which it does.
    pub(crate) under: Revision,
    /// Whether it leaves an upload open at the origin.
    pub(crate) leaves_upload: bool,
}

impl Shadow {
    pub(crate) async fn put_here(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        body: Body,
        options: PutOptions,
        origin: &dyn Origin,
    ) -> Result<PutObject> {
        let PutOptions { headers, metadata, tags, attributes, preconditions, integrity, cause } = options;
        let judged = self.judge(cx, bucket, key, &preconditions, judge_put, origin).await?;
        let content = self.native().ingest(bucket, attributes.narrowed.as_ref(), body, integrity).await?;
        let _lock = self.0.locks.lock(bucket.partition, key).await;
        let terms = merge(judged, Self::terms_of_put(key));
        let OnlyHere { terms, under, leaves_upload } = self.only_here(bucket, key, terms).await?;
        let new = NewObject { headers, metadata, tags, attributes, cause };
        let put = self.native().publish(bucket, key, content, new, &preconditions, terms).await;
        let put = self.unless_switched(bucket, under, put).await?;
        self.end_left_upload(bucket, leaves_upload);
        Ok(put)
    }

    pub(crate) async fn delete_here(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: DeleteOptions,
        origin: &dyn Origin,
    ) -> Result<Deleted> {
        let judged = match self.judge(cx, bucket, key, &options.preconditions, judge_delete, origin).await {
            // What is absent is deleted already, whatever the conditions.
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Object) => {
                return self.stands(bucket, Ok(Deleted::default())).await;
            }
            judged => judged?,
        };
        self.remove_here(bucket, key, &options.preconditions, merge(judged, self.terms_of_delete(bucket, key))).await
    }

    /// Deletes here, with `terms` beside what every such delete leaves.
    pub(crate) async fn remove_here(&self, bucket: &Bucket, key: &ObjectKey, conditions: &Preconditions, terms: Terms) -> Result<Deleted> {
        let _lock = self.0.locks.lock(bucket.partition, key).await;
        let OnlyHere { terms, under, leaves_upload } = self.only_here(bucket, key, terms).await?;
        let removed = self.native().remove(bucket, key, conditions, terms).await;
        let deleted = self.unless_switched(bucket, under, removed).await?;
        self.end_left_upload(bucket, leaves_upload);
        Ok(deleted)
    }

    pub(crate) async fn complete_upload_here(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        options: CompleteUpload,
        origin: &dyn Origin,
    ) -> Result<PutObject> {
        let judged = self.judge(cx, bucket, key, &options.preconditions, judge_put, origin).await?;
        let plan = self.native().plan_completion(bucket, key, upload, &options).await?;
        let _lock = self.0.locks.lock(bucket.partition, key).await;
        let terms = merge(judged, Self::terms_of_put(key));
        let OnlyHere { terms, under, leaves_upload } = self.only_here(bucket, key, terms).await?;
        let completed = self.native().commit_completion(bucket, key, plan, &options.preconditions, terms).await;
        let completed = self.unless_switched(bucket, under, completed).await?;
        self.end_left_upload(bucket, leaves_upload);
        self.end_mirror_of(bucket, upload).await?;
        Ok(completed)
    }

    pub(crate) async fn replace_tags_here(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Tags,
    ) -> Result<VersionId> {
        let _lock = self.0.locks.lock(bucket.partition, key).await;
        let under = self.still_only_here(bucket).await?;
        let writes = self.ancestor_before_write(bucket, key, None).await?.into_iter().collect();
        let terms = Terms { writes, checks: vec![unswitched(under)], ..Terms::default() };
        let replaced = self.native().replace_tags_here(bucket, key, version, tags, terms).await;
        self.unless_switched(bucket, under, replaced).await
    }

    /// Refuses to write behind the back of a write-through that was switched on meanwhile. Gives the settings that the commit is to be held
    /// against: who switches it on may take it that from then on nothing lands here alone. The caller holds the key's lock.
    async fn still_only_here(&self, bucket: &Bucket) -> Result<Revision> {
        let now = self.0.catalog.refresh(&bucket.name).await?;
        if writes_through(&now) { Err(switched()) } else { Ok(now.revision) }
    }

    /// What a write that was to be judged `under` these settings came to: refused for others, it is to be made once more.
    pub(crate) async fn unless_switched<T>(&self, bucket: &Bucket, under: Revision, written: Result<T>) -> Result<T> {
        match written {
            Err(error) if error.kind() == ErrorKind::Conflict && self.0.catalog.refresh(&bucket.name).await?.revision != under => {
                Err(switched())
            }
            written => written,
        }
    }

    /// An answer that no commit holds against the settings of `bucket`, by which it was found: under others it is to be looked for once more.
    pub(crate) async fn stands<T>(&self, bucket: &Bucket, answer: Result<T>) -> Result<T> {
        let now = self.0.catalog.refresh(&bucket.name).await?;
        if now.partition == bucket.partition && now.revision == bucket.revision { answer } else { Err(switched()) }
    }

    /// Adds to `terms` what is known of the origin's object, and that writes still stay here. An intent left of the key stays.
    ///
    /// The caller holds the key's lock.
    pub(crate) async fn beside_intent(&self, bucket: &Bucket, key: &ObjectKey, mut terms: Terms) -> Result<OnlyHere> {
        let under = self.still_only_here(bucket).await?;
        terms.checks.push(unswitched(under));
        terms.writes.extend(self.ancestor_before_write(bucket, key, terms.cold.as_ref()).await?);
        Ok(OnlyHere { terms, under, leaves_upload: false })
    }

    /// Adds to `terms` what voids an intent left of the key, for ours is now the newest, what is known of the origin's object, and that writes
    /// still stay here.
    ///
    /// The caller holds the key's lock.
    pub(crate) async fn only_here(&self, bucket: &Bucket, key: &ObjectKey, terms: Terms) -> Result<OnlyHere> {
        let OnlyHere { mut terms, under, .. } = self.beside_intent(bucket, key, terms).await?;
        let row = key::write_intent(key);
        let entry = self.native().meta().get(bucket.partition, &row).await?;
        // A damaged one is void as well.
        let intent = entry.and_then(|entry| decode::<Intent>("intent", &entry.body).ok());
        let intent = intent.filter(|intent| intent.generation == bucket.settings.generation);
        let upload = intent.and_then(|intent| self.remember_upload_of(bucket, key, &intent));
        let leaves_upload = upload.is_some();
        terms.writes.extend(upload);
        terms.writes.push(Write::Delete { key: row });
        Ok(OnlyHere { terms, under, leaves_upload })
    }

    /// Has an upload aborted soon that a write left open at the origin.
    pub(crate) fn end_left_upload(&self, bucket: &Bucket, is_left: bool) {
        if is_left {
            self.0.repairs.look_at(&bucket.name);
        }
    }

    /// Judges conditions, a cold object counting as existing, and binds the commit to what they were judged against.
    async fn judge(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        conditions: &Preconditions,
        judge: Judge,
        origin: &dyn Origin,
    ) -> Result<Terms> {
        if conditions.is_empty() {
            return Ok(Terms::default());
        }
        let view = self.view(bucket, key).await?;
        let cold = self.cold_etag(cx, bucket, key, &view, conditions, origin).await?;
        judge(conditions, view.found(cold.as_ref()))?;
        Ok(Terms { cold, checks: vec![view.base.tombstone_unchanged(key)], ..Terms::default() })
    }
}

/// Judges conditions by what a write finds.
pub(crate) type Judge = fn(&Preconditions, Found<'_>) -> Result<()>;

/// Judges those of a write that leaves an object.
pub(crate) fn judge_put(conditions: &Preconditions, found: Found<'_>) -> Result<()> {
    check_write(conditions, found.etag())
}

/// Judges those of a delete. Where they find nothing that is [`ErrorKind::NotFound`]: it is deleted already, whatever they are, and nothing is to
/// be left of it that would hide what comes later.
pub(crate) fn judge_delete(conditions: &Preconditions, found: Found<'_>) -> Result<()> {
    match found {
        Found::Nothing if !conditions.is_empty() => Err(Error::not_found(Entity::Object)),
        found => check_delete(conditions, found),
    }
}

pub(crate) fn unswitched(under: Revision) -> Check {
    Check { key: key::settings(), expect: Expect::Revision(under) }
}
