//! A metadata store that keeps a read waiting, so that something can happen behind it.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_meta::{Batch, Committed, DelimPage, Entry, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection, Result, ScanDelim};

/// A read that waits.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// Told once it has looked.
    pub(crate) has_come: Notify,
    /// Lets it go on.
    pub(crate) may_go: Notify,
}

/// The store.
#[derive(Debug, Default)]
pub(crate) struct HeldMeta {
    inner: MemoryMetaStore,
    held: Mutex<Option<(Vec<u8>, Arc<Hold>)>>,
}

impl HeldMeta {
    /// Keeps the next read of `row` waiting once it has looked.
    pub(crate) fn hold(&self, row: &[u8]) -> Arc<Hold> {
        let hold = Arc::new(Hold::default());
        *self.held.lock() = Some((row.to_vec(), Arc::clone(&hold)));
        hold
    }
}

#[async_trait]
impl MetaStore for HeldMeta {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        let found = self.inner.multi_get(partition, keys).await;
        let met = self.held.lock().take_if(|(row, _)| keys.contains(&row.as_slice()));
        if let Some((_, hold)) = met {
            hold.has_come.notify_one();
            hold.may_go.notified().await;
        }
        found
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        self.inner.multi_scan(partition, ranges, projection).await
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        self.inner.scan_delim(partition, scan).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.inner.commit(batch).await
    }
}
