//! What only this engine promises: where blobs lie, what space they take, and what is left when things go wrong.

mod backup;
mod cleaning;
mod direct;
mod failures;
mod space;

use std::{collections::BTreeSet, path::Path, time::Duration};

use bytes::Bytes;

use super::{DiskBackup, DiskBlobStore, DiskSettings, address::Address};
use crate::{BlobId, BlobStore, StoredBlob, suite};

/// Sizes that make small blobs meet every boundary.
fn small() -> DiskSettings {
    DiskSettings {
        segment_bytes: 1 << 20,
        record_bytes_max: 256 << 10,
        stream_buffer_bytes: 64 << 10,
        reserve_bytes: Some(0),
        direct_bytes_min: 64 << 10,
        open_segments_max: 3,
    }
}

async fn open(dir: &Path) -> DiskBlobStore {
    DiskBlobStore::open(dir, small()).await.unwrap()
}

async fn put(store: &DiskBlobStore, seed: u64, size: usize) -> StoredBlob {
    store.put(vec![suite::content(seed, size).into()]).await.unwrap()
}

async fn assert_intact(store: &DiskBlobStore, blob: &StoredBlob, seed: u64) {
    assert!(suite::read_all(store, blob).await.unwrap() == suite::content(seed, blob.size as usize), "other bytes");
}

fn segment_of(id: &BlobId) -> Option<u32> {
    match Address::decode(id).expect("it was issued here") {
        Address::Segment(record) => Some(record.segment),
        Address::Large(_) => None,
    }
}

/// Waits until `condition` holds, which is brought about by work in the background.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came true that {what}");
}

fn names(dir: &Path) -> BTreeSet<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn the_size_decides_where_a_blob_lies() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for (size, in_segment) in [(0, true), (256 << 10, true), ((256 << 10) + 1, false)] {
        assert_eq!(segment_of(&put(&store, 1, size).await.id).is_some(), in_segment, "put of {size}");
    }
    for (size, in_segment) in [(0, true), (64 << 10, true), ((64 << 10) + 1, false)] {
        let blob = suite::write(&store, suite::content(1, size).chunks(1_000).map(Bytes::copy_from_slice)).await.unwrap();
        assert_eq!(segment_of(&blob.id).is_some(), in_segment, "write of {size}");
    }
}

#[tokio::test]
async fn a_stale_identifier_reads_and_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let blob = put(&store, 1, 1_000).await;
    let Some(Address::Segment(mut record)) = Address::decode(&blob.id) else { panic!("it is small") };
    record.nonce[3] ^= 1;
    let stale = Address::Segment(record).encode();
    suite::assert_gone(&store, &stale).await;
    store.delete(&stale).await.unwrap();
    assert_intact(&store, &blob, 1).await;
}

#[tokio::test]
async fn every_life_begins_a_segment_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    let mut kept = Vec::new();
    for seed in 0..6 {
        let store = open(dir.path()).await;
        let blob = put(&store, seed, 5_000).await;
        let segment = segment_of(&blob.id).unwrap();
        assert!(segment > last, "segment {segment} after {last}");
        last = segment;
        // Even an emptied segment's number does not come again.
        if seed % 2 == 0 {
            store.delete(&blob.id).await.unwrap();
        } else {
            kept.push((blob, seed));
        }
    }
    let store = open(dir.path()).await;
    for (blob, seed) in kept {
        assert_intact(&store, &blob, seed).await;
    }
}

#[tokio::test]
async fn a_store_opens_beside_files_of_others() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    for name in ["seg/README", "seg/00000001.bak", "big/00/notes", "notes"] {
        std::fs::write(dir.path().join(name), "notes").unwrap();
    }
    let store = open(dir.path()).await;
    let blob = put(&store, 1, 100).await;
    assert_intact(&store, &blob, 1).await;
    assert_eq!(segment_of(&blob.id), Some(1));
}
