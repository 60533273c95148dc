//! The conformance suite.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use umbra_blob::{BlobStore, MemoryBlobStore};
use umbra_core::SeededRandom;
use umbra_meta::{MemoryMetaStore, MetaStore};
use umbra_store::suite;

use crate::{
    engines::{Store, make_bucket, settled},
    wrappers::Slow,
};

/// Runs the suite, then audits what it left; `memory` is to hold what rows name and nothing else.
async fn run(store: Store, memory: Option<MemoryBlobStore>) {
    let (catalog, next) = (Arc::clone(&store.catalog), Arc::new(AtomicU64::new(1)));
    let make = move || {
        let (catalog, name) = (Arc::clone(&catalog), format!("suite-{}", next.fetch_add(1, Ordering::Relaxed)));
        Box::pin(async move { make_bucket(&catalog, &name).await }) as BoxFuture<'static, _>
    };
    suite::run(Arc::new(store.native.clone()), Box::new(make)).await;
    settled().await;
    let mut named = 0;
    for bucket in store.catalog.buckets(None, None, usize::MAX).await.unwrap() {
        named += store.reclaim_and_audit(&bucket).await;
    }
    assert_eq!(memory.map_or(named, |memory| memory.len()), named, "blobs in the store, blobs that are named");
}

/// Engines that let others run before they answer: here the races of the suite are real.
#[tokio::test]
async fn slow_and_slow() {
    for seed in 0..2 {
        let (random, memory) = (Arc::new(SeededRandom::new(seed)), MemoryBlobStore::new());
        let meta = Slow::new(Arc::new(MemoryMetaStore::new()) as Arc<dyn MetaStore>, &random);
        let blobs = Slow::new(Arc::new(memory.clone()) as Arc<dyn BlobStore>, &random);
        run(Store::new(Arc::new(meta), Arc::new(blobs)).await, Some(memory)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_memory() {
    let memory = MemoryBlobStore::new();
    run(Store::new(Arc::new(MemoryMetaStore::new()), Arc::new(memory.clone())).await, Some(memory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_disk() {
    run(Store::on_disk().await, None).await;
}
