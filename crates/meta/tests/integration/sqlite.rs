//! What the SQLite engine promises beyond the seam.

use std::{path::Path, sync::Arc, task::Poll, time::Duration};

use rusqlite::Connection;
use umbra_core::ErrorKind;
use umbra_meta::{
    Batch, CommitFault, Entry, Error, Expect, FailingMetaStore, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection, Revision,
    SqliteMetaStore, SqliteSettings, counter_value,
};

const P: Partition = Partition(5);

fn open(path: &Path) -> SqliteMetaStore {
    SqliteMetaStore::open(path, SqliteSettings::default()).unwrap()
}

async fn put(store: &dyn MetaStore, key: &str, body: &'static str) -> Revision {
    store.commit(Batch::new(P).put(key, "head", body)).await.unwrap().revision
}

async fn get(store: &dyn MetaStore, key: &str) -> Option<Entry> {
    store.get(P, key.as_bytes()).await.unwrap()
}

#[tokio::test]
async fn entries_and_revisions_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let mut last = Revision(0);
    for round in 0..4 {
        let store = open(&path);
        if round > 0 {
            assert_eq!(get(&store, "key").await.map(|entry| entry.revision), Some(last));
            // Gone in the same life: the next revision of the key must be new all the same.
            store.commit(Batch::new(P).check("key", Expect::Revision(last)).delete("key")).await.unwrap();
        }
        let made = put(&store, "key", "body").await;
        assert!(made > last);
        last = made;
        if round % 2 == 0 {
            store.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_shut_down_store_refuses_and_leaves_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let store = open(&path);
    put(&store, "key", "body").await;
    store.shutdown().await.unwrap();
    store.shutdown().await.unwrap();
    assert!(matches!(store.commit(Batch::new(P)).await, Err(Error::Unavailable(_))));
    assert!(matches!(store.get(P, b"key").await, Err(Error::Unavailable(_))));
    assert!(!dir.path().join("meta-wal").exists(), "everything is in the file");
    assert!(get(&open(&path), "key").await.is_some(), "it can be opened while the first is still held");
}

#[tokio::test]
async fn commits_in_the_queue_are_finished_by_a_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let store = Arc::new(open(&path));
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { (n, store.commit(Batch::new(P).put(format!("{n:03}"), "", "")).await) })
        })
        .collect();
    tokio::task::yield_now().await;
    store.shutdown().await.unwrap();
    let reopened = open(&path);
    for call in calls {
        let (n, answer) = call.await.unwrap();
        assert_eq!(get(&reopened, &format!("{n:03}")).await.is_some(), answer.is_ok(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_second_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let _store = open(&path);
    let refused = SqliteMetaStore::open(&path, SqliteSettings::default()).unwrap_err();
    assert!(refused.to_string().contains("another process"), "{refused}");
}

#[tokio::test]
async fn files_that_are_not_ours_are_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    open(&path("newer")).shutdown().await.unwrap();
    Connection::open(path("newer")).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    Connection::open(path("other")).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    std::fs::write(path("text"), "this is no database, and long enough to be looked at ".repeat(20)).unwrap();
    for (name, kind, words) in [
        ("newer", ErrorKind::Unavailable, "format 2"),
        ("other", ErrorKind::Unavailable, "another program"),
        ("text", ErrorKind::Corrupt, "not a database"),
        ("no/such/directory", ErrorKind::Unavailable, "No such file"),
    ] {
        let before = std::fs::read(path(name)).ok();
        let refused = SqliteMetaStore::open(&path(name), SqliteSettings::default()).unwrap_err();
        assert_eq!(refused.kind(), kind, "{name}: {refused}");
        assert!(refused.to_string().contains(words), "{name}: {refused}");
        assert_eq!(std::fs::read(path(name)).ok(), before, "{name}");
    }
}

#[tokio::test]
async fn bytes_that_changed_are_told_from_good_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta");
    let store = open(&path);
    for key in ["good", "head", "body", "rev"] {
        put(&store, key, "body").await;
    }
    let change = Connection::open(&path).unwrap();
    change.execute_batch("UPDATE kv SET head = x'68656165' WHERE k = CAST('head' AS BLOB)").unwrap();
    change.execute_batch("UPDATE kv SET body = x'' WHERE k = CAST('body' AS BLOB)").unwrap();
    change.execute_batch("UPDATE kv SET rev = rev + 1 WHERE k = CAST('rev' AS BLOB)").unwrap();
    assert!(get(&store, "good").await.is_some());
    for (key, part) in [("head", "head"), ("body", "body"), ("rev", "head")] {
        let error = store.get(P, key.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(&format!("{key} in partition 5")) && text.contains(&format!("its {part} ")), "{text}");
    }
    let scan = |projection| store.scan(P, KeyRange::prefix(b"body"), 10, projection);
    assert_eq!(scan(Projection::Full).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(scan(Projection::Head).await.unwrap().len(), 1, "a listing does not look at bodies");
    let refused = store.commit(Batch::new(P).check("head", Expect::Exists).put("beside", "", "")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    put(&store, "head", "written over").await;
    assert!(get(&store, "head").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_one_moment_of_a_busy_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&dir.path().join("meta")));
    for n in 0..50 {
        store.commit(Batch::new(P).put(format!("fill/{n}"), "", vec![7; 20_000])).await.unwrap();
    }
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..400 {
                store.commit(Batch::new(P).put(format!("a/{n}"), "", "").put(format!("b/{n}"), "", "").add("count", 1)).await.unwrap();
            }
        })
    };
    let copies: Vec<_> = (0..3).map(|n| dir.path().join(format!("copy-{n}"))).collect();
    for copy in &copies {
        store.backup(copy).await.unwrap();
        assert!(store.backup(copy).await.is_err(), "nothing is written over");
    }
    writing.await.unwrap();
    for copy in &copies {
        let copy = open(copy);
        let rows = async |prefix: &[u8]| copy.scan(P, KeyRange::prefix(prefix), usize::MAX, Projection::Full).await.unwrap().len();
        let (left, right) = (rows(b"a/").await, rows(b"b/").await);
        let count = get(&copy, "count").await.map_or(0, |entry| counter_value(&entry.head).unwrap());
        assert_eq!((left, left as i64), (right, count), "no commit is there by half");
        assert_eq!(rows(b"fill/").await, 50);
        put(&copy, "own", "life").await;
    }
    assert!(!dir.path().join("copy-0.partial").exists());
}

#[tokio::test]
async fn the_log_is_copied_while_commits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("meta"));
    // Over and over the same 2 MiB: without checkpoints the log alone would have all of them. They come when they come, on a busy machine late.
    for n in 1..=1000_u64 {
        store.commit(Batch::new(P).put("large", "", vec![n.to_le_bytes()[0]; 2 << 20])).await.unwrap();
        let log = std::fs::metadata(dir.path().join("meta-wal")).unwrap().len();
        if log + (50 << 20) < n * (2 << 20) {
            return;
        }
        if n > 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("the log never started over");
}

#[tokio::test]
async fn the_failing_store_fails_when_told() {
    let inner = Arc::new(MemoryMetaStore::new());
    let store = FailingMetaStore::new(inner);
    put(&store, "passes", "").await;
    let commit = |key: &'static str| store.commit(Batch::new(P).put(key, "", ""));
    for (fault, key, lands) in [(CommitFault::Unavailable, "before", false), (CommitFault::LostAcknowledgement, "after", true)] {
        store.fail_after(1, fault);
        commit("passes").await.unwrap();
        assert_eq!(commit(key).await.unwrap_err().kind(), ErrorKind::Unavailable);
        commit("passes").await.unwrap();
        assert_eq!(get(&store, key).await.is_some(), lands, "{fault:?}");
    }
    store.set(|_, batch| if batch.writes.len() > 1 { CommitFault::Full } else { CommitFault::None });
    assert_eq!(store.commit(Batch::new(P).delete("a").delete("b")).await.unwrap_err().kind(), ErrorKind::DiskFull);
    store.heal();
    assert!(store.commit(Batch::new(P).delete("a").delete("b")).await.is_ok());
    assert_eq!(store.commits(), 9);
}

#[tokio::test]
async fn a_read_that_is_not_polled_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let settings = SqliteSettings { readers: 1, ..SqliteSettings::default() };
    let store = SqliteMetaStore::open(&dir.path().join("meta"), settings).unwrap();
    put(&store, "key", "body").await;
    let range = || KeyRange { start: Vec::new(), end: None };
    let mut begun: Vec<_> = (0..3).map(|_| store.scan(P, range(), 10, Projection::Full)).collect();
    // Each takes its place in the queue, and is then left alone.
    for read in &mut begun {
        let _is_ready = std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_ready())).await;
    }
    let found = tokio::time::timeout(Duration::from_secs(60), store.scan(P, range(), 10, Projection::Full)).await;
    assert_eq!(found.expect("the others do not keep it waiting").unwrap().len(), 1);
}
