//! The bucket's fence: nothing is written to a bucket that is being deleted; changed settings do not disturb writers.

use std::sync::Arc;

use umbra_blob::MemoryBlobStore;
use umbra_core::{Body, ETag, Entity, ErrorKind, Matches, PartNumber, Preconditions, Result, RetentionMode, Tags, VersionId};
use umbra_meta::MemoryMetaStore;
use umbra_store::{
    Bucket, BucketSettings, CompleteUpload, CompletedPart, CreateUpload, DefaultRetention, DeleteOptions, GetOptions, Integrity,
    ObjectLockSettings, Objects, PartAddress, RetentionPeriod, Terms, Versioning, suite,
};

use crate::engines::{Store, content, key, settled};

const GONE: ErrorKind = ErrorKind::NotFound(Entity::Bucket);

#[tokio::test]
async fn writers_follow_changed_settings() {
    let store = Store::in_memory().await;
    let old = store.bucket().await;
    store.put(&old, "a", &content(10, 1)).await.unwrap();
    for public in [true, false] {
        store
            .catalog
            .update_bucket(&old, &mut |settings| {
                settings.public = public;
                Ok(())
            })
            .await
            .unwrap();
        store.put(&old, "a", &content(100_000, 2)).await.unwrap();
    }
    assert!(store.get(&old, "a").await.unwrap() == content(100_000, 2));
    store.native.delete(&store.cx, &old, &key("a"), DeleteOptions::default()).await.unwrap();
    assert_eq!(store.catalog.usage(&old).await.unwrap().objects, 0);
}

/// A default that was set while a body arrived keeps the object as one that was set before.
#[tokio::test]
async fn writers_follow_a_changed_retention() {
    let store = Store::in_memory().await;
    let enable = &mut |settings: &mut BucketSettings| {
        settings.versioning = Versioning::Enabled;
        Ok(())
    };
    let old = store.catalog.update_bucket(&store.bucket().await, enable).await.unwrap();
    for default in [Some(DefaultRetention { mode: RetentionMode::Governance, period: RetentionPeriod::Days(1) }), None] {
        let lock = &mut |settings: &mut BucketSettings| {
            Arc::make_mut(&mut settings.extras).object_lock = Some(ObjectLockSettings { default });
            Ok(())
        };
        store.catalog.update_bucket(&old, lock).await.unwrap();
        store.put(&old, "a", &content(10, 1)).await.unwrap();
        let object = store.native.find(&old, &key("a")).await.unwrap().unwrap().object;
        let expected = default.map(|default| default.from(object.last_modified));
        assert_eq!(object.attributes.lock.retention, expected);
    }
    assert_eq!(store.catalog.usage(&old).await.unwrap().objects, 2);
}

#[tokio::test]
async fn settings_that_change_all_the_time_do_not_hinder_writers() {
    let store = Arc::new(Store::in_memory().await);
    let bucket = store.bucket().await;
    let changer = {
        let (store, bucket) = (Arc::clone(&store), bucket.clone());
        tokio::spawn(async move {
            for round in 0..50 {
                store
                    .catalog
                    .update_bucket(&bucket, &mut |settings| {
                        settings.public = round % 2 == 0;
                        Ok(())
                    })
                    .await
                    .unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    for seed in 0..50 {
        store.put(&bucket, "a", &content(10, seed)).await.unwrap();
    }
    changer.await.unwrap();
    assert_eq!(store.get(&bucket, "a").await.unwrap(), content(10, 49));
}

#[tokio::test]
async fn nothing_is_written_to_a_bucket_that_is_gone() {
    let memory = MemoryBlobStore::new();
    let store = Store::new(Arc::new(MemoryMetaStore::new()), Arc::new(memory.clone())).await;
    let bucket = store.bucket().await;
    let upload = store.native.create_upload(&store.cx, &bucket, &key("k"), CreateUpload::default()).await.unwrap();
    let number = PartNumber::new(1).unwrap();
    let part = PartAddress { key: &key("k"), upload: &upload, number };
    let body = || Body::from_bytes(content(5_000, 1));
    let stored = store.native.put_part(&store.cx, &bucket, part, body(), Integrity::default()).await.unwrap();
    let before = memory.len();
    store.catalog.delete_bucket(&bucket).await.unwrap();
    let completed = CompletedPart { number, etag: stored.etag, checksum: None };
    let native = &store.native;
    let outcomes: [(&str, Result<()>); 7] = [
        ("put inline", store.put(&bucket, "k", &content(10, 1)).await.map(drop)),
        ("put", store.put(&bucket, "k", &content(10_000, 1)).await.map(drop)),
        ("create_upload", native.create_upload(&store.cx, &bucket, &key("k"), CreateUpload::default()).await.map(drop)),
        ("put_part", native.put_part(&store.cx, &bucket, part, body(), Integrity::default()).await.map(drop)),
        ("complete_upload", {
            let options = CompleteUpload { parts: vec![completed], ..CompleteUpload::default() };
            native.complete_upload(&store.cx, &bucket, &key("k"), &upload, options).await.map(drop)
        }),
        ("abort_upload", native.abort_upload(&store.cx, &bucket, &key("k"), &upload).await),
        ("remove", removed_with_terms(&store, &bucket).await),
    ];
    for (what, outcome) in outcomes {
        assert_eq!(outcome.unwrap_err().kind(), GONE, "{what}");
    }
    settled().await;
    assert!(memory.len() <= before, "content that was refused is gone");
    assert_eq!(suite::audit(&*store.meta, bucket.partition).await.objects, 0);
    let tagged = native.put_tags(&store.cx, &bucket, &key("k"), None, Tags::default()).await;
    assert_eq!(tagged.unwrap_err().kind(), ErrorKind::NotFound(Entity::Object));
}

async fn removed_with_terms(store: &Store, bucket: &Bucket) -> Result<()> {
    let write = umbra_meta::Write::Put { key: b"s/k".to_vec(), head: Default::default(), body: Default::default() };
    let terms = Terms { writes: vec![write], ..Terms::default() };
    store.native.remove(bucket, &key("k"), &Preconditions::default(), terms).await.map(drop)
}

/// A write means what it meant to the shadow it was begun under: under the next one a delete would lack its tombstone.
#[tokio::test]
async fn nothing_is_written_under_another_shadow() {
    let store = Store::in_memory().await;
    let old = store.bucket().await;
    store.put(&old, "a", &content(10, 1)).await.unwrap();
    let attach = &mut |settings: &mut BucketSettings| {
        settings.generation += 1;
        Ok(())
    };
    let new = store.catalog.update_bucket(&old, attach).await.unwrap();
    let deleted = store.native.delete(&store.cx, &old, &key("a"), DeleteOptions::default()).await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.put(&old, "a", &content(100_000, 2)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.get(&new, "a").await.unwrap(), content(10, 1));
    store.native.delete(&store.cx, &new, &key("a"), DeleteOptions::default()).await.unwrap();
}

/// What is not there by the settings that a delete began with may be there by those of now: it is not taken for deleted.
#[tokio::test]
async fn nothing_is_taken_for_deleted_by_settings_of_before() {
    let store = Store::in_memory().await;
    let old = store.bucket().await;
    store.put(&old, "a", &content(10, 1)).await.unwrap();
    let enable = &mut |settings: &mut BucketSettings| {
        settings.versioning = Versioning::Enabled;
        Ok(())
    };
    let new = store.catalog.update_bucket(&old, enable).await.unwrap();
    store.native.delete(&store.cx, &new, &key("a"), DeleteOptions::default()).await.unwrap();
    let null = Some(VersionId::Null);
    let if_match = Some(Matches::ETags(vec![ETag::parse("other")]));
    let conditional = DeleteOptions { preconditions: Preconditions { if_match, ..Preconditions::default() }, ..DeleteOptions::default() };
    let of_null = DeleteOptions { version: null, ..DeleteOptions::default() };
    for (name, options) in
        [("a", DeleteOptions::default()), ("absent", DeleteOptions::default()), ("a", conditional), ("a", of_null.clone())]
    {
        let deleted = store.native.delete(&store.cx, &old, &key(name), options.clone()).await;
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Unavailable, "{name} {options:?}");
    }
    let read = store.native.get(&store.cx, &old, &key("a"), GetOptions { version: null, ..GetOptions::default() }).await.unwrap();
    assert_eq!(read.body.collect(usize::MAX).await.unwrap(), content(10, 1));
    store.native.delete(&store.cx, &new, &key("a"), of_null).await.unwrap();
    assert_eq!(store.catalog.usage(&new).await.unwrap().objects, 0);
}

#[tokio::test]
async fn what_is_absent_is_deleted_already_unless_the_bucket_is_another_by_then() {
    type Change = fn(&mut BucketSettings);
    let changes: [(Change, Option<ErrorKind>); 2] =
        [(|settings| settings.public = true, None), (|settings| settings.generation += 1, Some(ErrorKind::Unavailable))];
    let store = Store::in_memory().await;
    for (change, refused) in changes {
        let old = store.bucket().await;
        let change = &mut |settings: &mut BucketSettings| {
            change(settings);
            Ok(())
        };
        let new = store.catalog.update_bucket(&old, change).await.unwrap();
        for version in [None, Some(VersionId::Null)] {
            let options = DeleteOptions { version, ..DeleteOptions::default() };
            let delete = async |bucket: &Bucket| store.native.delete(&store.cx, bucket, &key("a"), options.clone()).await;
            assert_eq!(delete(&old).await.err().map(|error| error.kind()), refused, "{version:?}");
            assert_eq!(delete(&new).await.unwrap().version, version);
        }
        store.catalog.delete_bucket(&new).await.unwrap();
        assert_eq!(store.native.delete(&store.cx, &new, &key("a"), DeleteOptions::default()).await.unwrap_err().kind(), GONE);
    }
}
