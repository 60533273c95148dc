//! Clients that go away at any point leave whole objects or nothing, and no blob that nothing names.

use std::{future::Future, pin::pin, sync::Arc, task::Poll};

use bytes::Bytes;
use futures::{StreamExt, future, stream};
use umbra_blob::{BlobStore, MemoryBlobStore};
use umbra_core::{Body, Entity, ErrorKind, PartNumber, SeededRandom, UploadId};
use umbra_meta::{MemoryMetaStore, MetaStore};
use umbra_store::{
    Bucket, CompleteUpload, CompletedPart, CopyOptions, CreateUpload, DeleteOptions, GetOptions, Integrity, ListOptions, ListSource,
    ListStart, Objects, PartAddress, PutOptions, copy,
};

use crate::{
    engines::{Store, content, key, settled},
    wrappers::{Slow, below},
};

const KEYS: [&str; 3] = ["a", "b", "c"];
const SIZES: [usize; 6] = [0, 100, 4_097, 300_000, 1_048_577, 1_500_000];
const SEEDS: u64 = 12;
const CLIENTS: usize = 6;
const STEPS: usize = 25;

#[tokio::test]
async fn nothing_is_left_behind() {
    for seed in 0..SEEDS {
        let random = Arc::new(SeededRandom::new(seed));
        let memory = MemoryBlobStore::new();
        let meta = Slow::new(Arc::new(MemoryMetaStore::new()) as Arc<dyn MetaStore>, &random);
        let blobs = Slow::new(Arc::new(memory.clone()) as Arc<dyn BlobStore>, &random);
        let store = Store::new(Arc::new(meta), Arc::new(blobs)).await;
        let bucket = store.bucket().await;
        let clients = (0..CLIENTS).map(|_| client(&store, &bucket, &random));
        let completed: usize = future::join_all(clients).await.into_iter().sum();
        assert!((10..CLIENTS * STEPS).contains(&completed), "seed {seed}: {completed} operations were not dropped");
        settled().await;
        whole(&store, &bucket).await;
        let named = store.reclaim_and_audit(&bucket).await;
        assert_eq!(memory.len(), named, "seed {seed}: blobs in the store, blobs that are named");
        abort_all(&store, &bucket).await;
        for name in KEYS {
            store.native.delete(&store.cx, &bucket, &key(name), DeleteOptions::default()).await.unwrap();
        }
        assert_eq!(store.reclaim_and_audit(&bucket).await, 0);
        assert_eq!(memory.len(), 0, "seed {seed}: an empty bucket has no blobs");
    }
}

/// Does random things, most of them not to their end. Tells how many came to it.
async fn client(store: &Store, bucket: &Bucket, random: &Arc<SeededRandom>) -> usize {
    let mut completed = 0;
    for _ in 0..STEPS {
        let patience = if below(random, 4) == 0 { usize::MAX } else { below(random, 40) };
        let name = KEYS[below(random, KEYS.len())];
        let ended = match below(random, 8) {
            0..4 => impatient(put(store, bucket, name, random), patience).await,
            4 => impatient(delete(store, bucket, name), patience).await,
            5 => impatient(copied(store, bucket, name, random), patience).await,
            6 => impatient(get(store, bucket, name), patience).await,
            _ => impatient(multipart(store, bucket, name, random), patience).await,
        };
        completed += usize::from(ended.is_some());
    }
    completed
}

/// Polls `work` at most `patience` times, then drops it.
async fn impatient<T>(work: impl Future<Output = T>, mut patience: usize) -> Option<T> {
    let mut work = pin!(work);
    future::poll_fn(|cx| {
        if patience == 0 {
            return Poll::Ready(None);
        }
        patience -= 1;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A content that tells by itself what it is: every byte of it is the same.
fn uniform(random: &SeededRandom) -> Bytes {
    Bytes::from(vec![below(random, 256) as u8; SIZES[below(random, SIZES.len())]])
}

fn body(random: &SeededRandom) -> Body {
    let content = uniform(random);
    let chunks: Vec<_> = content.chunks(70_000).map(|chunk| content.slice_ref(chunk)).collect();
    Body::new(
        Some(content.len() as u64),
        stream::iter(chunks).then(async |chunk| {
            tokio::task::yield_now().await;
            Ok(chunk)
        }),
    )
}

async fn put(store: &Store, bucket: &Bucket, name: &str, random: &SeededRandom) {
    store.native.put(&store.cx, bucket, &key(name), body(random), PutOptions::default()).await.unwrap();
}

/// Reads an object; there may be none, but there is never a half of one.
async fn get(store: &Store, bucket: &Bucket, name: &str) {
    match store.get(bucket, name).await {
        Ok(bytes) => assert!(is_uniform(&bytes), "{name}: a mixture"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound(Entity::Object), "{name}: {error:?}"),
    }
}

fn is_uniform(bytes: &Bytes) -> bool {
    SIZES.contains(&bytes.len()) && bytes.iter().all(|byte| *byte == bytes[0])
}

async fn delete(store: &Store, bucket: &Bucket, name: &str) {
    store.native.delete(&store.cx, bucket, &key(name), DeleteOptions::default()).await.unwrap();
}

async fn copied(store: &Store, bucket: &Bucket, name: &str, random: &SeededRandom) {
    let to = key(KEYS[below(random, KEYS.len())]);
    // There may be nothing to copy, or it may be the same key.
    let _ = copy(&store.native, &store.cx, (bucket, &key(name)), (bucket, &to), CopyOptions::default()).await;
}

async fn multipart(store: &Store, bucket: &Bucket, name: &str, random: &SeededRandom) {
    let (native, cx, key) = (&store.native, &store.cx, &key(name));
    let upload = &native.create_upload(cx, bucket, key, CreateUpload::default()).await.unwrap();
    let number = PartNumber::new(1).unwrap();
    let mut parts = Vec::new();
    for _ in 0..=below(random, 2) {
        let part = PartAddress { key, upload, number };
        let put = native.put_part(cx, bucket, part, body(random), Integrity::default()).await.unwrap();
        parts = vec![CompletedPart { number, etag: put.etag, checksum: None }];
    }
    if below(random, 3) == 0 {
        return native.abort_upload(cx, bucket, key, upload).await.unwrap();
    }
    let options = CompleteUpload { parts, ..CompleteUpload::default() };
    native.complete_upload(cx, bucket, key, upload, options).await.unwrap();
}

/// Every object is a content that somebody wrote, and everything that says something of it agrees.
async fn whole(store: &Store, bucket: &Bucket) {
    let options =
        ListOptions { prefix: String::new(), delimiter: String::new(), start: ListStart::First, limit: 10, source: ListSource::Merged };
    for listed in store.native.list(&store.cx, bucket, options).await.unwrap().objects {
        let got = store.native.get(&store.cx, bucket, &listed.key, GetOptions::default()).await.unwrap();
        assert_eq!((got.info.size, &got.info.etag), (listed.size, &listed.etag));
        let bytes = got.body.collect(usize::MAX).await.unwrap();
        assert!(is_uniform(&bytes), "{}: a mixture", listed.key);
    }
}

async fn abort_all(store: &Store, bucket: &Bucket) {
    let options = umbra_store::ListUploads { limit: usize::MAX, ..Default::default() };
    for upload in store.native.list_uploads(&store.cx, bucket, options).await.unwrap().uploads {
        store.native.abort_upload(&store.cx, bucket, &upload.key, &upload.upload).await.unwrap();
    }
}

#[tokio::test]
async fn content_that_is_dropped_unpublished_is_deleted() {
    let memory = MemoryBlobStore::new();
    let store = Store::new(Arc::new(MemoryMetaStore::new()), Arc::new(memory.clone())).await;
    let bucket = store.bucket().await;
    let ingest = || store.native.ingest(&bucket, None, Body::from_bytes(content(100_000, 1)), Integrity::default());
    let kept = ingest().await.unwrap();
    drop(ingest().await.unwrap());
    store.native.discard(ingest().await.unwrap()).await;
    settled().await;
    assert_eq!(memory.len(), 1);
    let bucket = store.bucket().await;
    let part = PartAddress { key: &key("k"), upload: &UploadId::parse("none"), number: PartNumber::new(1).unwrap() };
    store.native.publish_part(&bucket, part, kept).await.unwrap_err();
    settled().await;
    assert_eq!(memory.len(), 0);
}
