//! The remote engine answers as every other.

use std::sync::Arc;

use umbra_blob::{BlobStore, CacheMetrics, CacheSettings, CachedBlobStore, RemoteSettings, suite};

use crate::seaweed;

#[tokio::test(flavor = "multi_thread")]
async fn as_it_is() {
    let Some(seaweed) = seaweed::shared() else { return };
    let (store, _) = seaweed.store(RemoteSettings::default()).await;
    suite::run(Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_cache() {
    let Some(seaweed) = seaweed::shared() else { return };
    let (store, _) = seaweed.store(RemoteSettings::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = CacheSettings { bytes: 8 << 20, reserve_bytes: Some(0), ..CacheSettings::default() };
    let cached = CachedBlobStore::open(Arc::new(store), dir.path().join("cache"), settings, CacheMetrics::default()).await.unwrap();
    suite::run(Arc::new(cached)).await;
}

/// Content that ends where a part does, and a little beside.
#[tokio::test]
async fn the_edges_of_parts() {
    let Some(seaweed) = seaweed::shared() else { return };
    let part = 80 * 65_540;
    let (store, _) = seaweed.store(RemoteSettings { part_bytes: part, ..RemoteSettings::default() }).await;
    for (parts, around) in [(1, 31), (1, 32), (1, 33), (2, 0), (2, 3), (2, 31), (2, 32), (2, 36), (2, 37)] {
        let size = parts * 80 * 65_536 - around;
        let bytes = suite::content(around as u64, size);
        let blob = suite::write(&store, bytes.chunks(50_000).map(<[u8]>::to_vec).map(Into::into)).await.unwrap();
        assert!(suite::read_all(&store, &blob).await.unwrap() == bytes, "{size}");
        store.delete(&blob.id).await.unwrap();
    }
}
