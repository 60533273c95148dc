//! Writing past the page cache: every length is right, whatever the device does, and nothing is left of what failed.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicUsize, Ordering},
    },
};

use super::{assert_intact, eventually, names, open, segment_of, small};
use crate::{
    BlobStore, DiskBlobStore, DiskSettings, Error, StoredBlob,
    disk::{
        address::Address,
        direct::{self, UNIT},
        engine::Components,
        file::read_at,
        record::record_len,
    },
    suite,
};

const PAGE: u64 = UNIT as u64;

/// Writes past the page cache that do as they are told.
#[derive(Default)]
struct Device {
    /// How many succeed, before
    left: AtomicUsize,
    /// they end with this.
    errno: AtomicI32,
}

impl Device {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            return Err(io::Error::from_raw_os_error(self.errno.load(Ordering::SeqCst)));
        }
        direct::write(file, bytes, offset)
    }

    fn fail(&self, after: usize, errno: i32) {
        self.errno.store(errno, Ordering::SeqCst);
        self.left.store(after, Ordering::SeqCst);
    }

    fn heal(&self) {
        self.left.store(usize::MAX, Ordering::SeqCst);
    }
}

async fn open_on(dir: &Path) -> (DiskBlobStore, Arc<Device>) {
    let device = Arc::new(Device::default());
    device.heal();
    let write = Arc::clone(&device);
    let components = Components { write_direct: Arc::new(move |file, bytes, at| write.write(file, bytes, at)), ..Components::default() };
    // Large enough for records of several writes.
    let settings = DiskSettings { segment_bytes: 64 << 20, record_bytes_max: 4 << 20, ..small() };
    (DiskBlobStore::open_with(dir.to_owned(), settings, components).await.unwrap(), device)
}

async fn put(store: &DiskBlobStore, seed: u64, size: usize) -> StoredBlob {
    store.put_unread(vec![suite::content(seed, size).into()]).await.unwrap()
}

fn offset_of(blob: &StoredBlob) -> u64 {
    Address::decode(&blob.id).expect("it was issued here").offset()
}

async fn stored_bytes(store: &DiskBlobStore) -> u64 {
    store.usage().await.unwrap().stored_bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn every_length_is_stored_and_large_records_lie_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open_on(dir.path()).await;
    // The record ends with a unit, just before, and just behind it; so does its content.
    let record_ends = (1..3).map(|units| 64 * 1024 + units * UNIT - (record_len(64 << 10) as usize - (64 << 10)));
    let ends = record_ends.chain([64 << 10, 128 << 10, 1 << 20, 2 << 20, 3 << 20]);
    let mut blobs = Vec::new();
    for (seed, end) in (0..).step_by(16).zip(ends) {
        for (seed, size) in (seed..).step_by(4).zip([end - 1, end, end + 1]) {
            blobs.push((put(&store, seed, size).await, seed));
            blobs.push((put(&store, seed + 1, 1_000).await, seed + 1));
            blobs.push((super::put(&store, seed + 2, size).await, seed + 2));
        }
    }
    let is_aligned = |blob: &StoredBlob, seed: u64| seed.is_multiple_of(4) && blob.size >= 64 << 10;
    let (aligned, dense): (Vec<_>, Vec<_>) = blobs.iter().partition(|(blob, seed)| is_aligned(blob, *seed));
    let segments_of =
        |blobs: &[&(StoredBlob, u64)]| -> BTreeSet<_> { blobs.iter().map(|(blob, _)| segment_of(&blob.id).unwrap()).collect() };
    assert_eq!(aligned.len(), 20);
    assert!(segments_of(&aligned).is_disjoint(&segments_of(&dense)));
    for (blob, _) in aligned {
        assert!(offset_of(blob).is_multiple_of(PAGE));
        let end = offset_of(blob) + record_len(blob.size);
        let file = File::open(dir.path().join("seg").join(format!("{:08x}", segment_of(&blob.id).unwrap()))).unwrap();
        let gap = read_at(&file, end, (end.next_multiple_of(PAGE) - end) as usize).unwrap();
        assert!(gap.iter().all(|&byte| byte == 0), "what follows a record of {} bytes is somebody else's", blob.size);
        assert_eq!(read_at(&file, offset_of(blob), 8).unwrap(), b"UMBRBLOB");
    }
    drop(store);
    let store = open(dir.path()).await;
    for (blob, seed) in &blobs {
        assert_intact(&store, blob, *seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_large_records_give_back_all_they_took() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open_on(dir.path()).await;
    let mut blobs = Vec::new();
    for seed in 0..40_u64 {
        blobs.push((put(&store, seed, (3 << 20) + seed as usize * 999).await, seed));
    }
    let last = segment_of(&blobs.last().unwrap().0.id).unwrap();
    let (kept, deleted): (Vec<_>, Vec<_>) = blobs.into_iter().partition(|(_, seed)| seed % 7 == 3);
    for (blob, _) in &deleted {
        store.delete(&blob.id).await.unwrap();
    }
    let bound: u64 = kept.iter().map(|(blob, _)| record_len(blob.size).next_multiple_of(PAGE)).sum();
    assert!(stored_bytes(&store).await <= bound + 4 * PAGE, "{} of {bound}", stored_bytes(&store).await);
    for (blob, seed) in &kept {
        assert_intact(&store, blob, *seed).await;
        store.delete(&blob.id).await.unwrap();
    }
    assert!(stored_bytes(&store).await <= 2 * PAGE);
    assert_eq!(names(&dir.path().join("seg")), [format!("{last:08x}")].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_segment_is_removed_when_the_one_of_its_packing_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open_on(dir.path()).await;
    let large = put(&store, 1, 3 << 20).await;
    // A higher number, so that the one of the large record is not the highest.
    let beside = put(&store, 2, 100).await;
    store.delete(&large.id).await.unwrap();
    assert_eq!(names(&dir.path().join("seg")).len(), 2, "it still grows");
    let mut next = put(&store, 3, 3 << 20).await;
    while segment_of(&next.id) == segment_of(&large.id) {
        store.delete(&next.id).await.unwrap();
        next = put(&store, 3, 3 << 20).await;
    }
    let left: BTreeSet<_> = [&beside, &next].map(|blob| format!("{:08x}", segment_of(&blob.id).unwrap())).into();
    assert_eq!(names(&dir.path().join("seg")), left);
    assert_intact(&store, &next, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fails_in_the_middle_leaves_nothing() {
    for after in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let (store, device) = open_on(dir.path()).await;
        let before = put(&store, 1, 3 << 20).await;
        let stored = stored_bytes(&store).await;

        device.fail(after, 5);
        let outcome = store.put_unread(vec![suite::content(2, 3 << 20).into()]).await;
        assert!(matches!(outcome, Err(Error::Io { .. })), "{after}: {outcome:?}");
        device.heal();
        eventually("nothing is left of it", async || stored_bytes(&store).await <= stored + PAGE).await;

        let after = put(&store, 3, 3 << 20).await;
        assert!(segment_of(&after.id) > segment_of(&before.id), "nothing is written where a write has failed");
        assert_intact(&store, &before, 1).await;
        assert_intact(&store, &after, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_the_middle_is_full_and_gets_its_space_back() {
    for after in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let (store, device) = open_on(dir.path()).await;
        let before = put(&store, 1, 3 << 20).await;
        let stored = stored_bytes(&store).await;
        device.fail(after, 28);
        let outcome = store.put_unread(vec![suite::content(2, 3 << 20).into()]).await;
        assert!(matches!(outcome, Err(Error::Full(_))), "{after}: {outcome:?}");
        device.heal();
        eventually("its space is free", async || stored_bytes(&store).await <= stored + PAGE && names(&dir.path().join("tmp")).is_empty())
            .await;
        let next = put(&store, 3, 3 << 20).await;
        assert_eq!(segment_of(&next.id), segment_of(&before.id), "the segment goes on");
        assert_intact(&store, &before, 1).await;
        assert_intact(&store, &next, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_goes_through_the_page_cache() {
    for after in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let (store, device) = open_on(dir.path()).await;
        device.fail(after, 22);
        let mut blobs = Vec::new();
        for seed in 1..5 {
            blobs.push((put(&store, seed, (3 << 20) + 77).await, seed));
        }
        drop(store);
        let store = open(dir.path()).await;
        for (blob, seed) in blobs {
            assert_intact(&store, &blob, seed).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_in_memory_is_never_asked() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    let (store, device) = open_on(dir.path()).await;
    device.fail(0, 5);
    let record = put(&store, 2, (3 << 20) + 77).await;
    let beside = put(&store, 3, 100).await;
    assert_eq!(segment_of(&record.id), segment_of(&beside.id), "it needs no segment of its own");
    assert_eq!(offset_of(&beside), record_len(record.size));
    for (blob, seed) in [(&record, 2), (&beside, 3)] {
        assert_intact(&store, blob, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open_on(dir.path()).await;
    let writing = (0..48_u64).map(|seed| {
        let store = store.clone();
        tokio::spawn(async move {
            let size = (1 << 20) + seed as usize * 30_011;
            (put(&store, seed, size).await, seed)
        })
    });
    for written in futures::future::join_all(writing).await {
        let (blob, seed) = written.unwrap();
        assert_intact(&store, &blob, seed).await;
    }
}
