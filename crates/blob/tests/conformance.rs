//! Every engine answers alike.

use std::sync::Arc;

use umbra_blob::{
    BlobStore, CacheMetrics, CacheSettings, CachedBlobStore, DiskBlobStore, DiskSettings, FailingBlobStore, MemoryBlobStore, suite,
};

/// Sizes that make small blobs meet every boundary.
fn small() -> DiskSettings {
    DiskSettings {
        segment_bytes: 2 << 20,
        record_bytes_max: 512 << 10,
        stream_buffer_bytes: 128 << 10,
        reserve_bytes: Some(0),
        direct_bytes_min: 100 << 10,
        open_segments_max: 2,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    let store = MemoryBlobStore::new();
    suite::run(Arc::new(store.clone())).await;
    assert!(store.is_empty(), "the suite leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn disk() {
    let dir = tempfile::tempdir().unwrap();
    let settings = DiskSettings { reserve_bytes: Some(0), ..DiskSettings::default() };
    suite::run(Arc::new(DiskBlobStore::open(dir.path(), settings).await.unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_with_small_sizes() {
    let dir = tempfile::tempdir().unwrap();
    suite::run(Arc::new(DiskBlobStore::open(dir.path(), small()).await.unwrap())).await;
}

#[tokio::test]
async fn failing_without_failures() {
    suite::run(Arc::new(FailingBlobStore::new(Arc::new(MemoryBlobStore::new()), |_| None))).await;
}

/// A cache too small for anything to stay long, and with blocks of odd lengths.
async fn cached(inner: Arc<dyn BlobStore>) {
    for (bytes, block_bytes) in [(4 << 20, 1 << 20), (2 << 20, 100_000), (64 << 20, 1 << 20)] {
        let dir = tempfile::tempdir().expect("a directory is made");
        let settings = CacheSettings { bytes, block_bytes, reserve_bytes: Some(0), ..CacheSettings::default() };
        let dir = dir.path().join("cache");
        let cached = CachedBlobStore::open(Arc::clone(&inner), dir, settings, CacheMetrics::default()).await.expect("the cache opens");
        suite::run(Arc::new(cached)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_memory() {
    cached(Arc::new(MemoryBlobStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_disk() {
    let dir = tempfile::tempdir().unwrap();
    cached(Arc::new(DiskBlobStore::open(dir.path(), small()).await.unwrap())).await;
}
