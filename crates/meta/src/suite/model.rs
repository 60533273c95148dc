//! Random histories against an ordered map.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::runtime::Handle;

use super::MODEL;
use crate::{
    Batch, DelimPage, Entry, Error, Expect, KeyRange, MetaStore, Partition, Projection, Revision, ScanDelim, Write, counter_head,
    counter_value,
};

const CASES: u32 = 48;

pub(super) async fn run(store: &Arc<dyn MetaStore>) {
    let store = Arc::clone(store);
    let handle = Handle::current();
    // The runner is not async: it gets a thread on which it may wait.
    let work = move || {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let partitions = AtomicU64::new(MODEL);
        let history = |steps: Vec<Step>| {
            let partition = Partition(partitions.fetch_add(1, Ordering::Relaxed));
            handle.block_on(replay(store.as_ref(), partition, steps))
        };
        if let Err(failure) = runner.run(&vec(step(), 1..40), history) {
            panic!("the store and the model differ: {failure}");
        }
    };
    tokio::task::spawn_blocking(work).await.expect("the store and the model agree");
}

#[derive(Clone, Debug)]
enum Step {
    Commit { checks: Vec<(Vec<u8>, Wish)>, writes: Vec<Write> },
    Get(Vec<Vec<u8>>),
    Scan(KeyRange, usize, Projection),
    List(ScanDelim),
}

/// What a batch expects, before it is known what is there.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Absent,
    Exists,
    Unchanged,
    Stale,
}

/// Short keys over the bytes that matter, so that they often meet.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![3 => Just(b'/'), 3 => Just(b'a'), 2 => Just(b'b'), 1 => Just(0), 1 => Just(0xff)], 0..5)
}

fn counter_key() -> impl Strategy<Value = Vec<u8>> {
    key().prop_map(|mut key| {
        key.insert(0, b'c');
        key
    })
}

fn value() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (key(), value(), value()).prop_map(|(key, head, body)| Write::Put { key, head, body }),
        2 => key().prop_map(|key| Write::Delete { key }),
        1 => counter_key().prop_map(|key| Write::Delete { key }),
        3 => (counter_key(), -9..9_i64).prop_map(|(key, delta)| Write::Add { key, delta }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wish = prop_oneof![2 => Just(Wish::Absent), 2 => Just(Wish::Exists), 4 => Just(Wish::Unchanged), 1 => Just(Wish::Stale)];
    let projection = prop_oneof![Just(Projection::Head), Just(Projection::Full)];
    let delimiter = prop_oneof![4 => Just(b"/".to_vec()), 1 => Just(b"aa".to_vec()), 1 => Just(vec![0]), 1 => Just(vec![0xff])];
    prop_oneof![
        4 => (vec((key(), wish), 0..2), vec(write(), 0..12)).prop_map(|(checks, writes)| Step::Commit { checks, writes: once(writes) }),
        1 => vec(prop_oneof![key(), counter_key()], 0..5).prop_map(Step::Get),
        2 => (key(), prop::option::of(key()), 0..20_usize, projection)
            .prop_map(|(start, end, limit, projection)| Step::Scan(KeyRange { start, end }, limit, projection)),
        4 => (key(), delimiter, prop::option::of(key()), 0..6_usize)
            .prop_map(|(prefix, delimiter, after, limit)| Step::List(ScanDelim { prefix, delimiter, after, limit })),
    ]
}

/// A key may be written once in a batch.
fn once(writes: Vec<Write>) -> Vec<Write> {
    let key = |write: &Write| match write {
        Write::Put { key, .. } | Write::Delete { key } | Write::Add { key, .. } => key.clone(),
    };
    let by_key: BTreeMap<_, _> = writes.into_iter().map(|write| (key(&write), write)).collect();
    by_key.into_values().collect()
}

async fn replay(store: &dyn MetaStore, partition: Partition, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Commit { checks, writes } => {
                let checks = checks.into_iter().map(|(key, wish)| (model.expect(&key, wish), key));
                let batch = checks.fold(Batch::new(partition), |batch, (expect, key)| batch.check(key, expect));
                model.commit(store, Batch { writes, ..batch }).await?;
            }
            Step::Get(keys) => {
                let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let found = store.multi_get(partition, &asked).await.expect("the keys are read");
                let expected: Vec<_> = keys.iter().map(|key| model.entries.get(key).cloned()).collect();
                prop_assert_eq!(found, expected);
            }
            Step::Scan(range, limit, projection) => {
                let expected = model.scan(&range, limit, projection);
                let found = store.scan(partition, range, limit, projection).await.expect("the range is scanned");
                prop_assert_eq!(found, expected);
            }
            Step::List(scan) => {
                let expected = model.list(&scan);
                let found = store.scan_delim(partition, scan.clone()).await.expect("the listing is read");
                prop_assert_eq!(found, expected, "{:?}", scan);
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<Vec<u8>, Entry>,
    last: Option<Revision>,
}

impl Model {
    fn expect(&self, key: &[u8], wish: Wish) -> Expect {
        match wish {
            Wish::Absent => Expect::Absent,
            Wish::Exists => Expect::Exists,
            Wish::Unchanged => Expect::unchanged(self.entries.get(key).map(|entry| entry.revision)),
            Wish::Stale => Expect::Revision(Revision(1)),
        }
    }

    async fn commit(&mut self, store: &dyn MetaStore, batch: Batch) -> Result<(), TestCaseError> {
        let failing = batch.checks.iter().find(|check| !check.expect.holds(self.entries.get(&check.key).map(|entry| entry.revision)));
        let refusal = failing.map(|check| (check.key.clone(), self.entries.get(&check.key).cloned()));
        let writes = batch.writes.clone();
        match (store.commit(batch).await, refusal) {
            (Ok(committed), None) => {
                prop_assert!(Some(committed.revision) > self.last);
                self.last = Some(committed.revision);
                writes.into_iter().for_each(|write| self.apply(write, committed.revision));
                Ok(())
            }
            (Err(Error::Conflict { key, current }), Some(refusal)) => {
                prop_assert_eq!((key, current.map(|current| *current)), refusal);
                Ok(())
            }
            (result, refusal) => Err(TestCaseError::fail(format!("{result:?} where {refusal:?} was expected"))),
        }
    }

    fn apply(&mut self, write: Write, revision: Revision) {
        let entry = |key: &[u8], head, body| Entry { key: Bytes::copy_from_slice(key), revision, head, body };
        match write {
            Write::Put { key, head, body } => drop(self.entries.insert(key.clone(), entry(&key, head, body))),
            Write::Delete { key } => drop(self.entries.remove(&key)),
            Write::Add { key, delta } => {
                let value = self.entries.get(&key).map_or(0, |entry| counter_value(&entry.head).expect("only counters are added to"));
                self.entries.insert(key.clone(), entry(&key, counter_head(value + delta), Bytes::new()));
            }
        }
    }

    fn scan(&self, range: &KeyRange, limit: usize, projection: Projection) -> Vec<Entry> {
        let inside = |key: &Vec<u8>| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
        let shown = |entry: &Entry| if projection == Projection::Head { headed(entry) } else { entry.clone() };
        self.entries.iter().filter(|(key, _)| inside(key)).take(limit).map(|(_, entry)| shown(entry)).collect()
    }

    /// The listing by its definition: every key is looked at.
    fn list(&self, scan: &ScanDelim) -> DelimPage {
        let mut items: BTreeMap<Vec<u8>, Option<Entry>> = BTreeMap::new();
        for (key, entry) in self.entries.iter().filter(|(key, _)| key.starts_with(&scan.prefix)) {
            let rest = &key[scan.prefix.len()..];
            match (0..rest.len()).find(|at| rest[*at..].starts_with(&scan.delimiter)) {
                Some(at) => items.insert(key[..scan.prefix.len() + at + scan.delimiter.len()].to_vec(), None),
                None => items.insert(key.clone(), Some(headed(entry))),
            };
        }
        items.retain(|item, _| scan.after.as_ref().is_none_or(|after| item > after));
        let mut page = DelimPage { truncated: items.len() > scan.limit, ..DelimPage::default() };
        for (item, entry) in items.into_iter().take(scan.limit) {
            match entry {
                Some(entry) => page.entries.push(entry),
                None => page.common_prefixes.push(item),
            }
        }
        page
    }
}

fn headed(entry: &Entry) -> Entry {
    Entry { body: Bytes::new(), ..entry.clone() }
}
