//! Records in memory whose store can be stopped at a point of the test's choice.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use umbra_meta::{
    Batch, Committed, DelimPage, Entry, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection, Result, ScanDelim, Write,
};

use crate::world::World;

/// What the store is asked for.
pub(crate) enum Asked<'a> {
    /// Rows, all at one moment.
    Rows(&'a [&'a [u8]]),
    /// A range.
    Range(&'a KeyRange),
    /// A commit that is yet to be applied.
    Commit(&'a Batch),
    /// A commit that is applied.
    Committed(&'a Batch),
}

impl Asked<'_> {
    /// Whether it reads any row that begins so.
    pub(crate) fn reads(&self, family: &[u8]) -> bool {
        match self {
            Self::Rows(keys) => keys.iter().any(|key| key.starts_with(family)),
            Self::Range(range) => range.start.starts_with(family),
            _ => false,
        }
    }
}

/// Whether a batch puts an intent.
pub(crate) fn journals(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| matches!(write, Write::Put { key, .. } if key.starts_with(b"w/")))
}

/// Whether a batch ends an intent.
pub(crate) fn settles(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")))
}

/// Whether a batch puts or deletes an object.
pub(crate) fn touches_object(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| matches!(write, Write::Put { key, .. } | Write::Delete { key } if key.starts_with(b"o/")))
}

/// One request that is held.
pub(crate) struct Hold {
    gate: Semaphore,
    arrived: AtomicUsize,
}

impl Hold {
    /// Waits until the request is there.
    pub(crate) async fn arrived(&self, world: &World) {
        world.eventually(async || (self.arrived.load(Ordering::SeqCst) > 0).then_some(())).await;
    }

    /// Lets it go on.
    pub(crate) fn release(&self) {
        self.gate.close();
    }
}

type Rule = Box<dyn FnMut(&Asked<'_>) -> bool + Send>;

/// The store.
#[derive(Default)]
pub(crate) struct HeldMeta {
    inner: MemoryMetaStore,
    rules: Mutex<Vec<(Rule, Arc<Hold>)>>,
}

impl HeldMeta {
    /// Holds the `nth` request from now, counted from 0, that `is_meant`. Reads are held once they have looked.
    pub(crate) fn hold(&self, mut nth: usize, mut is_meant: impl FnMut(&Asked<'_>) -> bool + Send + 'static) -> Arc<Hold> {
        let hold = Arc::new(Hold { gate: Semaphore::new(0), arrived: AtomicUsize::new(0) });
        let rule = move |asked: &Asked<'_>| {
            let is_met = is_meant(asked) && nth == 0;
            nth = if is_met { usize::MAX } else { nth - usize::from(is_meant(asked)) };
            is_met
        };
        self.rules.lock().push((Box::new(rule), hold.clone()));
        hold
    }

    async fn pass(&self, asked: Asked<'_>) {
        let met = self.rules.lock().iter_mut().filter_map(|(rule, hold)| rule(&asked).then(|| hold.clone())).collect::<Vec<_>>();
        for hold in met {
            hold.arrived.fetch_add(1, Ordering::SeqCst);
            // An error is what a closed gate gives.
            let _ = hold.gate.acquire().await;
        }
    }
}

#[async_trait]
impl MetaStore for HeldMeta {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        let found = self.inner.multi_get(partition, keys).await;
        self.pass(Asked::Rows(keys)).await;
        found
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        let asked: Vec<_> = ranges.iter().map(|(range, _)| range.clone()).collect();
        let found = self.inner.multi_scan(partition, ranges, projection).await;
        for range in &asked {
            self.pass(Asked::Range(range)).await;
        }
        found
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        let range = KeyRange { start: scan.prefix.clone(), end: None };
        let found = self.inner.scan_delim(partition, scan).await;
        self.pass(Asked::Range(&range)).await;
        found
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.pass(Asked::Commit(&batch)).await;
        let committed = self.inner.commit(batch.clone()).await;
        self.pass(Asked::Committed(&batch)).await;
        committed
    }
}

impl fmt::Debug for HeldMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldMeta")
    }
}
