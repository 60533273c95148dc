//! What the PostgreSQL engine promises, on a real PostgreSQL of the test's own. Where none is installed the tests say so and check nothing.

mod dumps;
mod faults;
mod nearby;
mod proxy;
mod server;

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use umbra_core::ErrorKind;
use umbra_meta::{
    Batch, Error, Expect, KeyRange, MetaStore, Partition, PostgresMetaStore, PostgresSettings, Projection, Revision, SharedMetaStore,
    counter_value, suite,
};

use server::{Server, needs_postgres};

const P: Partition = Partition(5);

/// Settings under the name that all stores of a test share: one may follow the other, or open beside it.
fn settings() -> PostgresSettings {
    PostgresSettings { node: "test".to_owned(), ..PostgresSettings::default() }
}

async fn open(server: &Server, settings: PostgresSettings) -> PostgresMetaStore {
    PostgresMetaStore::open(&server.url(), None, settings).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_conforms() {
    let server = needs_postgres!();
    suite::run(Arc::new(open(&server, settings()).await)).await;
}

/// With the least of everything, on a runtime of one thread: nothing may depend on there being room.
#[tokio::test]
async fn postgres_conforms_when_it_is_cramped() {
    let server = needs_postgres!();
    let cramped = PostgresSettings { connections_max: 1, patience: Duration::from_secs(60), ..settings() };
    suite::run(Arc::new(open(&server, cramped).await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_and_revisions_survive_a_restart() {
    let server = needs_postgres!();
    let mut last = Revision(0);
    for round in 0..3 {
        let store = open(&server, settings()).await;
        if round > 0 {
            let entry = store.get(P, b"key").await.unwrap().unwrap();
            assert_eq!((entry.revision, &entry.body[..]), (last, &b"body"[..]));
            store.commit(Batch::new(P).check("key", Expect::Revision(last)).delete("key")).await.unwrap();
        }
        let made = store.commit(Batch::new(P).put("key", "head", "body")).await.unwrap().revision;
        assert!(made > last);
        last = made;
        store.shutdown().await.unwrap();
        store.shutdown().await.unwrap();
        assert!(matches!(store.commit(Batch::new(P)).await, Err(Error::Unavailable(_))));
        assert!(matches!(store.get(P, b"key").await, Err(Error::Unavailable(_))));
        if round == 1 {
            server.restart();
        }
    }
}

/// What a database does that several processes write to: they meet in its locks only, since each has gates of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_race_and_lose_nothing() {
    const TURNS: i64 = 20;
    let server = needs_postgres!();
    let stores = [Arc::new(open(&server, settings()).await), Arc::new(open(&server, settings()).await)];
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store = Arc::clone(&stores[task % 2]);
        tasks.spawn(async move {
            for turn in 0..TURNS {
                increment(store.as_ref(), &format!("cas/{}", turn % 3)).await;
                store.commit(Batch::new(P).add("sum", 1).add(format!("sum/{task}"), 1)).await.unwrap();
                // Either of two, whichever comes first: the one expects the other's absence, and does not write it.
                let (mine, other) = if task % 2 == 0 { ("left", "right") } else { ("right", "left") };
                let (mine, other) = (format!("{mine}/{turn}"), format!("{other}/{turn}"));
                match store.commit(Batch::new(P).check(other, Expect::Absent).put(mine, "", "")).await {
                    Ok(_) | Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
    }
    tasks.join_all().await;
    let store = stores[0].as_ref();
    let value = async |key: &str| store.get(P, key.as_bytes()).await.unwrap().and_then(|entry| counter_value(&entry.head)).unwrap();
    assert_eq!(value("sum").await, 8 * TURNS);
    assert_eq!(value("cas/0").await + value("cas/1").await + value("cas/2").await, 8 * TURNS);
    for turn in 0..TURNS {
        let sides = [format!("left/{turn}"), format!("right/{turn}")];
        let found = store.multi_get(P, &[sides[0].as_bytes(), sides[1].as_bytes()]).await.unwrap();
        assert_eq!(found.iter().flatten().count(), 1, "{sides:?}");
    }
}

async fn increment(store: &dyn MetaStore, key: &str) {
    let mut seen = store.get(P, key.as_bytes()).await.unwrap();
    loop {
        let next = seen.as_ref().and_then(|entry| counter_value(&entry.head)).unwrap_or(0) + 1;
        let expect = Expect::unchanged(seen.as_ref().map(|entry| entry.revision));
        match store.commit(Batch::new(P).check(key, expect).put(key, umbra_meta::counter_head(next), "")).await {
            Ok(_) => return,
            Err(Error::Conflict { current, .. }) => seen = current.map(|current| *current),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// What every write checks can be written: those who only check do not pass for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_everybody_checks_can_be_written() {
    let server = needs_postgres!();
    let store = Arc::new(open(&server, settings()).await);
    written_while_checked(&store, &[Arc::clone(&store)], 50).await;
}

/// Also when others do nothing but check it, whom nothing in this process holds back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_other_nodes_check_can_be_written() {
    let server = needs_postgres!();
    let store = Arc::new(open(&server, settings()).await);
    let others = [Arc::new(open(&server, settings()).await), Arc::new(open(&server, settings()).await)];
    written_while_checked(&store, &others, 10).await;
}

async fn written_while_checked(store: &Arc<PostgresMetaStore>, checking: &[Arc<PostgresMetaStore>], times: usize) {
    store.commit(Batch::new(P).put("fence", "", "")).await.unwrap();
    let mut busy = JoinSet::new();
    for task in 0..32 {
        let store = Arc::clone(&checking[task % checking.len()]);
        busy.spawn(async move {
            for n in 0.. {
                store.commit(Batch::new(P).check("fence", Expect::Exists).put(format!("{task}/{n}"), "", "")).await.unwrap();
            }
        });
    }
    for _ in 0..times {
        increment(store.as_ref(), "fence").await;
    }
    busy.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_no_connection_waits_no_longer_than_told() {
    let server = needs_postgres!();
    let store = Arc::new(open(&server, PostgresSettings { connections_max: 1, patience: Duration::from_millis(300), ..settings() }).await);
    let blocker = server.client().await;
    blocker.batch_execute("BEGIN; SELECT n FROM umbra_slot FOR UPDATE").await.unwrap();
    let committing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(Batch::new(P).put("waits", "", "")).await })
    };
    // Within a transaction it would be told the same again and again.
    let watcher = server.client().await;
    while !server.waits_for_a_lock(&watcher).await {}
    let refused = store.get(P, b"waits").await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Unavailable && refused.to_string().contains("busy"), "{refused}");
    blocker.batch_execute("COMMIT").await.unwrap();
    committing.await.unwrap().unwrap();
    assert!(store.get(P, b"waits").await.unwrap().is_some());
}

/// Who was taken for dead commits nothing any more, however far it was, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_fenced_commits_nothing_any_more() {
    let server = needs_postgres!();
    let (first, second) = (Arc::new(open(&server, settings()).await), open(&server, settings()).await);
    assert_ne!(first.incarnation(), second.incarnation());
    first.commit(Batch::new(P).put("key", "first", "")).await.unwrap();

    // In the middle of a commit: its transaction is open, and waits for a slot.
    let blocker = server.client().await;
    blocker.batch_execute("BEGIN; SELECT n FROM umbra_slot FOR UPDATE").await.unwrap();
    let late = {
        let first = Arc::clone(&first);
        tokio::spawn(async move { first.commit(Batch::new(P).put("key", "late", "")).await })
    };
    let watcher = server.client().await;
    while !server.waits_for_a_lock(&watcher).await {}
    let fencing = second.fence(first.incarnation());
    let (fenced, unblocked) = tokio::join!(fencing, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        blocker.batch_execute("COMMIT").await
    });
    unblocked.unwrap();
    fenced.unwrap();
    // It landed before the fence, or it did not: never behind it.
    let seen = second.get(P, b"key").await.unwrap().unwrap();
    let landed = late.await.unwrap().is_ok();
    assert_eq!(seen.head, if landed { "late" } else { "first" });

    second.commit(Batch::new(P).put("key", "second", "")).await.unwrap();
    let refused = first.commit(Batch::new(P).put("key", "first", "")).await.unwrap_err();
    assert!(matches!(refused, Error::Fenced), "{refused}");
    assert_eq!(second.get(P, b"key").await.unwrap().unwrap().head, "second");
    let beside = first.beside(1);
    assert!(matches!(beside.commit(Batch::new(P).put("key", "beside", "")).await, Err(Error::Fenced)));
    // Nor does it read: a heartbeat that only looks finds out, too.
    assert!(matches!(first.get(P, b"key").await, Err(Error::Fenced)));
    second.fence(first.incarnation()).await.unwrap();
    second.commit(Batch::new(P).put("key", "third", "")).await.unwrap();
    second.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_and_a_wrong_address_are_refused() {
    let server = needs_postgres!();
    open(&server, settings()).await.shutdown().await.unwrap();
    let client = server.client().await;
    client.batch_execute("UPDATE umbra_schema SET version = 3").await.unwrap();
    let quick = || PostgresSettings { patience: Duration::from_millis(200), ..settings() };
    let newer = PostgresMetaStore::open(&server.url(), None, quick()).await.unwrap_err();
    assert!(newer.to_string().contains("format 3"), "{newer}");
    let (version, known): (i64, bool) = {
        let row = client.query_one("SELECT version, to_regclass('umbra_kv') IS NOT NULL FROM umbra_schema", &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!((version, known), (3, true), "nothing was changed");
    let elsewhere = server.url().replace("/postgres", "/no-such-database");
    let refused = PostgresMetaStore::open(&elsewhere, Some("secret-word"), quick()).await.unwrap_err();
    assert!(refused.to_string().contains("no-such-database") && !refused.to_string().contains("secret-word"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_changed_are_told_from_good_ones() {
    let server = needs_postgres!();
    let store = open(&server, settings()).await;
    for key in ["good", "head", "body", "rev"] {
        store.commit(Batch::new(P).put(key, "head", "body")).await.unwrap();
    }
    let change = server.client().await;
    change
        .batch_execute("UPDATE umbra_kv SET head = 'heae' WHERE k = 'head'; UPDATE umbra_kv SET body = '' WHERE k = 'body'")
        .await
        .unwrap();
    change.batch_execute("UPDATE umbra_kv SET rev = rev + 1 WHERE k = 'rev'").await.unwrap();
    assert!(store.get(P, b"good").await.unwrap().is_some());
    for (key, part) in [("head", "head"), ("body", "body"), ("rev", "head")] {
        let error = store.get(P, key.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(&format!("{key} in partition 5")) && text.contains(&format!("its {part} ")), "{text}");
    }
    assert_eq!(store.scan(P, KeyRange::prefix(b"body"), 10, Projection::Head).await.unwrap().len(), 1, "a listing does not look at bodies");
    let refused = store.commit(Batch::new(P).check("head", Expect::Exists).put("beside", "", "")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert_eq!(store.get(P, b"beside").await.unwrap(), None);
}
