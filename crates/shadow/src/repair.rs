//! Repairs: keys whose write-through lost its owner are made to hold what the origin holds.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_core::{BucketName, Error, ErrorKind, ObjectKey, Preconditions, RequestContext, Result};
use umbra_meta::{Batch, Check, Expect, Projection, Write, key};
use umbra_store::{Bucket, Terms, decode_piece};

use crate::{
    Shadow,
    hydrate::drop_pieces,
    origin::Origin,
    record::Operation,
    transfer::End,
    view::{Base, View},
    write_through::merge,
};

/// How long the worker rests when an origin could not be reached.
const RETRY_DELAY: Duration = Duration::from_secs(2);
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
                self.drop_abandoned_pieces(bucket).await?;
                if bucket.settings.shadow.is_some() && !self.pending_repairs(bucket, 1).await?.is_empty() {
                    self.0.repairs.add_bucket(&bucket.name);
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
        for key in self.pending_repairs(&bucket, PAGE).await? {
            let _lock = self.0.locks.lock(bucket.partition, &key).await;
            self.repair(&cx, &bucket, &key, &origin).await?;
        }
        if !self.pending_repairs(&bucket, 1).await?.is_empty() {
            self.0.repairs.add_bucket(name);
        }
        Ok(())
    }

    /// Keys whose intent lost its owner, at most `limit`.
    pub(crate) async fn pending_repairs(&self, bucket: &Bucket, limit: usize) -> Result<Vec<ObjectKey>> {
        let rows = self.native().meta().scan(bucket.partition, key::write_intent_range(""), limit, Projection::Head).await?;
        let keys = rows.iter().filter_map(|row| ObjectKey::parse(key::parse_write_intent(&row.key)?).ok());
        let live = self.0.live_intents.lock();
        Ok(keys.filter(|key| !live.contains(&(bucket.partition, key.clone()))).collect())
    }

    /// Makes `key` hold what the origin holds, if a write of it lost its owner. The caller holds the key's lock.
    pub(crate) async fn repair(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, origin: &Arc<dyn Origin>) -> Result<()> {
        let view = self.view(bucket, key).await?;
        if !self.is_dead(bucket, key, &view) {
            return Ok(());
        }
        match origin.head(&self.path(cx, bucket), key).await {
            Ok(info) if view.object.as_ref().is_some_and(|stored| stored.object.etag == info.etag) && !is_tagging(&view) => {
                self.repaired_unchanged(bucket, key, &view.base).await
            }
            Ok(_) => match self.hydrate(cx, bucket, key, origin).ended().await {
                End::Failed(error) => Err(error),
                End::Complete | End::Superseded => self.assure_repaired(bucket, key).await,
            },
            Err(error) if error.is_not_found() => self.repaired_absent(bucket, key, &view).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn assure_repaired(&self, bucket: &Bucket, key: &ObjectKey) -> Result<()> {
        let view = self.view(bucket, key).await?;
        if self.is_dead(bucket, key, &view) {
            return Err(Error::new(ErrorKind::Unavailable, "the key is still being repaired; please try again"));
        }
        Ok(())
    }

    /// Both sides hold the same: only the intent goes.
    async fn repaired_unchanged(&self, bucket: &Bucket, key: &ObjectKey, base: &Base) -> Result<()> {
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

    /// Deletes pieces of hydrations that a crash cut off.
    async fn drop_abandoned_pieces(&self, bucket: &Bucket) -> Result<()> {
        loop {
            let rows = self.native().meta().scan(bucket.partition, key::all_pieces(), PAGE, Projection::Full).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let pieces = rows.iter().map(|row| decode_piece(&row.body)).collect::<Result<_>>()?;
            drop_pieces(self.native(), bucket, pieces, rows.into_iter().map(|row| row.key.to_vec()).collect()).await?;
        }
    }
}

/// Whether what is half done is a change of tags, which no ETag tells.
fn is_tagging(view: &View) -> bool {
    view.intent.as_ref().is_some_and(|intent| intent.operation == Operation::Tag)
}
