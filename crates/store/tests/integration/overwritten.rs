//! Readers of objects that are overwritten, deleted and reclaimed under them.

use std::error::Error as _;

use umbra_core::{Body, Entity, Error, ErrorKind, MarkerFound, PartNumber};
use umbra_store::{
    BucketSettings, CompleteUpload, CompletedPart, CreateUpload, DeleteOptions, GetOptions, Integrity, Objects, PartAddress, Versioning,
};

use futures::StreamExt;

use crate::engines::{GRACE, Store, content, key};

const PART: usize = 5 * 1024 * 1024;

async fn both() -> [Store; 2] {
    [Store::in_memory().await, Store::on_disk().await]
}

#[tokio::test]
async fn a_read_begins_anew_when_its_record_is_old() {
    for store in both().await {
        let bucket = store.bucket().await;
        store.put(&bucket, "k", &content(100_000, 1)).await.unwrap();
        let old = store.native.find(&bucket, &key("k")).await.unwrap().unwrap();
        store.put(&bucket, "k", &content(200_000, 2)).await.unwrap();
        let options = GetOptions::default();
        let still = store.native.open(&bucket, &old, &options).await.unwrap().body.collect(usize::MAX).await.unwrap();
        assert!(still == content(100_000, 1), "the old content stays for a while");
        assert_eq!(store.reclaim_and_audit(&bucket).await, 1);
        let gone = store.native.open(&bucket, &old, &options).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound(Entity::Object));
        let current = store.native.open_current(&bucket, &key("k"), old.clone(), &options).await.unwrap();
        assert!(current.body.collect(usize::MAX).await.unwrap() == content(200_000, 2));
        store.native.delete(&store.cx, &bucket, &key("k"), Default::default()).await.unwrap();
        assert_eq!(store.reclaim_and_audit(&bucket).await, 0);
        let absent = store.native.open_current(&bucket, &key("k"), old, &options).await.unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NotFound(Entity::Object));
    }
}

/// As if it had begun after the delete: there is no such version, and under a delete marker there is one.
#[tokio::test]
async fn a_read_whose_version_is_deleted_and_reclaimed_says_so() {
    for store in both().await {
        let bucket = store.bucket().await;
        let mut switch = |settings: &mut BucketSettings| {
            settings.versioning = Versioning::Enabled;
            Ok(())
        };
        let bucket = store.catalog.update_bucket(&bucket, &mut switch).await.unwrap();
        let (native, cx, name) = (&store.native, &store.cx, key("k"));
        store.put(&bucket, "k", &content(100_000, 1)).await.unwrap();
        let old = native.find(&bucket, &name).await.unwrap().unwrap();
        let named = Some(old.object.version.id());
        native.delete(cx, &bucket, &name, DeleteOptions::default()).await.unwrap();
        native.delete(cx, &bucket, &name, DeleteOptions { version: named, ..DeleteOptions::default() }).await.unwrap();
        assert_eq!(store.reclaim_and_audit(&bucket).await, 0);
        for version in [None, named] {
            let options = || GetOptions { version, ..GetOptions::default() };
            let late = native.open_current(&bucket, &name, old.clone(), &options()).await.unwrap_err();
            let later = native.get(cx, &bucket, &name, options()).await.unwrap_err();
            let marker = |error: &Error| error.source().and_then(|cause| cause.downcast_ref::<MarkerFound>()).copied();
            assert_eq!((late.kind(), marker(&late)), (later.kind(), marker(&later)));
            let absent = if version.is_some() { Entity::Version } else { Entity::Object };
            assert_eq!((late.kind(), marker(&late).is_some()), (ErrorKind::NotFound(absent), version.is_none()));
        }
    }
}

#[tokio::test]
async fn a_missing_blob_of_a_current_record_is_corruption() {
    let store = Store::in_memory().await;
    let bucket = store.bucket().await;
    store.put(&bucket, "k", &content(100_000, 1)).await.unwrap();
    let stored = store.native.find(&bucket, &key("k")).await.unwrap().unwrap();
    for extent in stored.object.content.extents() {
        store.blobs.delete(&extent.blob).await.unwrap();
    }
    assert_eq!(store.get(&bucket, "k").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A reader that is slow, of an object of several blobs, gets all of it though it is long overwritten.
#[tokio::test]
async fn a_slow_reader_of_many_blobs_gets_all_of_them() {
    for store in both().await {
        let bucket = store.bucket().await;
        let (native, cx, name) = (&store.native, &store.cx, key("k"));
        let upload = native.create_upload(cx, &bucket, &name, CreateUpload::default()).await.unwrap();
        let contents = [content(PART, 1), content(PART, 2), content(PART, 3), content(10, 4)];
        let mut parts = Vec::new();
        for (number, content) in (1..).zip(&contents) {
            let number = PartNumber::new(number).unwrap();
            let part = PartAddress { key: &name, upload: &upload, number };
            let put = native.put_part(cx, &bucket, part, Body::from_bytes(content.clone()), Integrity::default()).await.unwrap();
            parts.push(CompletedPart { number, etag: put.etag, checksum: None });
        }
        let options = CompleteUpload { parts, ..CompleteUpload::default() };
        native.complete_upload(cx, &bucket, &name, &upload, options).await.unwrap();
        let mut stream = native.get(cx, &bucket, &name, GetOptions::default()).await.unwrap().body.into_stream();
        let first = stream.next().await.unwrap().unwrap();
        store.put(&bucket, "k", &content(10, 5)).await.unwrap();
        store.clock.advance(GRACE);
        store.reclaimer().reclaim_due().await;
        let mut got = vec![first];
        while let Some(chunk) = stream.next().await {
            got.push(chunk.unwrap());
        }
        drop(stream);
        assert!(got.concat() == contents.concat());
        assert_eq!(store.reclaim_and_audit(&bucket).await, 0, "afterwards they go");
    }
}
