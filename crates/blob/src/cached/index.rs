//! Which blocks are kept, and which go when there are too many.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use prometheus_client::metrics::counter::Counter;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter, sync};
use umbra_core::ByteRange;
use xxhash_rust::xxh3::xxh3_128;

use crate::{BlobId, BlobStore, DiskBlobStore, Result};

/// What a block counts at least: it bounds the index, which takes some 150 bytes of memory for each, to a half per cent of what is kept.
const WEIGHT_MIN: u64 = 32 * 1024;

/// Names a block. A hash stands for the identifier, which is random and longer than it need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    blob: u128,
    block: u64,
}

impl Key {
    pub(super) fn new(id: &BlobId, block: u64) -> Self {
        Self { blob: xxh3_128(id.as_bytes()), block }
    }
}

/// A block that is kept; its bytes go with the last one who holds this.
pub(super) struct Held {
    disk: DiskBlobStore,
    id: BlobId,
    len: u64,
}

impl Held {
    /// Keeps `block`.
    pub(super) async fn store(disk: &DiskBlobStore, block: Vec<Bytes>) -> Result<Arc<Self>> {
        let stored = disk.put(block).await?;
        Ok(Arc::new(Self { disk: disk.clone(), id: stored.id, len: stored.size }))
    }

    /// Reads a part of it, verified.
    pub(super) async fn read(&self, part: ByteRange) -> Result<Vec<Bytes>> {
        self.disk.read(&self.id, part).await?.try_collect().await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.delete_in_background(&self.id);
    }
}

/// How a block counts.
#[derive(Clone)]
pub(super) struct Weight;

impl Weighter<Key, Arc<Held>> for Weight {
    fn weight(&self, _: &Key, held: &Arc<Held>) -> u64 {
        held.len.max(WEIGHT_MIN)
    }
}

/// Counts what is displaced.
#[derive(Clone)]
pub(super) struct Displaced(Counter);

impl Lifecycle<Key, Arc<Held>> for Displaced {
    /// They are dropped with it, when no lock is held.
    type RequestState = Vec<Arc<Held>>;

    fn on_evict(&self, state: &mut Self::RequestState, _: Key, held: Arc<Held>) {
        self.0.inc();
        state.push(held);
    }
}

/// The blocks that are kept.
pub(super) struct Index(sync::Cache<Key, Arc<Held>, Weight, DefaultHashBuilder, Displaced>);

/// The right, and duty, to bring a block in: everybody else who wants it waits until this is filled or dropped.
pub(super) type Vacancy<'a> = sync::PlaceholderGuard<'a, Key, Arc<Held>, Weight, DefaultHashBuilder, Displaced>;

impl Index {
    /// An index of up to `bytes` bytes in blocks of `block_bytes`.
    pub(super) fn new(bytes: u64, block_bytes: u64, evictions: Counter) -> Self {
        let blocks = usize::try_from(bytes / block_bytes).unwrap_or(usize::MAX).max(1);
        Self(sync::Cache::with(blocks, bytes, Weight, DefaultHashBuilder::default(), Displaced(evictions)))
    }

    /// The block, if it is kept.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Held>> {
        self.0.get(key)
    }

    /// The block, once whoever brings it in has done so; or the duty to.
    pub(super) async fn get_or_vacancy(&self, key: &Key) -> Result<Arc<Held>, Vacancy<'_>> {
        self.0.get_value_or_guard_async(key).await
    }

    pub(super) fn insert(&self, key: Key, held: Arc<Held>) {
        self.0.insert(key, held);
    }

    /// Forgets a block that turned out to be damaged, unless it is another by now.
    pub(super) fn discard(&self, key: &Key, held: &Arc<Held>) {
        self.0.remove_if(key, |kept| Arc::ptr_eq(kept, held));
    }

    /// Forgets all of a blob's `blocks` blocks.
    pub(super) fn forget(&self, id: &BlobId, blocks: u64) {
        let blob = Key::new(id, 0).blob;
        if blocks <= self.0.len() as u64 {
            (0..blocks).for_each(|block| drop(self.0.remove(&Key { blob, block })));
        } else {
            // An identifier may claim any length.
            self.0.retain(|key, _| key.blob != blob);
        }
    }

    /// What is kept counts.
    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}
