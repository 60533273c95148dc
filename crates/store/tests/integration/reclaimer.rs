//! The worker that deletes blobs which nothing names any more.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use umbra_blob::{BlobOperation, FailingBlobStore, MemoryBlobStore};
use umbra_core::{Clock, SystemClock};
use umbra_meta::MemoryMetaStore;
use umbra_store::{DeleteOptions, Native, NativeParts, Objects, ReclaimHandle, Reclaimer, suite};

use crate::engines::{GRACE, Store, content, key};

async fn memory_store() -> (Store, MemoryBlobStore) {
    let memory = MemoryBlobStore::new();
    (Store::new(Arc::new(MemoryMetaStore::new()), Arc::new(memory.clone())).await, memory)
}

#[tokio::test]
async fn blobs_outlive_their_last_reference_by_the_grace_period() {
    let (store, memory) = memory_store().await;
    let bucket = store.bucket().await;
    for seed in 0..3 {
        store.put(&bucket, "k", &content(10_000, seed)).await.unwrap();
    }
    let reclaimer = store.reclaimer();
    assert_eq!((reclaimer.reclaim_due().await, memory.len()), (0, 3));
    store.clock.advance(GRACE - Duration::from_millis(1));
    assert_eq!((reclaimer.reclaim_due().await, memory.len()), (0, 3));
    store.clock.advance(Duration::from_millis(1));
    assert_eq!((reclaimer.reclaim_due().await, memory.len()), (2, 1));
    assert_eq!(reclaimer.reclaim_due().await, 0);
    assert!(store.get(&bucket, "k").await.unwrap() == content(10_000, 2));
}

/// More rows than one batch holds, in several buckets.
#[tokio::test]
async fn everything_due_is_reclaimed_in_every_bucket() {
    let (store, memory) = memory_store().await;
    for _ in 0..3 {
        let bucket = store.bucket().await;
        for at in 0..300 {
            store.put(&bucket, &format!("k{at}"), &content(5_000, 1)).await.unwrap();
            store.native.delete(&store.cx, &bucket, &key(&format!("k{at}")), DeleteOptions::default()).await.unwrap();
        }
    }
    store.clock.advance(GRACE);
    assert_eq!(store.reclaimer().reclaim_due().await, 900);
    assert!(memory.is_empty());
}

/// What was due when the process ended is found by the next one.
#[tokio::test]
async fn a_new_process_goes_on() {
    let (store, memory) = memory_store().await;
    let bucket = store.bucket().await;
    store.put(&bucket, "k", &content(10_000, 1)).await.unwrap();
    store.put(&bucket, "k", &content(10, 2)).await.unwrap();
    store.clock.advance(GRACE);
    let handle = ReclaimHandle::new(GRACE);
    let catalog = Arc::clone(&store.catalog);
    let partitions = Box::new(move || {
        let catalog = Arc::clone(&catalog);
        Box::pin(async move { catalog.partitions().await }) as _
    });
    let next = Reclaimer::new(Arc::clone(&store.meta), Arc::clone(&store.blobs), Arc::clone(&store.clock) as _, handle, partitions);
    assert_eq!(next.reclaim_due().await, 0, "it was told nothing");
    assert!(next.learn_partitions().await);
    assert_eq!((next.reclaim_due().await, memory.len()), (1, 0));
}

#[tokio::test]
async fn a_blob_that_cannot_be_deleted_is_tried_again_and_holds_up_no_other() {
    let (memory, refusals) = (MemoryBlobStore::new(), Arc::new(AtomicUsize::new(2)));
    let hook = {
        let refusals = Arc::clone(&refusals);
        move |operation: &BlobOperation| {
            let refuse = |left: usize| left.checked_sub(1);
            let refused = matches!(operation, BlobOperation::Delete { .. })
                && refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok();
            refused.then(|| umbra_blob::Error::Io { doing: "delete", source: io::Error::other("injected") })
        }
    };
    let blobs = FailingBlobStore::new(Arc::new(memory.clone()), hook);
    let store = Store::new(Arc::new(MemoryMetaStore::new()), Arc::new(blobs)).await;
    let bucket = store.bucket().await;
    for seed in 0..6 {
        store.put(&bucket, "k", &content(10_000, seed)).await.unwrap();
    }
    store.clock.advance(GRACE);
    let reclaimer = store.reclaimer();
    assert_eq!((reclaimer.reclaim_due().await, memory.len()), (3, 3));
    assert_eq!(reclaimer.reclaim_due().await, 0, "it waits before it tries again");
    assert_eq!(suite::audit(&*store.meta, bucket.partition).await.reclaimed.len(), 2);
    store.clock.advance(Duration::from_secs(2));
    assert_eq!((reclaimer.reclaim_due().await, memory.len()), (2, 1));
}

/// Deleting takes time at an engine elsewhere: what falls due meanwhile is not taken for what is still being read.
#[tokio::test]
async fn what_falls_due_during_a_delete_is_next() {
    let (memory, clock) = (MemoryBlobStore::new(), Arc::new(std::sync::OnceLock::<Arc<umbra_core::ManualClock>>::new()));
    let slow = Arc::clone(&clock);
    let hook = move |operation: &BlobOperation| {
        if let (BlobOperation::Delete { .. }, Some(clock)) = (operation, slow.get()) {
            clock.advance(Duration::from_millis(10));
        }
        None
    };
    let store = Store::new(Arc::new(MemoryMetaStore::new()), Arc::new(FailingBlobStore::new(Arc::new(memory.clone()), hook))).await;
    clock.set(Arc::clone(&store.clock)).unwrap();
    let bucket = store.bucket().await;
    for seed in 0..3 {
        store.put(&bucket, "k", &content(10_000, seed)).await.unwrap();
        store.clock.advance(Duration::from_millis(5));
    }
    store.clock.advance(GRACE - Duration::from_millis(10));
    let reclaimer = store.reclaimer();
    assert_eq!((reclaimer.reclaim_due().await, memory.len()), (1, 2));
    assert_eq!((reclaimer.reclaim_due().await, memory.len()), (1, 1));
}

/// The worker as it runs: woken by a commit, stopped when asked.
#[tokio::test]
async fn it_runs_until_it_is_stopped() {
    let (store, memory) = memory_store().await;
    let bucket = store.bucket().await;
    let (handle, clock) = (ReclaimHandle::new(Duration::ZERO), Arc::new(SystemClock));
    let native = Native::new(NativeParts {
        meta: Arc::clone(&store.meta),
        blobs: Arc::clone(&store.blobs),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        random: Arc::new(umbra_core::SystemRandom),
        reclaimer: handle.clone(),
        keys: Arc::new(umbra_store::Keyring::new([7; 32], [], Arc::new(umbra_core::SystemRandom))),
    });
    let partition = bucket.partition;
    let partitions = Box::new(move || Box::pin(async move { Ok(vec![partition]) }) as _);
    let reclaimer = Reclaimer::new(Arc::clone(&store.meta), Arc::clone(&store.blobs), clock, handle.clone(), partitions);
    let running = tokio::spawn(reclaimer.run());
    for seed in 0..3 {
        let body = umbra_core::Body::from_bytes(content(10_000, seed));
        native.put(&store.cx, &bucket, &key("k"), body, Default::default()).await.unwrap();
        while memory.len() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    handle.stop();
    running.await.unwrap();
}

/// Buckets that cannot be listed at the start are asked for again.
#[tokio::test(start_paused = true)]
async fn it_learns_of_buckets_as_soon_as_it_can() {
    let (store, memory) = memory_store().await;
    let bucket = store.bucket().await;
    store.put(&bucket, "k", &content(10_000, 1)).await.unwrap();
    store.native.delete(&store.cx, &bucket, &key("k"), DeleteOptions::default()).await.unwrap();
    store.clock.advance(GRACE);
    let (asked, partition) = (Arc::new(AtomicUsize::new(0)), bucket.partition);
    let partitions = Box::new(move || {
        let asked = Arc::clone(&asked);
        Box::pin(async move {
            match asked.fetch_add(1, Ordering::SeqCst) {
                0..3 => Err(umbra_core::Error::internal("not yet")),
                _ => Ok(vec![partition]),
            }
        }) as _
    });
    let handle = ReclaimHandle::new(GRACE);
    let reclaimer =
        Reclaimer::new(Arc::clone(&store.meta), Arc::clone(&store.blobs), Arc::clone(&store.clock) as _, handle.clone(), partitions);
    let running = tokio::spawn(reclaimer.run());
    while !memory.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    handle.stop();
    running.await.unwrap();
}
