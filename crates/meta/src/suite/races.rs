//! Many callers at once, and callers that go away.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::task::JoinSet;

use super::{RACES, commit, get, scan};
use crate::{Batch, Error, Expect, KeyRange, MetaStore, Partition, Projection, counter_head, counter_value};

const TASKS: i64 = 16;
const TURNS: i64 = 12;

pub(super) async fn run(store: &Arc<dyn MetaStore>) {
    checked_increments_lose_nothing(store).await;
    counters_lose_nothing(store).await;
    one_of_many_creates_wins(store).await;
    many_keys_are_read_at_one_moment(store).await;
    a_commit_outlives_its_caller(store).await;
}

async fn in_parallel<F>(store: &Arc<dyn MetaStore>, act: impl Fn(Arc<dyn MetaStore>, i64) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(act(Arc::clone(store), task));
    }
    tasks.join_all().await
}

async fn checked_increments_lose_nothing(store: &Arc<dyn MetaStore>) {
    in_parallel(store, |store, _| async move {
        for _ in 0..TURNS {
            increment(store.as_ref(), RACES, b"cas").await;
        }
    })
    .await;
    let sum = get(store.as_ref(), RACES, b"cas").await.expect("it was written");
    assert_eq!(counter_value(&sum.head), Some(TASKS * TURNS));
}

/// Read, then write what follows from it if nothing changed, until it works.
async fn increment(store: &dyn MetaStore, partition: Partition, key: &[u8]) {
    let mut seen = get(store, partition, key).await;
    loop {
        let next = seen.as_ref().and_then(|entry| counter_value(&entry.head)).unwrap_or(0) + 1;
        let expect = Expect::unchanged(seen.as_ref().map(|entry| entry.revision));
        match store.commit(Batch::new(partition).check(key, expect).put(key, counter_head(next), "")).await {
            Ok(_) => return,
            // The conflict says what is there now, so no second read is needed.
            Err(Error::Conflict { current, .. }) => seen = current.map(|current| *current),
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn counters_lose_nothing(store: &Arc<dyn MetaStore>) {
    let refused = in_parallel(store, |store, task| async move {
        let mut refused = 0;
        for turn in 0..TURNS {
            // Some batches fail their check: those must not count.
            let expect = if (task + turn) % 3 == 0 { Expect::Exists } else { Expect::Absent };
            let batch = Batch::new(RACES).check(*b"never", expect).add(*b"added", task).add(*b"turns", 1);
            refused += i64::from(store.commit(batch.put(format!("turn/{task}/{turn}"), "", "")).await.is_err());
        }
        refused
    })
    .await;
    let expected = |weight: fn(i64) -> i64| -> i64 {
        let counted = |task: i64| (0..TURNS).filter(move |turn| (task + turn) % 3 != 0).count() as i64;
        (0..TASKS).map(|task| weight(task) * counted(task)).sum()
    };
    for (key, sum) in [(&b"added"[..], expected(|task| task)), (b"turns", expected(|_| 1))] {
        let counter = get(store.as_ref(), RACES, key).await.expect("it was added to");
        assert_eq!(counter_value(&counter.head), Some(sum), "{}", key.escape_ascii());
    }
    let rows = scan(store.as_ref(), RACES, KeyRange::prefix(b"turn/"), usize::MAX).await.len() as i64;
    assert_eq!((rows, rows + refused.iter().sum::<i64>()), (expected(|_| 1), TASKS * TURNS));
}

async fn one_of_many_creates_wins(store: &Arc<dyn MetaStore>) {
    for round in 0..8 {
        let key = format!("create/{round}");
        let name = key.clone();
        let won = in_parallel(store, move |store, task| {
            let batch = Batch::new(RACES).check(name.as_str(), Expect::Absent).put(name.as_str(), task.to_string(), "");
            async move { (task, store.commit(batch).await) }
        })
        .await;
        let winners: Vec<_> = won.into_iter().filter_map(|(task, result)| Some((task, result.ok()?.revision))).collect();
        let held = get(store.as_ref(), RACES, key.as_bytes()).await.expect("one of them won");
        let [(task, revision)] = winners[..] else { panic!("{winners:?} all won") };
        assert_eq!((&held.head[..], held.revision), (task.to_string().as_bytes(), revision));
    }
}

async fn many_keys_are_read_at_one_moment(store: &Arc<dyn MetaStore>) {
    let keys: Vec<Vec<u8>> = (0..8).map(|n| format!("moment/{}/{n}", n % 2).into_bytes()).collect();
    let write_all = |n: i64| keys.iter().fold(Batch::new(RACES), |batch, key| batch.put(key.as_slice(), counter_head(n), ""));
    commit(store.as_ref(), write_all(0)).await;
    let batches: Vec<_> = (1..60).map(write_all).collect();
    let writing = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for batch in batches {
                commit(store.as_ref(), batch).await;
            }
        })
    };
    let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let mut last = None;
    while !writing.is_finished() {
        let found = store.multi_get(RACES, &asked).await.expect("the keys are read");
        let mut revisions: Vec<_> = found.into_iter().map(|entry| entry.map(|entry| entry.revision)).collect();
        let scanned = scan(store.as_ref(), RACES, KeyRange::prefix(b"moment/"), 100).await;
        assert!(scanned.iter().all(|entry| entry.revision == scanned[0].revision), "a scan saw half a commit");
        let ranges = [&b"moment/0/"[..], b"moment/1/"].map(|prefix| (KeyRange::prefix(prefix), 100)).into();
        let scanned = store.multi_scan(RACES, ranges, Projection::Head).await.expect("the ranges are scanned").concat();
        assert!(scanned.len() == 8 && scanned.iter().all(|entry| entry.revision == scanned[0].revision), "two scans are of two moments");
        revisions.dedup();
        assert_eq!(revisions.len(), 1, "half a commit was read");
        assert!(revisions[0] >= last, "an older state was read after a newer one");
        last = revisions[0];
        tokio::task::yield_now().await;
    }
    writing.await.expect("the writer ended well");
}

/// Once called, a commit runs to its end: a caller that goes away takes nothing with it.
async fn a_commit_outlives_its_caller(store: &Arc<dyn MetaStore>) {
    for n in 0..20 {
        let batch = Batch::new(RACES).put(format!("left/{n}/a"), "", "").put(format!("left/{n}/b"), "", "");
        let mut call = pin!(store.commit(batch));
        // One poll is what "called" means; then it is dropped.
        poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
    }
    loop {
        let found = scan(store.as_ref(), RACES, KeyRange::prefix(b"left/"), 100).await;
        assert_eq!(found.len() % 2, 0, "half a commit was read");
        if found.len() == 40 {
            return;
        }
        tokio::task::yield_now().await;
    }
}
