//! Requests that break, are refused, are slow, or arrive as something else.

use bytes::Bytes;
use futures::StreamExt;
use umbra_blob::{BlobStore, Error, StoredBlob, suite};
use umbra_core::ByteRange;

use crate::{
    proxy::{Fault, Proxy},
    seaweed,
};

/// SeaweedFS takes no shorter parts.
const PART: usize = 5 << 20;
/// Three parts.
const SIZE: usize = 11_000_000;
const SMALL: usize = 900_000;

/// Reads all there is, which is what was written as far as it goes; and how it ended.
async fn read(store: &dyn BlobStore, blob: &StoredBlob, bytes: &[u8]) -> (usize, Option<Error>) {
    let mut stream = match store.read(&blob.id, ByteRange::new(0, blob.size)).await {
        Ok(stream) => stream,
        Err(error) => return (0, Some(error)),
    };
    let mut count = 0;
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => {
                assert!(chunk == bytes[count..count + chunk.len()], "other bytes at {count}");
                count += chunk.len();
            }
            Err(error) => return (count, Some(error)),
        }
    }
    assert_eq!(count, bytes.len());
    (count, None)
}

async fn put(store: &dyn BlobStore, bytes: &[u8]) -> umbra_blob::Result<StoredBlob> {
    store.put(vec![Bytes::copy_from_slice(bytes)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_outlive_what_passes() {
    let Some(seaweed) = seaweed::shared() else { return };
    let proxy = Proxy::start(seaweed).await;
    let (store, _) = proxy.store(PART).await;
    for size in [SMALL, SIZE] {
        let bytes = suite::content(1, size);
        let faults = [Fault::CutRequest(0), Fault::CutRequest(100_000), Fault::LoseAnswer, Fault::CutAnswer(0), Fault::Busy, Fault::Slow];
        for fault in faults {
            // The first request is an upload's beginning or the PUT, the fourth is a part or a read.
            for before in [0, 3] {
                let struck = proxy.struck();
                proxy.then((0..before).map(|_| Fault::None).chain([fault]));
                let blob = put(&store, &bytes).await.unwrap_or_else(|error| panic!("{fault:?} after {before}: {error:?}"));
                let (_, error) = read(&store, &blob, &bytes).await;
                assert!(error.is_none(), "{fault:?}: {error:?}");
                store.delete(&blob.id).await.unwrap();
                // What was not met is not for the next round.
                while proxy.struck() == struck {
                    let _ = store.read(&blob.id, ByteRange::new(0, 0)).await;
                }
            }
        }
    }
}

/// The answer to the completion of an upload is lost: the blob is there, and is found to be.
#[tokio::test(flavor = "multi_thread")]
async fn a_completion_nobody_heard_of_counts() {
    let Some(seaweed) = seaweed::shared() else { return };
    let proxy = Proxy::start(seaweed).await;
    let (store, _) = proxy.store(PART).await;
    let bytes = suite::content(2, SIZE);
    // Begin, three parts, complete.
    proxy.then([Fault::None; 4].into_iter().chain([Fault::LoseAnswer]));
    let blob = put(&store, &bytes).await.unwrap();
    assert_eq!(proxy.struck(), 1);
    assert!(read(&store, &blob, &bytes).await.1.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_an_error() {
    let Some(seaweed) = seaweed::shared() else { return };
    let proxy = Proxy::start(seaweed).await;
    let (store, _) = proxy.store(PART).await;
    for size in [SMALL, SIZE] {
        let bytes = suite::content(3, size);
        for fault in [Fault::Busy, Fault::CutRequest(100), Fault::LoseAnswer] {
            let kept = put(&store, &bytes).await.unwrap();
            proxy.always(fault);
            let written = put(&store, &bytes).await.unwrap_err();
            assert!(matches!(written, Error::Io { .. }), "{fault:?}: {written:?}");
            if fault != Fault::CutRequest(100) {
                let (_, error) = read(&store, &kept, &bytes).await;
                assert!(matches!(error, Some(Error::Io { .. })), "{fault:?}: {error:?}");
                let deleted = store.delete(&kept.id).await.unwrap_err();
                assert!(matches!(deleted, Error::Io { .. }), "{fault:?}: {deleted:?}");
            }
            proxy.always(Fault::None);
            match read(&store, &kept, &bytes).await.1 {
                None => {}
                // A delete whose answer was lost may have been done.
                Some(Error::NotFound(_)) if fault == Fault::LoseAnswer => {}
                Some(error) => panic!("after {fault:?}: {error:?}"),
            }
            store.delete(&kept.id).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_where_they_broke_off() {
    let Some(seaweed) = seaweed::shared() else { return };
    let proxy = Proxy::start(seaweed).await;
    let (store, _) = proxy.store(PART).await;
    let bytes = suite::content(4, SMALL);
    let blob = put(&store, &bytes).await.unwrap();
    proxy.then([0, 31, 65_571, 65_572, 0, 65_540, 65_539, 300_000].map(Fault::CutAnswer));
    assert!(read(&store, &blob, &bytes).await.1.is_none());
    assert_eq!(proxy.struck(), 8);
    // Each answer brings a block and a half.
    proxy.always(Fault::CutAnswer(100_000));
    assert!(read(&store, &blob, &bytes).await.1.is_none());
    // None brings a whole block.
    proxy.always(Fault::CutAnswer(60_000));
    let (count, error) = read(&store, &blob, &bytes).await;
    assert_eq!(count, 0);
    assert!(matches!(error, Some(Error::Io { .. })), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_are_never_served() {
    let Some(seaweed) = seaweed::shared() else { return };
    let proxy = Proxy::start(seaweed).await;
    let (store, _) = proxy.store(PART).await;
    let bytes = suite::content(5, SMALL);
    let blob = put(&store, &bytes).await.unwrap();
    for at in [0, 8, 9, 20, 31, 32, 40_000, 65_567, 65_568, 65_571, 65_572, 700_000] {
        // Damaged on its way: the second time it is sound.
        proxy.then([Fault::FlipAnswer(at)]);
        let (_, error) = read(&store, &blob, &bytes).await;
        assert!(error.is_none(), "byte {at}: {error:?}");
    }
    assert_eq!(proxy.struck(), 12);
    proxy.always(Fault::FlipAnswer(40));
    let (count, error) = read(&store, &blob, &bytes).await;
    assert_eq!(count, 0);
    assert!(matches!(&error, Some(Error::Corrupt { id, .. }) if *id == blob.id), "{error:?}");
}

/// What lies at the engine is no longer what was written.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_damages_is_found_out() {
    let Some(seaweed) = seaweed::shared() else { return };
    let (store, prefix) = seaweed.store(Default::default()).await;
    let client = seaweed.client();
    let bytes = suite::content(6, 300_000);
    let blob = put(&store, &bytes).await.unwrap();
    let name = hex::encode(&blob.id.as_bytes()[9..]);
    let key = format!("{prefix}/{}/{name}", &name[..2]);
    let object = client.get_object(&key, &Default::default()).await.unwrap().body.collect(1 << 20).await.unwrap();
    for at in [0, 8, 16, 32, 70_000, 200_000, object.len() - 1] {
        let mut bad = object.to_vec();
        bad[at] ^= 1;
        client.put_bytes(&key, &bad.into()).await.unwrap();
        let (count, error) = read(&store, &blob, &bytes).await;
        assert!(matches!(error, Some(Error::Corrupt { .. })), "byte {at}: {error:?}");
        assert_eq!(count, at.saturating_sub(32) / 65_540 * 65_536, "what lies before it is served");
    }
    let other = put(&store, &suite::content(7, 300_000)).await.unwrap();
    let other = hex::encode(&other.id.as_bytes()[9..]);
    let other = client.get_object(&format!("{prefix}/{}/{other}", &other[..2]), &Default::default()).await.unwrap();
    let other = other.body.collect(1 << 20).await.unwrap();
    for bad in [object.slice(..object.len() - 1), object.slice(..32 + 65_540), Bytes::new(), [&object[..], b"x"].concat().into(), other] {
        client.put_bytes(&key, &bad).await.unwrap();
        let (count, error) = read(&store, &blob, &bytes).await;
        assert_eq!(count, 0);
        assert!(matches!(error, Some(Error::Corrupt { .. })), "{} bytes: {error:?}", bad.len());
    }
    client.put_bytes(&key, &object).await.unwrap();
    assert!(read(&store, &blob, &bytes).await.1.is_none());
}

/// What is damaged on its way to the engine is refused there: every request is signed with its hash.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_damaged_is_not_stored() {
    let Some(seaweed) = seaweed::shared() else { return };
    let proxy = Proxy::start(seaweed).await;
    let (store, _) = proxy.store(PART).await;
    for size in [SMALL, SIZE] {
        let bytes = suite::content(8, size);
        proxy.always(Fault::FlipRequest(150_000));
        let written = put(&store, &bytes).await;
        proxy.always(Fault::None);
        assert!(matches!(written, Err(Error::Io { .. })), "{written:?}");
    }
}
