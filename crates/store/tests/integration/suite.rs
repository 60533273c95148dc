//! The conformance suite.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use umbra_store::suite;

use crate::engines::{Store, make_bucket, settled};

async fn run(store: Store) {
    let (catalog, next) = (Arc::clone(&store.catalog), Arc::new(AtomicU64::new(1)));
    let make = move || {
        let (catalog, name) = (Arc::clone(&catalog), format!("suite-{}", next.fetch_add(1, Ordering::Relaxed)));
        Box::pin(async move { make_bucket(&catalog, &name).await }) as BoxFuture<'static, _>
    };
    suite::run(Arc::new(store.native.clone()), Box::new(make)).await;
    settled().await;
    for bucket in store.catalog.buckets(None, None, usize::MAX).await.unwrap() {
        store.reclaim_and_audit(&bucket).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_memory() {
    run(Store::in_memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_disk() {
    run(Store::on_disk().await).await;
}
