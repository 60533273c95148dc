//! Repairs: keys whose write-through lost its owner are made to hold what the origin holds.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_core::{BucketName, Error, ErrorKind, ObjectKey, Preconditions, RequestContext, Result};
use umbra_meta::{Batch, Check, Expect, Projection, Write, key};
use umbra_store::{Bucket, Terms};

use crate::{
    Shadow,
    hydrate::Wanted,
    intent::mark_of_tags,
    origin::Origin,
    record::{Intent, Operation, decode},
    transfer::End,
    view::{Base, View},
    write_through::merge,
};

/// How long the worker rests when an origin could not be reached.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// How far the origin's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Rows read at once.
const PAGE: usize = 1000;

/// The buckets that may hold dead intents.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    buckets: Mutex<BTreeSet<BucketName>>,
    due: Notify,
}

impl Repairs {
    /// A write of `key` lost its owner.
    pub(crate) fn add(&self, bucket: &Bucket, key: &ObjectKey) {
        tracing::warn!(bucket = %bucket.name, %key, "a write-through is half done; the key is read through the origin until repaired");
        self.add_bucket(&bucket.name);
    }

    fn add_bucket(&self, name: &BucketName) {
        self.buckets.lock().insert(name.clone());
        self.due.notify_one();
    }
}

impl Shadow {
    /// Finds what an earlier process left half-done, and starts the worker that repairs it.
    pub async fn start(&self) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let buckets = self.0.catalog.buckets(None, after.as_deref(), PAGE).await?;
            for bucket in &buckets {
                if bucket.settings.shadow.is_none()
                    && let Err(error) = self.drop_rows(bucket).await
                {
                    tracing::warn!(bucket = %bucket.name, error = ?error, "what an earlier run left behind stays");
                }
                if bucket.settings.shadow.is_some() && !self.pending_repairs(bucket, 1).await?.is_empty() {
                    self.0.repairs.add_bucket(&bucket.name);
                }
                if bucket.settings.shadow.is_some() {
                    self.start_jobs(bucket).await?;
                }
            }
            match buckets.last() {
                Some(last) if buckets.len() == PAGE => after = Some(last.name.to_string()),
                _ => break,
            }
        }
        let shadow = self.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = shadow.0.stopping.cancelled() => {}
                () = shadow.repair_for_ever() => {}
            }
        });
        let shadow = self.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = shadow.0.stopping.cancelled() => {}
                () = shadow.sweep_for_ever() => {}
            }
        });
        Ok(())
    }

    async fn repair_for_ever(&self) {
        loop {
            self.0.repairs.due.notified().await;
            loop {
                let buckets = std::mem::take(&mut *self.0.repairs.buckets.lock());
                if buckets.is_empty() {
                    break;
                }
                let mut failed = BTreeSet::new();
                for name in buckets {
                    if let Err(error) = self.repair_bucket(&name).await {
                        tracing::warn!(bucket = %name, error = ?error, "repairs are put off");
                        failed.insert(name);
                    }
                }
                if !failed.is_empty() {
                    self.0.repairs.buckets.lock().extend(failed);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    async fn repair_bucket(&self, name: &BucketName) -> Result<()> {
        let bucket = match self.0.catalog.bucket(name).await {
            Ok(bucket) => bucket,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(origin) = self.origin(&bucket)? else { return Ok(()) };
        let cx = RequestContext { request_id: "repair".to_owned(), ..RequestContext::default() };
        let (mut first_error, mut repaired) = (None, 0);
        let keys = self.pending_repairs(&bucket, PAGE).await?;
        for key in &keys {
            let _lock = self.0.locks.lock(bucket.partition, key).await;
            match self.repair(&cx, &bucket, key, &origin).await {
                Ok(()) => repaired += 1,
                // One that cannot be repaired must not keep the others waiting.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if keys.len() == PAGE && repaired > 0 {
            self.0.repairs.add_bucket(name);
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Keys whose intent lost its owner, at most `limit`.
    pub(crate) async fn pending_repairs(&self, bucket: &Bucket, limit: usize) -> Result<Vec<ObjectKey>> {
        let (mut keys, mut range) = (Vec::new(), key::write_intent_range(""));
        loop {
            let rows = self.native().meta().scan(bucket.partition, range.clone(), PAGE, Projection::Full).await?;
            for row in &rows {
                let intent: Intent = decode("intent", &row.body)?;
                let Some(key) = key::parse_write_intent(&row.key).and_then(|key| ObjectKey::parse(key).ok()) else { continue };
                let is_live = self.0.live(intent.operation).lock().contains(&(bucket.partition, key.clone()));
                if !is_live && intent.generation == bucket.settings.generation {
                    keys.push(key);
                }
                if keys.len() == limit {
                    return Ok(keys);
                }
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE => range = range.after(&last.key),
                _ => return Ok(keys),
            }
        }
    }

    /// Whether the origin applied a write whose owner died.
    ///
    /// A put is recognised by the ETag it would have. Where the origin's ETags are not MD5s, an object of the right size that is not older than
    /// the write counts as it: the write was not acknowledged, so either answer is one the client must reckon with.
    pub(crate) async fn was_applied(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        intent: &Intent,
        origin: &dyn Origin,
    ) -> Result<bool> {
        let there = match origin.head(&self.path(cx, bucket), key).await {
            Ok(info) => Some(info),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        Ok(match (intent.operation, there) {
            (Operation::Delete, there) => there.is_none(),
            (Operation::Put, Some(info)) => {
                let is_later = info.last_modified.plus(CLOCK_SKEW).as_millis() >= intent.at;
                let may_be_it = info.etag.as_md5().is_none() && intent.size == Some(info.size) && is_later;
                intent.mark.as_deref() == Some(info.etag.as_str()) || may_be_it
            }
            (Operation::Tag, Some(_)) => intent.mark == Some(mark_of_tags(&origin.tags(&self.path(cx, bucket), key).await?)),
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
        let Some(intent) = view.intent.as_ref().filter(|_| view.is_dead) else { return Ok(()) };
        if !self.was_applied(cx, bucket, key, intent, &**origin).await? {
            return self.drop_intent(bucket, key, &view.base).await;
        }
        match intent.operation {
            Operation::CopyBack => Ok(()),
            Operation::Delete => self.repaired_absent(bucket, key, &view).await,
            Operation::Tag => self.repaired_tags(cx, bucket, key, &view, &**origin).await,
            Operation::Put => {
                let wanted = intent.size.map_or(Wanted::Whole, Wanted::WholeOf);
                match self.hydrate_wanting(cx, bucket, key, origin, wanted).ended().await {
                    End::Failed(error) => Err(error),
                    End::Complete | End::Superseded => self.assure_repaired(bucket, key).await,
                }
            }
        }
    }

    /// Takes the origin's tags, if both sides hold the same object.
    async fn repaired_tags(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, view: &View, origin: &dyn Origin) -> Result<()> {
        let path = self.path(cx, bucket);
        let info = origin.head(&path, key).await?;
        if view.object.as_ref().is_none_or(|stored| stored.object.etag != info.etag) {
            return self.drop_intent(bucket, key, &view.base).await;
        }
        let terms = Terms {
            checks: vec![view.base.intent_unchanged(key)],
            writes: vec![Write::Delete { key: key::write_intent(key) }],
            ..Terms::default()
        };
        self.native().replace_tags(bucket, key, origin.tags(&path, key).await?, terms).await
    }

    async fn assure_repaired(&self, bucket: &Bucket, key: &ObjectKey) -> Result<()> {
        if self.view(bucket, key).await?.is_dead {
            return Err(Error::new(ErrorKind::Unavailable, "the key is still being repaired; please try again"));
        }
        Ok(())
    }

    /// Whether a copy back of `key` lost its owner.
    pub(crate) fn has_abandoned_copy(&self, bucket: &Bucket, key: &ObjectKey, view: &View) -> bool {
        view.copying_back.is_some() && !self.0.live_copies.lock().contains(&(bucket.partition, key.clone()))
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
        let terms = merge(terms, self.terms_of_delete(bucket, key));
        self.native().remove(bucket, key, &Preconditions::default(), terms).await?;
        Ok(())
    }
}
