//! Copies of the files while the store is in use.

use umbra_core::ErrorKind;

use super::{DiskBackup, assert_intact, eventually, open, put};
use crate::{BlobStore, StoredBlob};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_holds_what_is_deleted_while_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let store = open(&live).await;
    let mut blobs: Vec<(u64, StoredBlob)> = Vec::new();
    for (seed, size) in [(1, 0), (2, 700), (3, 9_000), (4, 200_000), (5, 900_000), (6, 2 << 20)] {
        blobs.push((seed, put(&store, seed, size).await));
    }
    let gone = put(&store, 7, 100_000).await;
    store.delete(&gone.id).await.unwrap();

    let backup = DiskBackup::begin(&live).unwrap();
    for (_, blob) in &blobs {
        store.delete(&blob.id).await.unwrap();
    }
    put(&store, 8, 5_000).await;
    let copied = backup.copy(&copy).unwrap();
    assert!(copied.files == 3 && copied.bytes > 3 << 20, "{copied:?}");
    let restored = open(&copy).await;
    for (seed, blob) in &blobs {
        assert_intact(&restored, blob, *seed).await;
        assert_intact(&store, blob, *seed).await;
    }
    assert!(backup.copy(&copy).is_err(), "there is a copy already");
    drop(backup);
    for (_, blob) in blobs {
        eventually("what waited is deleted", async || crate::suite::read_all(&store, &blob).await.is_err()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_that_wait_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let blob = put(&store, 1, 2 << 20).await;
    let backup = DiskBackup::begin(dir.path()).unwrap();
    let mut outcome = Ok(());
    for _ in 0..10_000 {
        outcome = store.delete(&blob.id).await;
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_intact(&store, &blob, 1).await;
    drop(backup);
    store.delete(&blob.id).await.unwrap();
    assert_eq!(store.usage().await.unwrap().stored_bytes, 0);
}
