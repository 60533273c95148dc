//! Every engine passes the same suite.

use std::sync::Arc;

use umbra_meta::{FailingMetaStore, MemoryMetaStore, SqliteMetaStore, SqliteSettings, suite};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    suite::run(Arc::new(MemoryMetaStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failing_wrapper_conforms_while_nothing_fails() {
    suite::run(Arc::new(FailingMetaStore::new(Arc::new(MemoryMetaStore::new())))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_conforms() {
    let dir = tempfile::tempdir().unwrap();
    suite::run(Arc::new(SqliteMetaStore::open(&dir.path().join("meta"), SqliteSettings::default()).unwrap())).await;
}

/// With the least of everything, on a runtime of one thread: nothing may depend on there being room.
#[tokio::test]
async fn sqlite_conforms_when_it_is_cramped() {
    let dir = tempfile::tempdir().unwrap();
    let settings = SqliteSettings {
        readers: 1,
        writer_cache_bytes: 64 << 10,
        reader_cache_bytes: 64 << 10,
        queue_batches_max: 1,
        group_batches_max: 2,
    };
    suite::run(Arc::new(SqliteMetaStore::open(&dir.path().join("meta"), settings).unwrap())).await;
}
