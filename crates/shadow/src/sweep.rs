//! The sweep: hydrations that did not come to their end go on, or go.

use std::{sync::Arc, time::Duration};

use umbra_core::{ObjectKey, RequestContext, Result};
use umbra_meta::key;
use umbra_store::Bucket;

use crate::{
    Shadow,
    origin::Origin,
    partial::{self, Found, Partial},
    read_through::{Landing, hydrates_whole},
    view::View,
};

/// How often hydrations are looked for that nobody goes on with.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Buckets read at once.
const PAGE: usize = 1000;

impl Shadow {
    /// Sweeps every bucket now, and again from time to time.
    pub(crate) async fn sweep_for_ever(&self) {
        loop {
            if let Err(error) = self.sweep_all().await {
                tracing::warn!(error = ?error, "hydrations that were left stay for now");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    async fn sweep_all(&self) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let buckets = self.0.catalog.buckets(None, after.as_deref(), PAGE).await?;
            for bucket in &buckets {
                if let Err(error) = self.sweep_all_of(bucket).await {
                    tracing::warn!(bucket = %bucket.name, error = ?error, "hydrations that were left stay for now");
                }
            }
            match buckets.last() {
                Some(last) if buckets.len() == PAGE => after = Some(last.name.to_string()),
                _ => return Ok(()),
            }
        }
    }

    async fn sweep_all_of(&self, bucket: &Bucket) -> Result<()> {
        self.sweep(bucket).await?;
        let (partition, generation) = (bucket.partition, bucket.settings.generation);
        if self.0.cleaned.lock().get(&partition) == Some(&generation) {
            return Ok(());
        }
        self.drop_outdated(bucket).await?;
        self.0.cleaned.lock().insert(partition, generation);
        Ok(())
    }

    /// Drops the hydrations of a bucket that can not become objects any more, and goes on with the others if the bucket's policy has it so.
    pub(crate) async fn sweep(&self, bucket: &Bucket) -> Result<()> {
        let mut range = Some(key::all_pieces());
        while let Some(page) = range {
            let is_read = |key: &_| self.0.flights.uses_pieces_of(bucket.partition, key);
            let Found { keys, next } = partial::sweep(self.native(), bucket, page, is_read).await?;
            for key in &keys {
                self.sweep_key(bucket, key).await?;
            }
            range = next;
        }
        Ok(())
    }

    /// Whether what is being brought may become the object. Where a copy is here already it is one in its place, which the origin was found to have:
    /// that is remembered again, for a restart forgets it.
    fn may_replace(&self, bucket: &Bucket, key: &ObjectKey, view: &View) -> bool {
        let Some(copy) = view.object.as_ref().filter(|_| view.intent.is_none()) else { return true };
        let revalidates = bucket.settings.shadow.as_ref().is_some_and(|shadow| shadow.revalidate.is_some());
        if revalidates {
            self.0.revalidations.remember_outdated(bucket, key, copy.revision, self.now());
        }
        revalidates
    }

    async fn sweep_key(&self, bucket: &Bucket, key: &ObjectKey) -> Result<()> {
        let Some(origin) = self.drop_unless_of_now(bucket, key).await? else { return Ok(()) };
        if hydrates_whole(bucket) {
            let cx = RequestContext { request_id: "sweep".to_owned(), ..RequestContext::default() };
            // One at a time: its outcome is in the transfer, and a failure waits for the next reader or sweep.
            let _ = Arc::clone(&self.hydrate(&cx, bucket, key, &origin)).ended().await;
        }
        Ok(())
    }

    /// Drops the hydration of a key that nobody goes on with, unless it may become the object: then gives the origin that has the rest.
    async fn drop_unless_of_now(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Option<Arc<dyn Origin>>> {
        // A transfer that took it over between the look and the end of it would read pieces that are gone.
        let Some(flight) = self.0.flights.stand_in(bucket.partition, key, &self.0.stopping) else { return Ok(None) };
        let _landing = Landing { shadow: self, bucket, key, flight: &flight };
        let Some(Partial { record, revision, pieces }) = partial::load(self.native(), bucket, key).await? else { return Ok(None) };
        let view = self.view(bucket, key).await?;
        let is_of_now = record.is_of(bucket, &view.base_for_copy()) && self.may_replace(bucket, key, &view);
        let origin = self.origin(bucket)?.filter(|_| is_of_now);
        if origin.is_none() {
            partial::drop_hydration(self.native(), bucket, key, revision, pieces).await?;
        }
        Ok(origin)
    }
}
