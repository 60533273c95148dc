//! A device that fails.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{assert_intact, eventually, names, put, segment_of, small};
use crate::{BlobStore, DiskBlobStore, Error, disk::engine::Components, suite};

/// A device whose flushes fail while the switch is on, and who asked for one.
#[derive(Default)]
struct Device {
    fails: AtomicBool,
    /// The files stay open, lest a new one gets the inode of one that was removed.
    flushes: Mutex<Vec<(File, bool)>>,
}

impl Device {
    fn sync(&self, file: &File) -> io::Result<()> {
        let fails = self.fails.load(Ordering::SeqCst);
        self.flushes.lock().push((file.try_clone()?, fails));
        if fails { Err(io::Error::from_raw_os_error(5)) } else { file.sync_data() }
    }
}

async fn open(dir: &std::path::Path) -> (DiskBlobStore, Arc<Device>) {
    let device = Arc::new(Device::default());
    let sync = Arc::clone(&device);
    let components = Components { sync: Arc::new(move |file: &File| sync.sync(file)), ..Components::default() };
    (DiskBlobStore::open_with(dir.to_owned(), small(), components).await.unwrap(), device)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_flush_writes_go_to_another_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (store, device) = open(dir.path()).await;
    let before = put(&store, 1, 5_000).await;

    device.fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let outcome = store.put(vec![Bytes::from_static(b"lost")]).await;
        assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
    }
    device.fails.store(false, Ordering::SeqCst);

    let after = put(&store, 2, 5_000).await;
    assert!(segment_of(&after.id) > segment_of(&before.id));
    assert_intact(&store, &before, 1).await;
    assert_intact(&store, &after, 2).await;
    let inode = |(file, fails): &(File, bool)| (file.metadata().unwrap().ino(), *fails);
    let flushes: Vec<_> = device.flushes.lock().iter().map(inode).collect();
    assert_eq!(flushes.iter().filter(|(_, failed)| *failed).count(), 3);
    for (at, (inode, failed)) in flushes.iter().enumerate() {
        assert!(!failed || flushes[at + 1..].iter().all(|(later, _)| later != inode), "a failed flush was tried again: {flushes:?}");
    }
}

#[tokio::test]
async fn a_large_blob_whose_flush_fails_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (store, device) = open(dir.path()).await;
    device.fails.store(true, Ordering::SeqCst);
    let outcome = suite::write(&store, [Bytes::from(vec![7; 300_000])]).await;
    assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
    assert_eq!(store.usage().await.unwrap().stored_bytes, 0);
    assert!(names(&dir.path().join("tmp")).is_empty());
    device.fails.store(false, Ordering::SeqCst);
    let blob = put(&store, 1, 300_000).await;
    assert_intact(&store, &blob, 1).await;
}

#[tokio::test]
async fn a_writer_stays_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    let mut writer = store.create().await.unwrap();
    std::fs::remove_dir(dir.path().join("tmp")).unwrap();
    // The first buffer is handed over, and what became of it is learnt with the second.
    writer.write(vec![7; 100_000].into()).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(writer.write(vec![7; 100_000].into()).await, Err(Error::Io { .. })));
    }
    assert!(matches!(writer.finish().await, Err(Error::Io { .. })));
    std::fs::create_dir(dir.path().join("tmp")).unwrap();
    let blob = put(&store, 1, 300_000).await;
    assert_intact(&store, &blob, 1).await;
    eventually("nothing unfinished is left", async || names(&dir.path().join("tmp")).is_empty()).await;
}
