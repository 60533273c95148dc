//! The conformance suite.

use std::sync::Arc;

use umbra_meta::Partition;
use umbra_store::suite;

use crate::engines::{Store, make_bucket};

async fn run(store: Store) {
    let (meta, next) = (Arc::clone(&store.meta), Arc::new(std::sync::atomic::AtomicU64::new(1)));
    let make = move || {
        let (meta, next) = (Arc::clone(&meta), Arc::clone(&next));
        let bucket = async move { make_bucket(&meta, Partition(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))).await };
        Box::pin(bucket) as futures::future::BoxFuture<'static, _>
    };
    suite::run(Arc::new(store.native.clone()), Box::new(make)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_memory() {
    run(Store::in_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_disk() {
    run(Store::on_disk().await).await;
}
