use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all};
use parking_lot::Mutex;
use tempfile::TempDir;
use umbra_core::ByteRange;

use super::{CacheMetrics, CacheSettings, CachedBlobStore};
use crate::{BlobId, BlobOperation, BlobStore, Error, FailingBlobStore, MemoryBlobStore, Result, suite};

const BLOCK: u64 = 64 * 1024;

struct World {
    dir: TempDir,
    memory: MemoryBlobStore,
    store: CachedBlobStore,
    metrics: CacheMetrics,
    /// The reads that came through.
    asked: Arc<Mutex<Vec<BlobOperation>>>,
    fails: Arc<Mutex<bool>>,
}

impl World {
    async fn new(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (memory, asked, fails) = (MemoryBlobStore::new(), Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(false)));
        let (seen, failing) = (Arc::clone(&asked), Arc::clone(&fails));
        let inner = FailingBlobStore::new(Arc::new(memory.clone()), move |operation| {
            if let BlobOperation::Read { .. } = operation {
                seen.lock().push(operation.clone());
            }
            failing.lock().then(|| Error::from_io("fail as asked")(io::ErrorKind::Other.into()))
        });
        let settings = CacheSettings { bytes, block_bytes: BLOCK, written_bytes_max: 4 * BLOCK, reserve_bytes: Some(0) };
        let metrics = CacheMetrics::default();
        let store = CachedBlobStore::open(Arc::new(inner), dir.path().join("cache"), settings, metrics.clone()).await.unwrap();
        Self { dir, memory, store, metrics, asked, fails }
    }

    /// A blob that the cache has not seen.
    async fn cold(&self, seed: u64, size: usize) -> (BlobId, Vec<u8>) {
        let bytes = suite::content(seed, size);
        (self.memory.put(vec![bytes.clone().into()]).await.unwrap().id, bytes)
    }

    async fn read(&self, id: &BlobId, start: u64, end: u64) -> Result<Vec<u8>> {
        suite::read(&self.store, id, ByteRange::new(start, end)).await
    }

    /// How often the engine was asked since the last time.
    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock()).len()
    }
}

#[tokio::test]
async fn a_block_is_fetched_once_and_a_run_of_them_in_one_go() {
    let world = World::new(64 * BLOCK).await;
    let size = 10 * BLOCK + 17;
    let (id, bytes) = world.cold(1, size as usize).await;
    assert!(world.read(&id, 0, size).await.unwrap() == bytes);
    assert_eq!(world.asked(), 1);
    assert_eq!(world.metrics.reads(), (0, 11));
    assert!(world.read(&id, 0, size).await.unwrap() == bytes);
    assert!(world.read(&id, 5, size - 5).await.unwrap() == bytes[5..bytes.len() - 5]);
    assert_eq!(world.asked(), 0);
    assert_eq!(world.metrics.reads(), (22, 11));

    let (id, bytes) = world.cold(2, size as usize).await;
    let (start, end) = (3 * BLOCK + 10, 3 * BLOCK + 20);
    assert!(world.read(&id, start, end).await.unwrap() == bytes[start as usize..end as usize]);
    assert_eq!(world.metrics.reads(), (22, 12), "one block, not all");
    // What is before it, and what is behind.
    assert!(world.read(&id, 0, size).await.unwrap() == bytes);
    assert_eq!(world.asked(), 3);
    assert_eq!(world.metrics.reads(), (23, 22));
}

#[tokio::test]
async fn what_is_written_is_kept_unless_it_is_large() {
    let world = World::new(64 * BLOCK).await;
    for (size, kept) in [(1, true), (BLOCK, true), (3 * BLOCK + 5, true), (4 * BLOCK, true), (4 * BLOCK + 1, false)] {
        let bytes = suite::content(size, size as usize);
        let put = world.store.put(bytes.chunks(50_000).map(Bytes::copy_from_slice).collect()).await.unwrap();
        let streamed = suite::write(&world.store, bytes.chunks(50_000).map(Bytes::copy_from_slice)).await.unwrap();
        for blob in [put, streamed] {
            assert!(world.read(&blob.id, 0, size).await.unwrap() == bytes);
            assert_eq!(world.asked(), usize::from(!kept), "{size}");
        }
    }
}

#[tokio::test]
async fn what_is_too_much_is_displaced_and_its_space_given_back() {
    let world = World::new(16 * BLOCK).await;
    for seed in 0..100 {
        let (id, bytes) = world.cold(seed, BLOCK as usize).await;
        assert!(world.read(&id, 0, BLOCK).await.unwrap() == bytes);
        assert!(world.store.cache.index.bytes() <= 16 * BLOCK);
    }
    assert!(world.metrics.evictions() >= 84);
    let given_back = async {
        while world.store.cache.disk.usage().await.unwrap().stored_bytes > 20 * BLOCK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), given_back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_block_share_one_fetch() {
    let world = Arc::new(World::new(64 * BLOCK).await);
    for round in 0..20 {
        let (id, bytes) = world.cold(round, BLOCK as usize).await;
        let readers = (0..16).map(|_| {
            let (world, id) = (Arc::clone(&world), id.clone());
            tokio::spawn(async move { world.read(&id, 0, BLOCK).await.unwrap() })
        });
        for found in join_all(readers).await {
            assert!(found.unwrap() == bytes);
        }
        assert_eq!(world.asked(), 1);
    }
}

/// A reader that fails, or leaves, hands the duty on.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_fails_fails_for_nobody_else() {
    let world = World::new(64 * BLOCK).await;
    let (id, bytes) = world.cold(1, 3 * BLOCK as usize).await;
    *world.fails.lock() = true;
    assert!(matches!(world.read(&id, 0, 10).await, Err(Error::Io { .. })));
    *world.fails.lock() = false;
    drop(world.store.read(&id, ByteRange::new(0, 3 * BLOCK)));
    let begun = world.store.read(&id, ByteRange::new(0, 3 * BLOCK)).await.unwrap();
    assert!(world.read(&id, 0, 3 * BLOCK).await.unwrap() == bytes);
    drop(begun);
    *world.fails.lock() = true;
    assert!(world.read(&id, 0, 3 * BLOCK).await.unwrap() == bytes, "all of it is here");
}

#[tokio::test]
async fn a_delete_takes_the_copies_along() {
    let world = World::new(64 * BLOCK).await;
    let (id, bytes) = world.cold(1, 3 * BLOCK as usize).await;
    assert!(world.read(&id, 0, 3 * BLOCK).await.unwrap() == bytes);
    let mut begun = world.store.read(&id, ByteRange::new(0, 3 * BLOCK)).await.unwrap();
    let first = begun.next().await.unwrap().unwrap();
    world.store.delete(&id).await.unwrap();
    assert!(matches!(world.read(&id, 0, 10).await, Err(Error::NotFound(_))));
    assert!(matches!(world.read(&id, 0, 0).await, Err(Error::NotFound(_))));
    let rest: Vec<Bytes> = begun.try_collect().await.unwrap();
    assert!([&first[..], &rest.concat()].concat() == bytes);
    let gone = async {
        while !world.memory.is_empty() || world.store.cache.index.bytes() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert!(matches!(world.read(&id, 0, 10).await, Err(Error::NotFound(_))));
}

/// Whatever becomes of the cache's files, what is read is what was written.
#[tokio::test]
async fn damaged_copies_are_fetched_again() {
    let world = World::new(64 * BLOCK).await;
    let (id, bytes) = world.cold(1, 3 * BLOCK as usize).await;
    assert!(world.read(&id, 0, 3 * BLOCK).await.unwrap() == bytes);
    assert_eq!(world.asked(), 1);
    let segment = std::fs::read_dir(world.dir.path().join("cache/seg")).unwrap().next().unwrap().unwrap().path();
    let intact = std::fs::read(&segment).unwrap();
    let mut flipped = intact.clone();
    flipped[70_000] ^= 1;
    for damaged in [flipped, intact[..100_000].to_vec(), vec![0; intact.len()], Vec::new()] {
        std::fs::write(&segment, damaged).unwrap();
        assert!(world.read(&id, 0, 3 * BLOCK).await.unwrap() == bytes);
        assert!(world.asked() > 0);
    }
}

#[tokio::test]
async fn an_earlier_cache_is_removed() {
    let world = World::new(64 * BLOCK).await;
    let (id, bytes) = world.cold(1, BLOCK as usize).await;
    assert!(world.read(&id, 0, BLOCK).await.unwrap() == bytes);
    let dir = world.dir.path().join("cache");
    drop(world.store);
    let settings = CacheSettings { bytes: 64 * BLOCK, reserve_bytes: Some(0), ..CacheSettings::default() };
    let again = CachedBlobStore::open(Arc::new(world.memory.clone()), dir, settings, CacheMetrics::default()).await.unwrap();
    assert_eq!(again.cache.disk.usage().await.unwrap().stored_bytes, 0);
    assert!(suite::read(&again, &id, ByteRange::new(0, BLOCK)).await.unwrap() == bytes);
}

/// A full disk, or one that leaves no room, is no reason not to serve.
#[tokio::test]
async fn without_room_it_passes_through() {
    let world = World::new(64 * BLOCK).await;
    let dir = world.dir.path().join("full");
    let settings = CacheSettings { bytes: 64 * BLOCK, reserve_bytes: Some(u64::MAX), ..CacheSettings::default() };
    let full = CachedBlobStore::open(Arc::new(world.memory.clone()), dir, settings, CacheMetrics::default()).await.unwrap();
    suite::run(Arc::new(full.clone())).await;
    assert_eq!(full.cache.index.bytes(), 0);
}
