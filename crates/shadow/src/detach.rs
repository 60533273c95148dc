//! Detaching: the end of a shadow, behind a gate ([`crate::gate`]).

use std::{sync::Arc, time::Duration};

use umbra_core::{Error, ErrorKind, RequestContext, Result};
use umbra_meta::{Batch, KeyRange, Projection, key};
use umbra_store::Bucket;

use crate::{Shadow, counters, inventory};

/// How long writes in progress may take to end once the shadow is cleared.
const WRITES_END_WITHIN: Duration = Duration::from_secs(60);
/// Rows dropped at once.
const PAGE: usize = 1000;

impl Shadow {
    /// Clears a bucket's shadow, for good: from then on no request reads from or writes to the origin.
    ///
    /// Refuses, naming how many, while cold objects remain or repairs are pending, unless `force`. While the origin is still being listed
    /// to find that out the error holds a [`crate::StillListing`]: ask again.
    ///
    /// `bucket` is the one that the caller may change: refuses if another has its name meanwhile.
    pub async fn detach(&self, cx: &RequestContext, bucket: &Bucket, force: bool) -> Result<Arc<Bucket>> {
        let bucket = self.0.catalog.current(bucket).await?;
        if bucket.settings.shadow.is_none() {
            return Ok(bucket);
        }
        if !force {
            self.gate(&bucket).await?;
        }
        self.leave_origin(cx, &bucket).await;
        let generation = bucket.settings.generation;
        let detached = self
            .0
            .catalog
            .update_bucket(&bucket, &mut |current| {
                if current.generation != generation {
                    return Err(Error::new(ErrorKind::Conflict, "the bucket's shadow was changed by somebody else; please try again"));
                }
                current.shadow = None;
                current.generation += 1;
                Ok(())
            })
            .await?;
        self.forget(&bucket);
        tracing::info!(bucket = %bucket.name, force, "shadow cleared");
        // Also when the writes in progress take longer than this request can.
        let (shadow, cleared) = (self.clone(), detached.clone());
        self.0.tasks.spawn(async move { shadow.clean_up(&cleared).await });
        self.writes_in_progress_end(&bucket).await?;
        Ok(detached)
    }

    /// Drops the rows of a cleared shadow once no write in progress needs them. Stopped before, the next start does it.
    async fn clean_up(&self, cleared: &Bucket) {
        while self.writes_in_progress_end(cleared).await.is_err() {
            if self.0.stopping.is_cancelled() {
                return;
            }
        }
        if let Err(error) = self.drop_rows(cleared).await {
            tracing::warn!(bucket = %cleared.name, error = ?error, "rows of a cleared shadow stay behind");
        }
    }

    /// Deletes a bucket, if it is empty here or `force` says so, and leaves its origin in order, if it has one. Goes on though nobody waits for it.
    pub async fn delete_bucket(&self, cx: &RequestContext, bucket: &Bucket, force: bool) -> Result<()> {
        let (shadow, cx, bucket) = (self.clone(), cx.clone(), bucket.clone());
        let deleted = self.0.tasks.spawn(async move {
            // Read before, for its rows go with the bucket, and aborted afterwards, for it may be refused.
            let open = shadow.uploads_at_origin(&bucket).await?;
            let catalog = &shadow.0.catalog;
            catalog.current(&bucket).await?;
            if force {
                catalog.destroy_bucket(&bucket.name).await?
            } else {
                catalog.delete_bucket(&bucket.name).await?
            }
            shadow.abort_uploads_at_origin(&cx, &bucket, &open).await;
            shadow.forget(&bucket);
            Ok(())
        });
        deleted.await.unwrap_or_else(|failed| Err(Error::internal("the request was cut short").because(failed)))
    }

    /// Stops everything that reads from the origin of `bucket`: it has none any more, or is going away.
    pub fn forget(&self, bucket: &Bucket) {
        self.0.jobs.stop(bucket.partition);
        self.0.flights.cancel(bucket.partition);
        self.0.origins.forget(bucket);
        self.0.stats.forget(bucket.partition);
        self.0.repairs.forget(bucket.partition);
        self.0.schedule.forget(bucket.partition);
        self.0.revalidations.forget(bucket.partition);
    }

    /// Waits for write-throughs that had begun before the shadow was changed: after that nothing goes to the origin.
    pub(crate) async fn writes_in_progress_end(&self, bucket: &Bucket) -> Result<()> {
        let ended = async {
            let is_of = |(of, _): &(_, _)| *of == bucket.partition;
            while self.0.live_intents.lock().iter().any(is_of) || self.0.live_copies.lock().iter().any(is_of) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let late =
            |_| Error::new(ErrorKind::Unavailable, "the shadow is changed, but writes to the origin that began before are still under way");
        tokio::time::timeout(WRITES_END_WITHIN, ended).await.map_err(late)
    }

    /// Drops the tombstones, intents, hydrations, notes, counts and jobs of a cleared shadow, its inventory, and what was remembered of uploads
    /// there: they belong to an earlier generation and count for nothing.
    pub(crate) async fn drop_rows(&self, bucket: &Bucket) -> Result<()> {
        self.sweep(bucket).await?;
        let ranges = [key::tombstone_range(""), key::write_intent_range(""), key::all_origin_uploads(), key::job::all()];
        let told = [key::uncarried_range(""), counters::all_counters()];
        for range in ranges.into_iter().chain(told).chain(inventory::ranges()) {
            self.drop_range(bucket, range).await?;
        }
        Ok(())
    }

    async fn drop_range(&self, bucket: &Bucket, range: KeyRange) -> Result<()> {
        loop {
            let rows = self.native().meta().scan(bucket.partition, range.clone(), PAGE, Projection::Head).await?;
            if rows.is_empty() {
                return Ok(());
            }
            // Behind the fence: a shadow attached meanwhile has rows of its own, which must stay.
            let batch = Batch::new(bucket.partition).check(key::settings(), umbra_meta::Expect::Revision(bucket.revision));
            let batch = rows.into_iter().fold(batch, |batch, row| batch.delete(row.key.to_vec()));
            self.native().meta().commit(batch).await?;
        }
    }
}

/// A count and what is counted, as people say it.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
