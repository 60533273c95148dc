//! What is not finished leaves nothing.

use std::{
    fs::File,
    sync::{Arc, mpsc},
};

use parking_lot::Mutex;

use super::{assert_intact, eventually, names, open, put, small};
use crate::{BlobStore, DiskBlobStore, disk::engine::Components, suite};

#[tokio::test]
async fn an_abandoned_writer_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for size in [10, 100_000, 500_000] {
        let mut writer = store.create().await.unwrap();
        for chunk in suite::content(1, size).chunks(40_000) {
            writer.write(chunk.to_vec().into()).await.unwrap();
        }
        drop(writer);
        eventually("its file is gone", async || names(&dir.path().join("tmp")).is_empty()).await;
        assert_eq!(store.usage().await.unwrap().stored_bytes, 0);
    }
}

#[tokio::test]
async fn unfinished_files_of_an_earlier_life_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    std::fs::write(dir.path().join("tmp").join("0123"), "unfinished").unwrap();
    drop(open(dir.path()).await);
    assert!(names(&dir.path().join("tmp")).is_empty());
}

/// A store whose flushes wait for a word.
async fn slow(dir: &std::path::Path) -> (DiskBlobStore, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (entered, is_entered) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    let is_released = Mutex::new(is_released);
    let sync = move |file: &File| {
        let _ = entered.send(());
        // Once the test has let go of it, nothing waits any more.
        let _ = is_released.lock().recv();
        file.sync_data()
    };
    let components = Components { sync: Arc::new(sync), ..Components::default() };
    (DiskBlobStore::open_with(dir.to_owned(), small(), components).await.unwrap(), is_entered, release)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_nobody_waits_for_any_more_leaves_nothing() {
    for size in [10_000, 600_000] {
        let dir = tempfile::tempdir().unwrap();
        let (store, is_entered, release) = slow(dir.path()).await;
        let writing = {
            let store = store.clone();
            tokio::spawn(async move { store.put(vec![suite::content(1, size).into()]).await })
        };
        tokio::task::spawn_blocking(move || is_entered.recv().unwrap()).await.unwrap();
        writing.abort();
        assert!(writing.await.unwrap_err().is_cancelled());
        drop(release);
        eventually("the blob is gone", async || store.usage().await.unwrap().stored_bytes <= 4096).await;
        let next = put(&store, 2, size).await;
        assert_intact(&store, &next, 2).await;
    }
}
