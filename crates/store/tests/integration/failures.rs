//! Engines that fail: an operation fails clearly or succeeds, what is acknowledged stands, and nothing leaks.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use umbra_blob::{BlobOperation, BlobStore, FailingBlobStore, MemoryBlobStore};
use umbra_core::{Body, ErrorKind, PartNumber};
use umbra_meta::{CommitFault, FailingMetaStore, MemoryMetaStore};
use umbra_store::{Bucket, CompleteUpload, CompletedPart, CreateUpload, DeleteOptions, Integrity, Objects, PartAddress, PutOptions, suite};

use crate::engines::{Store, content, key, settled};

const OLD: usize = 20_000;
const SIZES: [usize; 3] = [10, 10_000, 1_500_000];

struct Faulty {
    store: Store,
    bucket: Bucket,
    meta: Arc<FailingMetaStore>,
    memory: MemoryBlobStore,
}

async fn faulty() -> Faulty {
    let meta = Arc::new(FailingMetaStore::new(Arc::new(MemoryMetaStore::new())));
    let memory = MemoryBlobStore::new();
    let store = Store::new(Arc::clone(&meta) as _, Arc::new(memory.clone())).await;
    let bucket = store.bucket().await;
    Faulty { store, bucket, meta, memory }
}

impl Faulty {
    /// Everything that is stored is named, and everything that is named is there.
    async fn check(&self, what: &str) {
        self.meta.heal();
        settled().await;
        let named = self.store.reclaim_and_audit(&self.bucket).await;
        assert_eq!(self.memory.len(), named, "{what}: blobs in the store, blobs that are named");
    }
}

#[tokio::test]
async fn a_put_that_cannot_be_committed_changes_nothing() {
    for fault in [CommitFault::Unavailable, CommitFault::Full] {
        for size in SIZES {
            let faulty = faulty().await;
            let Faulty { store, bucket, meta, .. } = &faulty;
            store.put(bucket, "k", &content(OLD, 1)).await.unwrap();
            meta.fail_after(0, fault);
            let kind = store.put(bucket, "k", &content(size, 2)).await.unwrap_err().kind();
            assert_eq!(kind, if fault == CommitFault::Full { ErrorKind::DiskFull } else { ErrorKind::Unavailable });
            assert!(store.get(bucket, "k").await.unwrap() == content(OLD, 1));
            meta.fail_after(0, fault);
            store.native.delete(&store.cx, bucket, &key("k"), DeleteOptions::default()).await.unwrap_err();
            assert!(store.get(bucket, "k").await.unwrap() == content(OLD, 1));
            faulty.check(&format!("{fault:?} {size}")).await;
        }
    }
}

/// The engine applied the commit and its answer got lost: the content must not be deleted under the record.
#[tokio::test]
async fn a_put_whose_acknowledgement_is_lost_keeps_its_content() {
    for size in SIZES {
        let faulty = faulty().await;
        let Faulty { store, bucket, meta, .. } = &faulty;
        store.put(bucket, "k", &content(OLD, 1)).await.unwrap();
        meta.fail_after(0, CommitFault::LostAcknowledgement);
        let outcome = store.put(bucket, "k", &content(size, 2)).await;
        assert!(size == SIZES[0] || outcome.is_ok(), "what is found stored is acknowledged: {outcome:?}");
        assert!(store.get(bucket, "k").await.unwrap() == content(size, 2), "{size}");
        faulty.check(&format!("{size}")).await;
        meta.fail_after(0, CommitFault::LostAcknowledgement);
        store.native.delete(&store.cx, bucket, &key("k"), DeleteOptions::default()).await.unwrap_err();
        store.native.delete(&store.cx, bucket, &key("k"), DeleteOptions::default()).await.unwrap();
        faulty.check(&format!("{size}, deleted")).await;
        assert_eq!(faulty.memory.len(), 0);
    }
}

#[tokio::test]
async fn multipart_uploads_survive_every_failed_commit() {
    for fault in [CommitFault::Unavailable, CommitFault::Full, CommitFault::LostAcknowledgement] {
        for failing in 0..6 {
            let faulty = faulty().await;
            let Faulty { store, bucket, meta, .. } = &faulty;
            let (native, cx, name, number) = (&store.native, &store.cx, &key("k"), PartNumber::new(1).unwrap());
            store.put(bucket, "k", &content(OLD, 1)).await.unwrap();
            meta.fail_after(failing, fault);
            let upload = match native.create_upload(cx, bucket, name, CreateUpload::default()).await {
                Ok(upload) => upload,
                Err(_) => native.create_upload(cx, bucket, name, CreateUpload::default()).await.unwrap(),
            };
            let part = PartAddress { key: name, upload: &upload, number };
            let mut etag = None;
            for seed in [2, 3, 4] {
                let body = || Body::from_bytes(content(10_000, seed));
                let stored = native.put_part(cx, bucket, part, body(), Integrity::default()).await;
                let stored = match stored {
                    Ok(stored) => stored,
                    Err(_) => native.put_part(cx, bucket, part, body(), Integrity::default()).await.unwrap(),
                };
                etag = Some(stored.etag);
            }
            let parts = vec![CompletedPart { number, etag: etag.unwrap(), checksum: None }];
            let options = || CompleteUpload { parts: parts.clone(), ..CompleteUpload::default() };
            let mut completed = native.complete_upload(cx, bucket, name, &upload, options()).await;
            if completed.is_err() {
                assert_eq!(failing, 4, "{fault:?}");
                completed = native.complete_upload(cx, bucket, name, &upload, options()).await;
            }
            completed.unwrap();
            assert!(store.get(bucket, "k").await.unwrap() == content(10_000, 4), "{fault:?} {failing}");
            faulty.check(&format!("{fault:?} {failing}")).await;
        }
    }
}

fn is_write(operation: &BlobOperation) -> bool {
    matches!(
        operation,
        BlobOperation::Put { .. } | BlobOperation::Create | BlobOperation::Write { offset: 500_000.., .. } | BlobOperation::Finish { .. }
    )
}

#[tokio::test]
async fn a_blob_that_cannot_be_written_fails_the_put() {
    let names = ["put", "create", "write", "finish"];
    let is = |name: &str, operation: &BlobOperation| match operation {
        BlobOperation::Put { .. } => name == "put",
        BlobOperation::Create => name == "create",
        BlobOperation::Write { .. } => name == "write" && is_write(operation),
        BlobOperation::Finish { .. } => name == "finish",
        _ => false,
    };
    for name in names {
        let (memory, armed) = (MemoryBlobStore::new(), Arc::new(AtomicBool::new(false)));
        let hook = {
            let armed = Arc::clone(&armed);
            move |operation: &BlobOperation| {
                let fails = armed.load(Ordering::SeqCst) && is(name, operation);
                fails.then(|| umbra_blob::Error::Io { doing: "write", source: io::Error::other("injected") })
            }
        };
        let blobs = FailingBlobStore::new(Arc::new(memory.clone()), hook);
        let store = Store::new(Arc::new(MemoryMetaStore::new()), Arc::new(blobs)).await;
        let bucket = store.bucket().await;
        let size = if name == "put" { 10_000 } else { 1_500_000 };
        store.put(&bucket, "k", &content(OLD, 1)).await.unwrap();
        armed.store(true, Ordering::SeqCst);
        let kind = store.put(&bucket, "k", &content(size, 2)).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Unavailable, "{name}");
        armed.store(false, Ordering::SeqCst);
        assert!(store.get(&bucket, "k").await.unwrap() == content(OLD, 1), "{name}");
        settled().await;
        assert_eq!(memory.len(), 1, "{name}");
    }
}

/// An error in the middle of a content reaches the reader as an error, not as an end.
#[tokio::test]
async fn a_read_that_breaks_off_is_an_error() {
    let hook = |operation: &BlobOperation| match operation {
        BlobOperation::ReadChunk { id, offset: 200_000.. } => {
            Some(umbra_blob::Error::Corrupt { id: id.clone(), why: "injected".to_owned() })
        }
        _ => None,
    };
    let blobs: Arc<dyn BlobStore> = Arc::new(FailingBlobStore::new(Arc::new(MemoryBlobStore::new()), hook));
    let store = Store::new(Arc::new(MemoryMetaStore::new()), blobs).await;
    let bucket = store.bucket().await;
    store.put(&bucket, "k", &content(1_000_000, 1)).await.unwrap();
    assert_eq!(store.get(&bucket, "k").await.unwrap_err().kind(), ErrorKind::Corrupt);
    let source = store.native.get(&store.cx, &bucket, &key("k"), Default::default()).await.unwrap().body;
    let copied = store.native.put(&store.cx, &bucket, &key("copy"), source, PutOptions::default()).await;
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::Corrupt, "nor is it copied");
    assert_eq!(suite::audit(&*store.meta, bucket.partition).await.objects, 1);
}
