//! What is not finished, or deleted, does not stay at the engine.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use http::HeaderMap;
use umbra_blob::{BlobStore, RemoteSettings, S3BlobStore, suite};
use umbra_client::{ListOptions, S3Client};
use umbra_core::ByteRange;

use crate::{
    proxy::{Fault, Proxy},
    seaweed,
};

/// The keys of objects and uploads under a prefix.
async fn lying_there(client: &S3Client, prefix: &str) -> Vec<String> {
    let prefix = format!("{prefix}/");
    let objects = client.list_objects(&ListOptions { prefix: Some(prefix.clone()), ..ListOptions::default() }).await.unwrap();
    let uploads = client.list_multipart_uploads(&prefix, None).await.unwrap();
    let uploads = uploads.uploads.into_iter().map(|upload| upload.key).filter(|key| key.starts_with(&prefix));
    objects.objects.into_iter().map(|object| object.key).chain(uploads).collect()
}

async fn until_empty(client: &S3Client, prefix: &str) {
    let emptied = async {
        while !lying_there(client, prefix).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), emptied).await.is_err() {
        panic!("left: {:?}", lying_there(client, prefix).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_writes_are_taken_back() {
    let Some(seaweed) = seaweed::shared() else { return };
    let (store, prefix) = seaweed.store(RemoteSettings { part_bytes: 5 << 20, ..RemoteSettings::default() }).await;
    for count in [1, 6_000_000, 11_000_000] {
        let mut writer = store.create().await.unwrap();
        writer.write(suite::content(1, count).into()).await.unwrap();
        drop(writer);
    }
    until_empty(&seaweed.client(), &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_writes_are_taken_back() {
    let Some(seaweed) = seaweed::shared() else { return };
    let proxy = Proxy::start(seaweed).await;
    let (store, prefix) = proxy.store(5 << 20).await;
    // All that is sent arrives, and nothing of it is heard of. Then everything passes again.
    proxy.then([Fault::LoseAnswer; 3]);
    let _ = store.put(vec![suite::content(2, 90_000).into()]).await.unwrap_err();
    // The clean-up goes the same way, and shall not take what the next write is to meet.
    until_empty(&seaweed.client(), &prefix).await;
    // An upload begins; a part of it is not heard of.
    proxy.then([Fault::None, Fault::LoseAnswer, Fault::LoseAnswer, Fault::LoseAnswer]);
    let _ = store.put(vec![suite::content(2, 6_000_000).into()]).await.unwrap_err();
    until_empty(&seaweed.client(), &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_reader_deletes() {
    let Some(seaweed) = seaweed::shared() else { return };
    let (store, prefix) = seaweed.store(RemoteSettings::default()).await;
    let blob = store.put(vec![suite::content(3, 500_000).into()]).await.unwrap();
    let readers =
        [store.read(&blob.id, ByteRange::new(0, blob.size)).await.unwrap(), store.read(&blob.id, ByteRange::new(5, 9)).await.unwrap()];
    store.delete(&blob.id).await.unwrap();
    suite::assert_gone(&store, &blob.id).await;
    let client = seaweed.client();
    for reader in readers {
        assert_eq!(lying_there(&client, &prefix).await.len(), 1, "it is being read");
        let _: Vec<Bytes> = reader.try_collect().await.unwrap();
    }
    until_empty(&client, &prefix).await;
    suite::assert_gone(&store, &blob.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_uploads_are_aborted_and_others_are_left() {
    let Some(seaweed) = seaweed::shared() else { return };
    let (client, prefix) = (seaweed.client(), seaweed::fresh_prefix());
    let name = "0123456789abcdef0123456789abcdef";
    let (ours, foreign) = (format!("{prefix}/01/{name}"), format!("{prefix}/other/{name}"));
    for key in [&ours, &foreign] {
        client.create_multipart_upload(key, &HeaderMap::new()).await.unwrap();
    }
    let patient = S3BlobStore::open(client.clone(), &prefix, RemoteSettings::default()).await.unwrap();
    let hasty = RemoteSettings { stale_after: Duration::ZERO, sweep_every: Duration::from_millis(50), ..RemoteSettings::default() };
    assert_eq!(lying_there(&client, &prefix).await.len(), 2, "they are young");
    let _hasty = S3BlobStore::open(client.clone(), &prefix, hasty).await.unwrap();
    let aborted = async {
        while lying_there(&client, &prefix).await != [foreign.clone()] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), aborted).await.unwrap();
    drop(patient);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_at_once() {
    let Some(seaweed) = seaweed::shared() else { return };
    let proxy = Proxy::start(seaweed).await;
    proxy.always(Fault::Busy);
    let error = S3BlobStore::open(proxy.client(), "x", RemoteSettings::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the blob store cannot write a blob");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("503 SlowDown"), "{cause}");
}
