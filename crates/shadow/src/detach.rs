//! Detaching: the end of a shadow, behind a gate ([`crate::gate`]).

use std::sync::Arc;

use umbra_core::{Error, ErrorKind, RequestContext, Result};
use umbra_meta::{Batch, Entry, Expect, KeyRange, Projection, is_outcome_unknown, key};
use umbra_store::{Bucket, BucketSettings};

use crate::{
    Shadow,
    ancestor::Ancestor,
    counters, inventory,
    record::{Intent, OriginUpload, Tombstone, decode},
    schedule, uncarried,
};

/// Rows dropped at once.
const PAGE: usize = 1000;

/// The generation that a row belongs to, if it belongs to one.
type GenerationOf = fn(&Entry) -> Result<Option<u64>>;

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
        let held = if force {
            None
        } else {
            self.gate(&bucket).await?;
            let held = self.hold_writes_back(&bucket).await?;
            // One that was under way may be half done now.
            self.refuse_repairs(&bucket).await?;
            Some(held)
        };
        self.leave_origin(cx, &bucket).await;
        let generation = bucket.settings.generation;
        let mut clear = |current: &mut BucketSettings| {
            if current.generation != generation {
                return Err(Error::new(ErrorKind::Conflict, "the bucket's shadow was changed by somebody else; please try again"));
            }
            current.shadow = None;
            current.generation += 1;
            Ok(())
        };
        let detached = match self.0.catalog.update_bucket(&bucket, &mut clear).await {
            Ok(detached) => detached,
            Err(error) => {
                // If it came to pass all the same, nothing goes to the origin either.
                if is_outcome_unknown(&error) && self.0.catalog.refresh(&bucket.name).await?.settings.generation > generation {
                    self.forget(&bucket);
                }
                return Err(error);
            }
        };
        drop(held);
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
            if force {
                catalog.destroy_bucket(&bucket).await?
            } else {
                catalog.delete_bucket(&bucket).await?
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

    /// Drops the tombstones, intents, ancestors, hydrations, orders, notes, counts and jobs of a cleared shadow, its inventory, and what was
    /// remembered of uploads there: they belong to an earlier generation and count for nothing.
    pub(crate) async fn drop_rows(&self, bucket: &Bucket) -> Result<()> {
        self.sweep(bucket).await?;
        self.drop_outdated(bucket).await?;
        for range in [key::job::all()].into_iter().chain(inventory::ranges()) {
            self.drop_range(bucket, range).await?;
        }
        Ok(())
    }

    /// Drops the rows that name a generation before that of `bucket`, whatever shadow was attached meanwhile. Jobs and the inventory name none:
    /// the next of their kind takes their place.
    pub(crate) async fn drop_outdated(&self, bucket: &Bucket) -> Result<()> {
        let generation = bucket.settings.generation;
        let families: [(KeyRange, GenerationOf); 7] = [
            (key::tombstone_range(""), |row| Ok(Some(decode::<Tombstone>("tombstone", &row.body)?.generation))),
            (key::write_intent_range(""), |row| Ok(Some(decode::<Intent>("intent", &row.body)?.generation))),
            (key::all_ancestors(), |row| Ok(Some(Ancestor::decode(row)?.generation))),
            (key::all_origin_uploads(), |row| Ok(Some(decode::<OriginUpload>("origin upload", &row.body)?.generation))),
            (key::all_orders(), |row| schedule::generation_of(row).map(Some)),
            (key::uncarried_range(""), |row| uncarried::generation_of(row).map(Some)),
            (counters::all_counters(), |row| Ok(counters::generation_of(row))),
        ];
        for (mut range, generation_of) in families {
            loop {
                let rows = self.native().meta().scan(bucket.partition, range.clone(), PAGE, Projection::Full).await?;
                let Some(last) = rows.last() else { break };
                range = range.after(&last.key);
                for row in &rows {
                    if generation_of(row)?.is_some_and(|of| of < generation) {
                        self.drop_row(bucket, row).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Drops a row, unless somebody changed it meanwhile: then it is of now.
    async fn drop_row(&self, bucket: &Bucket, row: &Entry) -> Result<()> {
        let key = row.key.to_vec();
        let batch = Batch::new(bucket.partition).check(key.clone(), Expect::Revision(row.revision)).delete(key);
        match self.native().meta().commit(batch).await.map_err(Error::from) {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    async fn drop_range(&self, bucket: &Bucket, range: KeyRange) -> Result<()> {
        loop {
            let rows = self.native().meta().scan(bucket.partition, range.clone(), PAGE, Projection::Head).await?;
            if rows.is_empty() {
                return Ok(());
            }
            // Behind the fence: a shadow attached meanwhile has rows of its own, which must stay.
            let batch = Batch::new(bucket.partition).check(key::settings(), Expect::Revision(bucket.revision));
            let batch = rows.into_iter().fold(batch, |batch, row| batch.delete(row.key.to_vec()));
            self.native().meta().commit(batch).await?;
        }
    }
}

/// A count and what is counted, as people say it.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
