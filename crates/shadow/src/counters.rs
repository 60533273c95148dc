//! Counts that survive restarts: rows `c/shadow/<generation>/<name>`, added to in the background.
//!
//! Counting itself only adds in memory. Every second what has grown is added to the rows of its bucket, in one batch behind the bucket's fence,
//! and once more when the server stops. A crash forgets what was counted in its last second. Of several processes that share the store each adds
//! what it has counted to the same rows.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use umbra_core::{BucketName, ErrorKind, Result};
use umbra_meta::{Batch, Entry, Expect, KeyRange, Partition, Projection, counter_value, is_outcome_unknown, key};
use umbra_store::Bucket;

use crate::{
    Shadow,
    stats::{ShadowCounts, Stats},
};

/// How often counts that have grown are saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// More counts than there are.
const PAGE: usize = 1000;

/// What the names of the counters of one generation begin with.
fn prefix(generation: u64) -> String {
    format!("shadow/{generation}/")
}

/// The counters of every generation.
pub(crate) fn all_counters() -> KeyRange {
    key::counter_range("shadow/")
}

/// The generation of the shadow that counted in `row`.
pub(crate) fn generation_of(row: &Entry) -> Option<u64> {
    key::parse_counter(&row.key)?.strip_prefix("shadow/")?.split_once('/')?.0.parse().ok()
}

/// The row of the count called `name`.
pub(crate) fn row(generation: u64, name: &str) -> Vec<u8> {
    key::counter(&format!("{}{name}", prefix(generation)))
}

impl Shadow {
    /// Saves counts until the server stops, if that was not begun before. What is counted while it stops is saved by [`Shadow::save_counts`] at its end.
    pub(crate) fn save_counts_in_the_background(&self) {
        if self.0.saves.swap(true, Ordering::SeqCst) {
            return;
        }
        let shadow = self.clone();
        self.work(async move {
            loop {
                tokio::time::sleep(SAVE_INTERVAL).await;
                shadow.save_counts().await;
            }
        });
    }

    /// Saves what every bucket has counted. What cannot be saved now is left for the next time.
    pub async fn save_counts(&self) {
        for (name, stats) in self.0.stats.all() {
            if let Err(error) = self.save_counts_of(&name, &stats).await {
                tracing::debug!(bucket = %name, error = ?error, "counts are saved later");
            }
        }
    }

    async fn save_counts_of(&self, name: &BucketName, stats: &Arc<Stats>) -> Result<()> {
        let _saving = stats.saving.lock().await;
        let grown: Vec<_> = stats.each().map(|(name, count)| (name, count, count.unsaved())).filter(|(_, _, by)| *by > 0).collect();
        if grown.is_empty() {
            return Ok(());
        }
        let bucket = match self.0.catalog.bucket(name).await {
            Ok(bucket) => Some(bucket).filter(|bucket| bucket.settings.generation == stats.generation),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let Some(bucket) = bucket else {
            // Its shadow ended, and a request that had begun before counted on: for nobody.
            self.0.stats.end(stats);
            return Ok(());
        };
        let fence = Batch::new(bucket.partition).check(key::settings(), Expect::Revision(bucket.revision));
        let batch = grown.iter().fold(fence, |batch, (name, _, by)| batch.add(row(stats.generation, name), by.cast_signed()));
        match self.native().meta().commit(batch).await.map_err(umbra_core::Error::from) {
            // When it is not known whether they landed, they are taken to have: a little too few is better than counted twice.
            Err(error) if !is_outcome_unknown(&error) => {
                if error.kind() == ErrorKind::Conflict {
                    self.0.catalog.refresh(name).await?;
                }
                Err(error)
            }
            _ => {
                grown.iter().for_each(|(_, count, by)| count.save(*by));
                Ok(())
            }
        }
    }

    /// What the shadow of `bucket` did in this generation.
    pub(crate) async fn counts(&self, bucket: &Bucket) -> Result<ShadowCounts> {
        self.counts_of(bucket.partition, &self.stats(bucket)).await
    }

    pub(crate) async fn counts_of(&self, partition: Partition, stats: &Stats) -> Result<ShadowCounts> {
        let _saving = stats.saving.lock().await;
        let mut counts = ShadowCounts::default();
        let prefix = prefix(stats.generation);
        for row in self.native().meta().scan(partition, key::counter_range(&prefix), PAGE, Projection::Head).await? {
            let name = key::parse_counter(&row.key).and_then(|name| name.strip_prefix(&prefix));
            if let (Some(name), Some(value)) = (name, counter_value(&row.head)) {
                counts.add(name, u64::try_from(value).unwrap_or(0));
            }
        }
        stats.each().for_each(|(name, count)| counts.add(name, count.unsaved()));
        Ok(counts)
    }
}
