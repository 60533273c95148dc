//! The database restarts, ends connections, or goes away in the middle of commits: what was acknowledged is there, what was refused is not.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use umbra_meta::{Batch, Error, Expect, KeyRange, MetaStore, PostgresMetaStore, PostgresSettings, Projection, counter_value};

use super::{
    P, open,
    proxy::{Cut, Proxy},
    server::{Server, needs_postgres},
    settings,
};

const WRITERS: usize = 12;

/// Writers that go on until told to stop, and what they were told.
struct Load {
    store: Arc<PostgresMetaStore>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: JoinSet<Vec<(String, Result<(), Error>)>>,
}

impl Load {
    fn start(store: PostgresMetaStore) -> Self {
        let (store, stop, acknowledged) = (Arc::new(store), Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(Arc::clone(&store), writer, Arc::clone(&stop), Arc::clone(&acknowledged)));
        }
        Self { store, stop, acknowledged, writers }
    }

    /// Waits until `more` commits were acknowledged.
    async fn progress(&self, more: usize) {
        let target = self.acknowledged.load(Ordering::SeqCst) + more;
        while self.acknowledged.load(Ordering::SeqCst) < target {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends the writers and compares what they were told with what is there.
    async fn check(self) {
        self.stop.store(true, Ordering::SeqCst);
        let told: Vec<_> = self.writers.join_all().await.into_iter().flatten().collect();
        let names = async |part: &str| -> BTreeSet<String> {
            let rows = self.store.scan(P, KeyRange::prefix(part.as_bytes()), usize::MAX, Projection::Full).await.unwrap();
            rows.into_iter().map(|entry| String::from_utf8(entry.key[part.len()..].to_vec()).unwrap()).collect()
        };
        let (left, right) = (names("a/").await, names("b/").await);
        assert_eq!(left, right, "a commit is there by half");
        for (name, answer) in &told {
            match answer {
                Ok(()) => assert!(left.contains(name), "{name} was acknowledged and is lost"),
                // Had one been done twice, the second time would have met the first as a conflict.
                Err(Error::Unavailable(_)) => assert!(!left.contains(name), "{name} was refused and is there"),
                Err(error) => panic!("{name}: {error:?}"),
            }
        }
        let count = self.store.get(P, b"count").await.unwrap().and_then(|entry| counter_value(&entry.head));
        assert_eq!(count, Some(left.len() as i64), "what is counted is what is there");
    }
}

async fn write(
    store: Arc<PostgresMetaStore>,
    writer: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<(String, Result<(), Error>)> {
    let mut told = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("{writer}/{n}");
        let answer = store.commit(batch(&name)).await.map(drop);
        acknowledged.fetch_add(usize::from(answer.is_ok()), Ordering::SeqCst);
        told.push((name, answer));
    }
    told
}

/// Written once or not at all: a second time is a conflict.
fn batch(name: &str) -> Batch {
    let (left, right) = (format!("a/{name}"), format!("b/{name}"));
    Batch::new(P).check(left.as_str(), Expect::Absent).put(left, "", "").put(right, "", "").add("count", 1)
}

/// More time than a busy machine takes to start a database again.
fn patient() -> PostgresSettings {
    PostgresSettings { patience: Duration::from_secs(60), ..settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_and_restarts_loses_nothing() {
    let server = needs_postgres!();
    let load = Load::start(open(&server, patient()).await);
    for _ in 0..4 {
        load.progress(100).await;
        tokio::task::block_in_place(|| server.restart());
    }
    load.progress(20).await;
    load.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_ended_anywhere_lose_nothing() {
    let server = needs_postgres!();
    let load = Load::start(open(&server, patient()).await);
    let client = server.client().await;
    let end_one = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'umbra' AND state <> 'idle' ORDER BY random() LIMIT 1";
    let mut ended = 0;
    while ended < 100 {
        ended += client.query(end_one, &[]).await.unwrap().len();
        load.progress(2).await;
    }
    load.check().await;
}

async fn behind_a_proxy(server: &Server, outcome_wait: Duration) -> (Proxy, PostgresMetaStore) {
    let proxy = Proxy::start(server.port()).await;
    let settings = PostgresSettings { outcome_wait, ..patient() };
    let store = PostgresMetaStore::open(&server.url_at(proxy.port), None, settings).await.unwrap();
    (proxy, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_a_commit_whose_answer_is_lost_is_found_out() {
    let server = needs_postgres!();
    let (proxy, store) = behind_a_proxy(&server, Duration::from_secs(60)).await;
    for (n, cut) in [Cut::Answer, Cut::Before, Cut::Answer, Cut::Before].into_iter().enumerate() {
        proxy.cut_next(cut);
        let revision = store.commit(batch(&n.to_string())).await.unwrap().revision;
        assert!(proxy.has_cut());
        let entry = store.get(P, format!("a/{n}").as_bytes()).await.unwrap().unwrap();
        assert_eq!(entry.revision, revision, "{cut:?}");
    }
    let count = store.get(P, b"count").await.unwrap().and_then(|entry| counter_value(&entry.head));
    assert_eq!(count, Some(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_refused_stays_refused_when_the_answer_is_lost() {
    let server = needs_postgres!();
    let (proxy, store) = behind_a_proxy(&server, Duration::from_secs(60)).await;
    store.commit(batch("there")).await.unwrap();
    for cut in [Cut::Answer, Cut::Before] {
        proxy.cut_next(cut);
        // A conflict is found before anything is committed.
        assert!(matches!(store.commit(batch("there")).await, Err(Error::Conflict { .. })));
        store.commit(batch(&format!("{cut:?}"))).await.unwrap();
        assert!(proxy.has_cut());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_is_unknown_only_while_the_database_stays_away() {
    let server = needs_postgres!();
    let (proxy, store) = behind_a_proxy(&server, Duration::from_millis(500)).await;
    proxy.cut_next(Cut::AnswerForGood);
    let answer = store.commit(batch("lost")).await;
    assert!(matches!(answer, Err(Error::Unknown(_))), "{answer:?}");
    proxy.cut_next(Cut::None);
    assert!(store.get(P, b"a/lost").await.unwrap().is_some(), "it was committed, and said neither way");
    store.commit(batch("found")).await.unwrap();
}
