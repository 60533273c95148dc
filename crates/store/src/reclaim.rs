//! Reclaims blobs that no record names any more.
//!
//! Whoever drops the last reference to a blob writes a row `g/<due><blob>` in the same batch ([`umbra_meta::key::reclaim`]). Once it is
//! due the [`Reclaimer`] deletes the blob, then the row: a crash in between repeats the delete, which is no error. The grace period
//! lets readers finish who took the record before it changed; content that is being read from several blobs is left alone however
//! long that takes, also in another process that tells of it ([`ReclaimHandle::note_pinned`]). The worker learns of rows by [`ReclaimHandle::nudge`] and, at its start and now and then, by looking into every partition:
//! other processes may have written some, and ended before they said so.

mod handle;

use std::{collections::HashMap, error::Error as _, fmt, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream};
use parking_lot::Mutex;
use tokio::time::Instant;
use umbra_blob::{BlobId, BlobStore};
use umbra_core::{Clock, Error, ErrorKind, Result, Timestamp};
use umbra_meta::{Batch, Entry, MetaStore, Partition, Projection, key};

pub use self::handle::Pin;
pub use self::handle::ReclaimHandle;

/// Rows looked at by one scan, and deleted by one batch.
const BATCH_ROWS: usize = 256;
/// Blobs deleted at a time.
const CONCURRENCY: usize = 8;
/// How soon to look again at blobs that are still being read.
const PINNED_RETRY: Duration = Duration::from_secs(30);
/// The first wait after a failure; it doubles up to the last.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_LAST: Duration = Duration::from_secs(300);
/// How often every partition is looked into.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// The longest sleep: the clock may be set while the worker sleeps.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Tells every partition that may hold something to reclaim.
pub type PartitionSource = Box<dyn Fn() -> BoxFuture<'static, Result<Vec<Partition>>> + Send + Sync>;

/// The background worker that reclaims blobs.
pub struct Reclaimer {
    meta: Arc<dyn MetaStore>,
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    handle: ReclaimHandle,
    partitions: PartitionSource,
    /// How often each partition failed in a row.
    failures: Mutex<HashMap<Partition, u32>>,
}

impl Reclaimer {
    /// Makes the worker that listens to `handle`.
    pub fn new(
        meta: Arc<dyn MetaStore>,
        blobs: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
        handle: ReclaimHandle,
        partitions: PartitionSource,
    ) -> Self {
        Self { meta, blobs, clock, handle, partitions, failures: Mutex::default() }
    }

    /// Works until [`ReclaimHandle::stop`]; finishes the batch at hand.
    pub async fn run(self) {
        let (mut known, mut looked) = (false, Instant::now());
        while !self.handle.is_stopping() {
            if let Some(rest) = self.handle.listens_for() {
                self.handle.wait(rest).await;
                continue;
            }
            if !known || looked.elapsed() > LOOK_EVERY {
                (known, looked) = (self.learn_partitions().await, Instant::now());
            }
            self.reclaim_due().await;
            let wait = if known { SLEEP_MAX } else { BACKOFF_FIRST };
            let next = self.handle.next_due().map_or(wait, |due| until(self.clock.now(), due));
            self.handle.wait(next.min(wait)).await;
        }
    }

    /// Looks at every partition soon. Tells whether they could be listed.
    pub async fn learn_partitions(&self) -> bool {
        match (self.partitions)().await {
            Ok(partitions) => {
                partitions.into_iter().for_each(|partition| self.handle.nudge(partition, Timestamp::default()));
                self.failures.lock().remove(&Partition::ROOT);
                true
            }
            Err(error) => {
                self.note_failure(Partition::ROOT, &error);
                false
            }
        }
    }

    /// Reclaims what is due now in the partitions that were nudged. Tells how many blobs went.
    pub async fn reclaim_due(&self) -> usize {
        let mut reclaimed = 0;
        for partition in self.handle.take_due(self.clock.now()) {
            match self.drain(partition, &mut reclaimed).await {
                Ok(next) => {
                    if self.failures.lock().remove(&partition).is_some() {
                        tracing::info!(partition = partition.0, "reclamation works again");
                    }
                    next.into_iter().for_each(|due| self.handle.nudge(partition, due));
                }
                Err(error) => {
                    let wait = self.note_failure(partition, &error);
                    self.handle.nudge(partition, self.clock.now().plus(wait));
                }
            }
        }
        reclaimed
    }

    /// Counts a failure and logs the first in a row. Tells how long to wait.
    fn note_failure(&self, partition: Partition, error: &Error) -> Duration {
        let mut failures = self.failures.lock();
        let count = failures.entry(partition).or_default();
        if *count == 0 {
            tracing::warn!(partition = partition.0, %error, cause = error.source(), "blobs cannot be reclaimed; trying again");
        }
        *count = count.saturating_add(1);
        BACKOFF_FIRST.saturating_mul(1 << (*count - 1).min(16)).min(BACKOFF_LAST)
    }

    /// Reclaims everything of `partition` that is due. Tells when the next is due.
    async fn drain(&self, partition: Partition, reclaimed: &mut usize) -> Result<Option<Timestamp>> {
        let began = self.clock.now();
        let mut due = key::reclaim_due(millis(began));
        let mut failure = None;
        loop {
            let rows = self.meta.scan(partition, due.clone(), BATCH_ROWS, Projection::Head).await?;
            let Some(last) = rows.last() else { break };
            due = due.after(&last.key);
            let (gone, failed) = self.delete_blobs(rows).await;
            failure = failure.or(failed);
            if !gone.is_empty() {
                *reclaimed += gone.len();
                let batch = gone.into_iter().fold(Batch::new(partition), |batch, row| batch.delete(row.key));
                self.meta.commit(batch).await?;
            }
            if self.handle.is_stopping() {
                break;
            }
        }
        match failure {
            Some(error) => Err(error),
            None => self.next_due(partition, began).await,
        }
    }

    /// Deletes the blobs of `rows` that nobody reads. Gives the rows that are done with, and the first failure.
    async fn delete_blobs(&self, rows: Vec<Entry>) -> (Vec<Entry>, Option<Error>) {
        let pinned = self.handle.left_alone();
        let outcomes = stream::iter(rows).map(|row| {
            let blob = key::parse_reclaim(&row.key).map(|(_, blob)| blob).filter(|blob| blob.len() <= BlobId::BYTES_MAX);
            let blob = blob.map(BlobId::from_bytes).filter(|blob| !pinned.contains(blob));
            async move {
                match blob {
                    Some(blob) => self.blobs.delete(&blob).await.map(|()| Some(row)),
                    None => Ok(None),
                }
            }
        });
        let mut outcomes = outcomes.buffer_unordered(CONCURRENCY);
        let (mut gone, mut failure) = (Vec::new(), None);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(row) => gone.extend(row),
                Err(error) => failure = failure.or_else(|| Some(error.into())),
            }
        }
        (gone, failure)
    }

    /// When the first row that is left is due, or is to be looked at again. What was due when the look `began` is left because it is read.
    async fn next_due(&self, partition: Partition, began: Timestamp) -> Result<Option<Timestamp>> {
        let first = self.meta.scan(partition, key::reclaim_range(), 1, Projection::Head).await?.pop();
        let Some(first) = first else { return Ok(None) };
        let (due, _) = key::parse_reclaim(&first.key)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("{} is no reclamation", first.key.escape_ascii())))?;
        let due = Timestamp::from_millis(i64::try_from(due).unwrap_or(i64::MAX));
        Ok(Some(if due <= began && !self.handle.is_stopping() { self.clock.now().plus(PINNED_RETRY) } else { due }))
    }
}

impl fmt::Debug for Reclaimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reclaimer").field("handle", &self.handle).finish_non_exhaustive()
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0)
}

fn until(now: Timestamp, due: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(due.as_millis().saturating_sub(now.as_millis())).unwrap_or(0))
}
