//! Deleting gives space back; the reserve is kept.

use futures::TryStreamExt;
use proptest::prelude::*;
use umbra_core::ByteRange;

use super::{assert_intact, eventually, names, open, put, segment_of, small};
use crate::{BlobStore, DiskBlobStore, DiskSettings, Error, disk::record::record_len, suite};

const PAGE: u64 = 4096;

async fn stored_bytes(store: &DiskBlobStore) -> u64 {
    store.usage().await.unwrap().stored_bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_everything_leaves_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for order in 0..3_usize {
        let mut blobs = Vec::new();
        for seed in 0..400 {
            blobs.push(put(&store, seed, 1 + (seed as usize * 977) % 20_000).await);
        }
        assert!(stored_bytes(&store).await > 3 << 20);
        assert!(names(&dir.path().join("seg")).len() >= 4);
        match order {
            0 => blobs.reverse(),
            1 => blobs.sort_by_key(|blob| blob.id.as_bytes()[28]),
            _ => {}
        }
        for blob in &blobs {
            store.delete(&blob.id).await.unwrap();
        }
        // The page of the last record, and one of the file system's own tree of extents.
        assert!(stored_bytes(&store).await <= 2 * PAGE, "{} bytes are left in order {order}", stored_bytes(&store).await);
        assert_eq!(names(&dir.path().join("seg")).len(), 1, "only the last segment stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_side_by_side_free_the_pages_they_share() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for round in 0..10 {
        let mut blobs = Vec::new();
        for seed in 0..64 {
            blobs.push(put(&store, seed, 700).await);
        }
        let deletes = blobs.iter().map(|blob| store.delete(&blob.id));
        futures::future::try_join_all(deletes).await.unwrap();
        // Beside the page of the last record there may be one that the next round's first record shares.
        assert!(stored_bytes(&store).await <= 2 * PAGE, "round {round}");
    }
}

#[tokio::test]
async fn a_dead_segment_is_removed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = {
        let store = open(dir.path()).await;
        (put(&store, 1, 10_000).await, put(&store, 2, 300_000).await)
    };
    {
        let store = open(dir.path()).await;
        store.delete(&first.id).await.unwrap();
        store.delete(&second.id).await.unwrap();
        assert_eq!(names(&dir.path().join("seg")).len(), 1, "the highest stays, for its number");
        put(&store, 3, 10).await;
        assert_eq!(names(&dir.path().join("seg")).len(), 1, "now there is a higher one");
    }
    assert_eq!(stored_bytes(&open(dir.path()).await).await, PAGE);
}

#[tokio::test]
async fn a_delete_waits_for_the_last_reader() {
    let dir = tempfile::tempdir().unwrap();
    let settings = DiskSettings { record_bytes_max: 4 << 20, ..small() };
    let store = DiskBlobStore::open(dir.path(), settings).await.unwrap();
    let blob = put(&store, 1, 3 << 20).await;
    assert!(segment_of(&blob.id).is_some());
    let mut reading = store.read(&blob.id, ByteRange::new(0, blob.size)).await.unwrap();
    assert!(reading.try_next().await.unwrap().is_some());
    store.delete(&blob.id).await.unwrap();
    assert!(stored_bytes(&store).await >= 3 << 20, "it is still being read");
    suite::assert_gone(&store, &blob.id).await;
    drop(reading);
    eventually("its space is free", async || stored_bytes(&store).await <= PAGE).await;
}

#[tokio::test]
async fn a_large_blob_is_unlinked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let blob = put(&store, 1, 2 << 20).await;
    assert!(stored_bytes(&store).await >= 2 << 20);
    store.delete(&blob.id).await.unwrap();
    assert_eq!(stored_bytes(&store).await, 0);
}

#[tokio::test]
async fn writes_keep_the_reserve_and_deletes_do_not_care() {
    let dir = tempfile::tempdir().unwrap();
    let (small_blob, large_blob) = {
        let store = open(dir.path()).await;
        (put(&store, 1, 1_000).await, put(&store, 2, 1 << 20).await)
    };
    let full = DiskSettings { reserve_bytes: Some(u64::MAX), ..small() };
    let store = DiskBlobStore::open(dir.path(), full).await.unwrap();
    for size in [0, 10_000, 2 << 20] {
        assert!(matches!(store.put(vec![vec![7; size].into()]).await, Err(Error::Full(_))), "put of {size}");
    }
    let mut writer = store.create().await.unwrap();
    let written = writer.write(vec![7; 200_000].into()).await;
    assert!(matches!(written.and(writer.finish().await.map(|_| ())), Err(Error::Full(_))));
    assert_eq!(store.usage().await.unwrap().reserve_bytes, u64::MAX);

    assert_intact(&store, &small_blob, 1).await;
    assert_intact(&store, &large_blob, 2).await;
    store.delete(&small_blob.id).await.unwrap();
    store.delete(&large_blob.id).await.unwrap();
    assert!(stored_bytes(&store).await <= PAGE);
    eventually("nothing unfinished is left", async || names(&dir.path().join("tmp")).is_empty()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is allocated is what lives, but for the pages at its edges.
    #[test]
    fn space_follows_what_lives(sizes in prop::collection::vec(0..30_000_usize, 1..120), fates in prop::collection::vec(any::<bool>(), 120)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = open(dir.path()).await;
            let mut blobs = Vec::new();
            for (seed, &size) in sizes.iter().enumerate() {
                blobs.push((put(&store, seed as u64, size).await, seed as u64));
            }
            let (live, dead): (Vec<_>, Vec<_>) = blobs.into_iter().zip(fates).partition(|(_, lives)| *lives);
            for ((blob, _), _) in &dead {
                store.delete(&blob.id).await.unwrap();
            }
            // Each lives on at most two pages it does not fill; the file system's own tree of extents takes a page now and then.
            let bound: u64 = live.iter().map(|((blob, _), _)| record_len(blob.size) + 2 * PAGE).sum();
            let stored = stored_bytes(&store).await;
            assert!(stored <= bound + 4 * PAGE, "{stored} bytes are taken for at most {bound}");
            for ((blob, seed), _) in &live {
                assert_intact(&store, blob, *seed).await;
            }
        });
    }
}
