//! The worker that repairs, and ends uploads at the origin that nobody will complete: one pass through a bucket at a time, several buckets at once.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use umbra_core::{BucketName, Error, ErrorKind, ObjectKey, RequestContext, Result, Timestamp};
use umbra_meta::{Projection, key};
use umbra_store::Bucket;

use crate::{Shadow, origin::Origin};

/// Rows read at once.
const PAGE: usize = 1000;
/// Keys of one bucket repaired at a time.
const REPAIRS_AT_ONCE: usize = 8;
/// Failures in a row, and nothing but failures, after which a pass is broken off: the origin is away.
const GIVE_UP_AFTER: usize = 32;
/// How long a bucket rests after a pass that was broken off, or that failed before it began.
const REST: Duration = Duration::from_secs(2);
/// How often to look whether uploads that are open at the origin have ended here.
const UPLOADS_EVERY: Duration = Duration::from_secs(600);
/// How long to wait when the origin did not abort one.
const SWEEP_AGAIN: Duration = Duration::from_secs(15);
/// The longest sleep: the clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What a pass through a bucket came to.
#[derive(Debug, Default)]
struct Pass {
    repaired: usize,
    /// Attempts that failed because the origin could not be reached, since the last that did not.
    away: usize,
    /// When to come again.
    next: Option<Timestamp>,
}

impl Pass {
    fn come_again(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Shadow {
    /// Finds what an earlier process left half-done, and starts the worker that repairs it.
    pub async fn start(&self) -> Result<()> {
        self.0.keeps.store(true, Ordering::SeqCst);
        let mut after: Option<String> = None;
        loop {
            let buckets = self.0.catalog.buckets(None, after.as_deref(), PAGE).await?;
            for bucket in &buckets {
                self.start_bucket(bucket).await?;
            }
            match buckets.last() {
                Some(last) if buckets.len() == PAGE => after = Some(last.name.to_string()),
                _ => break,
            }
        }
        let shadow = self.clone();
        self.work(async move { shadow.repair_for_ever().await });
        self.save_counts_in_the_background();
        let shadow = self.clone();
        self.work(async move { shadow.sweep_for_ever().await });
        Ok(())
    }

    /// What is damaged of one bucket is told, and keeps neither the rest of it nor the others from starting.
    async fn start_bucket(&self, bucket: &Bucket) -> Result<()> {
        if bucket.settings.shadow.is_none() {
            if let Err(error) = self.drop_rows(bucket).await {
                tracing::warn!(bucket = %bucket.name, error = ?error, "what an earlier run left behind stays");
            }
            return Ok(());
        }
        self.start_jobs(bucket).await?;
        self.take_up_orders(bucket);
        // Known from now on, to the metrics for one.
        self.stats(bucket);
        match self.has_work(bucket).await {
            Ok(false) => {}
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            _ => self.0.repairs.look_at(&bucket.name),
        }
        Ok(())
    }

    /// Runs `worker` until the server stops.
    pub(crate) fn work(&self, worker: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.0.stopping.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = worker => {}
            }
        });
    }

    async fn has_work(&self, bucket: &Bucket) -> Result<bool> {
        let uploads = self.native().meta().scan(bucket.partition, key::all_origin_uploads(), 1, Projection::Head).await?;
        Ok(!uploads.is_empty() || !self.pending_repairs(bucket, 1).await?.is_empty())
    }

    async fn repair_for_ever(&self) {
        let mut passes: FuturesUnordered<BoxFuture<'_, (BucketName, Option<Timestamp>)>> = FuturesUnordered::new();
        let mut running = BTreeSet::new();
        loop {
            let now = self.now();
            for name in self.0.repairs.take_due(now, &running) {
                running.insert(name.clone());
                passes.push(Box::pin(async move {
                    let next = self.pass(&name).await;
                    (name, next)
                }));
            }
            let sleep = self.0.repairs.next_due(&running).map_or(SLEEP_MAX, |due| until(self.now(), due).min(SLEEP_MAX));
            tokio::select! {
                biased;
                Some((name, next)) = passes.next() => {
                    running.remove(&name);
                    if let Some(next) = next {
                        self.0.repairs.look_again(&name, next);
                    }
                }
                () = self.0.repairs.changed.notified() => {}
                () = self.0.stats.back.notified() => self.note_origins_that_are_back(),
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    fn note_origins_that_are_back(&self) {
        for partition in self.0.repairs.troubled() {
            if self.0.stats.has_come_back(partition) {
                self.0.repairs.origin_is_back(partition, self.now());
            }
        }
    }

    /// Repairs what is due in a bucket. Tells when to come again.
    async fn pass(&self, name: &BucketName) -> Option<Timestamp> {
        let mut pass = Pass::default();
        match self.pass_through(name, &mut pass).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => return None,
            Err(error) => {
                tracing::warn!(bucket = %name, error = ?error, "repairs are put off");
                pass.come_again(self.now().plus(REST));
            }
        }
        if pass.repaired > 0 {
            tracing::info!(bucket = %name, keys = pass.repaired, "repaired");
        }
        pass.next
    }

    async fn pass_through(&self, name: &BucketName, pass: &mut Pass) -> Result<()> {
        let bucket = self.0.catalog.bucket(name).await?;
        let Some(origin) = self.origin(&bucket)? else { return Ok(()) };
        let cx = RequestContext { request_id: "repair".to_owned(), ..RequestContext::default() };
        let mut range = key::write_intent_range("");
        while let Some(page) = self.page_of_repairs(&bucket, &mut range).await? {
            let now = self.now();
            let keys = page.found.into_iter().map(|(key, _)| key).filter(|key| match self.0.repairs.trouble(bucket.partition, key) {
                Some(trouble) if trouble.next > now => {
                    pass.come_again(trouble.next);
                    false
                }
                _ => true,
            });
            let keys: Vec<_> = keys.collect();
            self.repair_keys(&cx, &bucket, &origin, keys, pass).await;
            if pass.away >= GIVE_UP_AFTER {
                pass.come_again(self.now().plus(REST));
                return Ok(());
            }
        }
        let swept = self.sweep_origin_uploads(&cx, &bucket, &origin).await?;
        if swept.open > 0 {
            pass.come_again(self.now().plus(UPLOADS_EVERY));
        }
        if let Some(error) = swept.failure {
            tracing::warn!(bucket = %name, error = ?error, "uploads that are over here stay unfinished at the origin for now");
            pass.come_again(self.now().plus(SWEEP_AGAIN));
        }
        Ok(())
    }

    /// Repairs keys, several at a time; breaks off when the origin is away.
    async fn repair_keys(&self, cx: &RequestContext, bucket: &Bucket, origin: &Arc<dyn Origin>, keys: Vec<ObjectKey>, pass: &mut Pass) {
        let repairs = keys.into_iter().map(|key| {
            let repair = async move {
                let _lock = self.0.locks.lock(bucket.partition, &key).await;
                let repaired = self.repair(cx, bucket, &key, origin).await;
                (key, repaired)
            };
            Box::pin(repair) as BoxFuture<'_, (ObjectKey, Result<(), Error>)>
        });
        let mut repairs = stream::iter(repairs).buffer_unordered(REPAIRS_AT_ONCE);
        while let Some((key, repaired)) = repairs.next().await {
            match repaired {
                Ok(()) => {
                    self.0.repairs.mended(bucket.partition, &key);
                    (pass.repaired, pass.away) = (pass.repaired + 1, 0);
                }
                // One that cannot be repaired must not keep the others waiting.
                Err(error) => {
                    tracing::debug!(bucket = %bucket.name, %key, error = ?error, "a key cannot be repaired yet");
                    pass.away = if error.kind() == ErrorKind::OriginUnavailable { pass.away + 1 } else { 0 };
                    pass.come_again(self.0.repairs.failed(bucket, &key, &error, self.now()));
                }
            }
            if pass.away >= GIVE_UP_AFTER {
                return;
            }
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.native().clock().now()
    }
}

fn until(now: Timestamp, due: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(due.as_millis().saturating_sub(now.as_millis())).unwrap_or(0))
}
