//! Writes with write-through: the origin first, then here, acknowledged when both hold it.
//!
//! Each runs as a task of its own: a client that goes away cannot stop it between the two sides.

use std::{future::Future, sync::Arc};

use umbra_core::{Body, Error, ErrorKind, ObjectKey, Preconditions, RequestContext, Result, Tags, check_write};
use umbra_store::{Bucket, DeleteOptions, NewObject, Objects, PutObject, PutOptions, Terms};

use crate::{
    Shadow,
    intent::{IntentGuard, half_done},
    origin::{Origin, OriginAttributes, OriginError},
    record::Operation,
    shadow::writes_through,
    tee::store_on_both,
    view::View,
    write_here::current_etag,
};

impl Shadow {
    /// Runs `write` to its end whether or not anybody waits for it.
    pub(crate) async fn to_the_end<T: Send + 'static>(&self, write: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let task = self.0.tasks.spawn(write);
        task.await.map_err(|error| Error::internal("a write ended abruptly").because(error))?
    }

    /// The bucket as it stands now; the shadow may have changed since the request resolved it.
    pub(crate) async fn fresh(&self, bucket: &Bucket) -> Result<Bucket> {
        let fresh = self.0.catalog.refresh(&bucket.name).await?;
        if !writes_through(&fresh) || fresh.settings.generation != bucket.settings.generation || fresh.partition != bucket.partition {
            return Err(Error::new(ErrorKind::Conflict, "the bucket's shadow changed; please try again"));
        }
        Ok((*fresh).clone())
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
            let _lock = shadow.0.locks.lock(bucket.partition, &key).await;
            let bucket = shadow.fresh(&bucket).await?;
            let PutOptions { headers, metadata, tags, preconditions, integrity } = options;
            let (view, terms) = shadow.judge_through(&cx, &bucket, &key, &preconditions, &origin).await?;
            let intent = shadow.begin_intent(&bucket, &key, &view, Operation::Put).await?;
            let attributes = OriginAttributes { headers: headers.clone(), metadata: metadata.clone(), tags: tags.clone() };
            let path = shadow.path(&cx, &bucket);
            let stored =
                store_on_both(shadow.native(), body, integrity, |size, body| origin.put(&path, &key, size, body, &attributes)).await;
            let (content, etag) = match stored {
                Ok(stored) => stored,
                Err(error) => return Err(origin_failed(intent, error).await),
            };
            let terms = intent.settle_with(Terms { etag: Some(etag), ..merge(terms, Self::terms_of_put(&key)) });
            let new = NewObject { headers, metadata, tags };
            // Judged under the key's lock already; the origin has taken it, so nothing may refuse it now.
            let published = shadow.native().publish(&bucket, &key, content, new, &Preconditions::default(), terms).await;
            finish(intent, published)
        })
        .await
    }

    pub(crate) async fn delete_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        options: DeleteOptions,
        origin: Arc<dyn Origin>,
    ) -> Result<()> {
        let (shadow, cx, bucket, key) = (self.clone(), cx.clone(), bucket.clone(), key.clone());
        self.to_the_end(async move {
            let _lock = shadow.0.locks.lock(bucket.partition, &key).await;
            let bucket = shadow.fresh(&bucket).await?;
            let (view, terms) = shadow.judge_through(&cx, &bucket, &key, &options.preconditions, &origin).await?;
            let intent = shadow.begin_intent(&bucket, &key, &view, Operation::Delete).await?;
            if let Err(error) = origin.delete(&shadow.path(&cx, &bucket), &key).await {
                return Err(origin_failed(intent, error).await);
            }
            let terms = intent.settle_with(merge(terms, shadow.terms_of_delete(&bucket, &key)));
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
        tags: Tags,
        origin: Arc<dyn Origin>,
    ) -> Result<()> {
        self.hydrate_now(cx, bucket, key, &origin).await?;
        if !writes_through(bucket) {
            return self.native().put_tags(cx, bucket, key, tags).await;
        }
        let (shadow, cx, bucket, key) = (self.clone(), cx.clone(), bucket.clone(), key.clone());
        self.to_the_end(async move {
            let _lock = shadow.0.locks.lock(bucket.partition, &key).await;
            let bucket = shadow.fresh(&bucket).await?;
            let (view, _) = shadow.judge_through(&cx, &bucket, &key, &Preconditions::default(), &origin).await?;
            let intent = shadow.begin_intent(&bucket, &key, &view, Operation::Tag).await?;
            if let Err(error) = origin.put_tags(&shadow.path(&cx, &bucket), &key, &tags).await {
                return Err(origin_failed(intent, error).await);
            }
            let terms = intent.settle_with(Terms::default());
            let replaced = shadow.native().replace_tags(&bucket, &key, tags, terms).await;
            finish(intent, replaced)
        })
        .await
    }

    /// Settles what an earlier write left half-done, then judges conditions, a cold object counting as existing.
    pub(crate) async fn judge_through(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        conditions: &Preconditions,
        origin: &Arc<dyn Origin>,
    ) -> Result<(View, Terms)> {
        let mut view = self.view(bucket, key).await?;
        if self.is_dead(bucket, key, &view) {
            self.repair(cx, bucket, key, origin).await?;
            view = self.view(bucket, key).await?;
        }
        let cold = self.cold_etag(cx, bucket, key, &view, conditions, &**origin).await?;
        check_write(conditions, current_etag(&view, cold.as_ref()))?;
        Ok((view, Terms { cold, ..Terms::default() }))
    }
}

/// The terms of both.
pub(crate) fn merge(mut terms: Terms, more: Terms) -> Terms {
    terms.checks.extend(more.checks);
    terms.writes.extend(more.writes);
    terms
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
