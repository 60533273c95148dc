//! Empties the partitions of destroyed buckets.
//!
//! A row `D/<partition>` in the root partition orders it ([`Catalog::destroy_bucket`] and [`Catalog::delete_bucket`] write it when
//! the bucket loses its name). The order in which things go makes every crash harmless:
//!
//! 1. The row `b`. Every batch of every writer checks it, so from here on nothing is added, by nobody.
//! 2. Page by page: the blobs that the rows name, then the rows. A row outlives its blobs; freeing a blob twice is no error.
//! 3. The order itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Notify;
use umbra_blob::{BlobId, BlobStore};
use umbra_core::{Error, ErrorKind, Result};
use umbra_meta::{Batch, Entry, KeyRange, MetaStore, Partition, Projection, key, key::root};

use crate::{
    Catalog,
    record::{self, destruction::DestructionRecord},
};

/// Orders that are read at once.
const PAGE_ORDERS: usize = 64;
/// Rows that go at once. The record of an object of ten thousand parts takes some hundred KiB.
const PAGE_ROWS: usize = 128;
/// Blobs that are deleted at once.
const DELETES_AT_ONCE: usize = 8;
/// How long to wait after a failure: at first, and at most.
const RETRY_DELAY_MIN: Duration = Duration::from_secs(1);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// The worker that frees what destroyed buckets held.
pub struct Destroyer {
    meta: Arc<dyn MetaStore>,
    blobs: Arc<dyn BlobStore>,
    destroyed: Arc<Notify>,
    stopping: AtomicBool,
}

impl Destroyer {
    /// The worker for the buckets that `catalog` destroys.
    pub fn new(catalog: &Catalog, blobs: Arc<dyn BlobStore>) -> Self {
        let (meta, destroyed) = (Arc::clone(catalog.meta()), Arc::clone(catalog.destroyed()));
        Self { meta, blobs, destroyed, stopping: AtomicBool::new(false) }
    }

    /// Carries out every order there is and every one that comes, until [`Destroyer::stop`].
    pub async fn run(&self) {
        let mut delay = RETRY_DELAY_MIN;
        while !self.is_stopping() {
            match self.destroy_all().await {
                Ok(_) => {
                    delay = RETRY_DELAY_MIN;
                    self.destroyed.notified().await;
                }
                Err(error) if error.kind() == ErrorKind::Cancelled => {}
                Err(error) => {
                    tracing::warn!(?error, "a destroyed bucket is not yet emptied; trying again");
                    // A new order is a reason to try at once; running out of time is not.
                    let _woken = tokio::time::timeout(delay, self.destroyed.notified()).await;
                    delay = (delay * 2).min(RETRY_DELAY_MAX);
                }
            }
        }
    }

    /// Makes [`Destroyer::run`] return after the page it is at. What is left is done at the next start.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.destroyed.notify_one();
    }

    /// Carries out every order there is, and tells how many. One that fails does not hold up the others.
    pub async fn destroy_all(&self) -> Result<usize> {
        let (mut done, mut failure) = (0, None);
        let mut range = root::destroying_range();
        loop {
            let orders = self.meta.scan(Partition::ROOT, range.clone(), PAGE_ORDERS, Projection::Full).await?;
            let Some(last) = orders.last() else { break };
            range = range.after(&last.key);
            for order in &orders {
                match self.carry_out(order).await {
                    Ok(()) => done += 1,
                    Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                    Err(error) => failure = Some(error),
                }
            }
        }
        failure.map_or(Ok(done), Err)
    }

    async fn carry_out(&self, order: &Entry) -> Result<()> {
        let partition = root::parse_destroying(&order.key).ok_or_else(|| record::corrupt("a destruction", "its key names no partition"))?;
        self.meta.commit(Batch::new(partition).delete(key::settings())).await?;
        let rows = self.empty(partition).await?;
        self.meta.commit(Batch::new(Partition::ROOT).delete(order.key.to_vec())).await?;
        let name = DestructionRecord::decode(&order.body).map(|order| order.name).unwrap_or_default();
        tracing::info!(bucket = name, partition = partition.0, rows, "a destroyed bucket is emptied");
        Ok(())
    }

    /// Frees everything that stands in `partition`, and tells how many rows that were.
    async fn empty(&self, partition: Partition) -> Result<usize> {
        let mut range = KeyRange::prefix(b"");
        let mut rows = 0;
        loop {
            if self.is_stopping() {
                return Err(Error::new(ErrorKind::Cancelled, "the server is stopping"));
            }
            let page = self.meta.scan(partition, range.clone(), PAGE_ROWS, Projection::Full).await?;
            let Some(last) = page.last() else { return Ok(rows) };
            range = range.after(&last.key);
            rows += page.len();
            self.delete_blobs(&page).await?;
            let batch = page.iter().fold(Batch::new(partition), |batch, entry| batch.delete(entry.key.to_vec()));
            self.meta.commit(batch).await?;
        }
    }

    async fn delete_blobs(&self, page: &[Entry]) -> Result<()> {
        let mut blobs = Vec::new();
        for entry in page {
            match blobs_of(entry) {
                Ok(named) => blobs.extend(named),
                // Whatever it named can no longer be found out; the bucket must go all the same.
                Err(error) => {
                    tracing::error!(?error, key = %entry.key.escape_ascii(), "a destroyed bucket held a damaged record: its content stays behind");
                }
            }
        }
        let delete = |blob: BlobId| async move { self.blobs.delete(&blob).await.map_err(Error::from) };
        stream::iter(blobs).map(delete).buffer_unordered(DELETES_AT_ONCE).try_collect().await
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Destroyer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destroyer").field("stopping", &self.stopping).finish_non_exhaustive()
    }
}

/// The blobs that `entry` names.
fn blobs_of(entry: &Entry) -> Result<Vec<BlobId>> {
    let key = &entry.key[..];
    if key::parse_object(key).is_some() || key::parse_version(key).is_some() {
        let object = record::object::decode(entry)?;
        Ok(object.content.extents().iter().map(|extent| extent.blob.clone()).collect())
    } else if key::parse_part(key).is_some() {
        let part = record::part::decode(entry)?;
        Ok(part.extents.into_iter().map(|extent| extent.blob).collect())
    } else if key::parse_piece(key).is_some() {
        Ok(vec![record::piece::decode_piece(&entry.body)?.0.blob])
    } else if let Some((_, blob)) = key::parse_reclaim(key).filter(|(_, blob)| blob.len() <= BlobId::BYTES_MAX) {
        Ok(vec![BlobId::from_bytes(blob)])
    } else {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests;
