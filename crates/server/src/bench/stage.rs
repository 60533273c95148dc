//! What a server holds while it is measured: buckets, objects to read, keys to list.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use umbra_core::{Random, SystemRandom};

use super::{
    case::{Case, Operation, Plan},
    content::STAMP_LEN,
    load::{self, Source},
    peer::Peer,
    size::Size,
    task::{Action, Key, PAGE_LEN, Task},
};
use crate::cli::Outcome;

/// How many connections prepare and clear.
const CONNECTIONS: usize = 16;
/// How much is kept of one size to be read: more objects than are ever under way, few enough to stay in the page cache.
const READ_BYTES: u64 = 128 << 20;
const READ_OBJECTS_MAX: u64 = 1000;
const READ_OBJECTS_MIN: u64 = 2;
/// How many objects are made to be deleted, where none were put before.
const DELETED_OBJECTS: usize = 1000;

/// A server with what it holds.
pub(super) struct Stage {
    pub(super) peer: Arc<Peer>,
    objects: Arc<str>,
    /// The buckets to list, with their keys.
    flat: Listed,
    nested: Listed,
    /// Those that exist.
    buckets: Vec<Arc<str>>,
    /// What stands to be read, by size.
    standing: HashMap<Size, Arc<Vec<Key>>>,
    /// What has been put since it was last cleared away.
    put: Arc<Mutex<Vec<Key>>>,
    /// What was put to be deleted, by the number of connections that delete it.
    doomed: HashMap<usize, Arc<Vec<Key>>>,
    deleted: Arc<AtomicUsize>,
    numbers: Arc<AtomicU64>,
}

/// A bucket to list.
#[derive(Clone)]
struct Listed {
    bucket: Arc<str>,
    /// Keys in all.
    keys: usize,
    /// Keys below one prefix; none when there are no prefixes.
    keys_per_prefix: Option<usize>,
}

impl Listed {
    fn key(&self, index: usize) -> String {
        match self.keys_per_prefix {
            None => format!("k{index:08}"),
            Some(count) => format!("d{:08}/k{}", index / count, index % count),
        }
    }

    /// A page from somewhere.
    fn page(&self, lot: u64) -> Task {
        let entries = self.keys / self.keys_per_prefix.unwrap_or(1);
        let starts = entries.saturating_sub(PAGE_LEN) as u64;
        let after = match (starts, self.keys_per_prefix) {
            (0, _) => String::new(),
            (_, None) => format!("k{:08}", lot % starts),
            // The tilde sorts after the slash: after every key below the prefix.
            (_, Some(_)) => format!("d{:08}~", lot % starts),
        };
        let action = Action::List { delimiter: self.keys_per_prefix.is_some(), after, entries: entries.min(PAGE_LEN) };
        Task { bucket: Arc::clone(&self.bucket), action }
    }
}

impl Stage {
    pub(super) fn new(peer: Peer, plan: &Plan) -> Self {
        let mut lot = [0; 8];
        SystemRandom.fill(&mut lot);
        let name = format!("umbra-bench-{:08x}", u64::from_le_bytes(lot) >> 32);
        let listed = |kind, keys_per_prefix: Option<usize>| Listed {
            bucket: format!("{name}-{kind}").into(),
            keys: plan.keys / keys_per_prefix.unwrap_or(1) * keys_per_prefix.unwrap_or(1),
            keys_per_prefix,
        };
        Self {
            peer: Arc::new(peer),
            objects: format!("{name}-objects").into(),
            flat: listed("flat", None),
            nested: listed("nested", Some(2)),
            buckets: Vec::new(),
            standing: HashMap::new(),
            put: Arc::default(),
            doomed: HashMap::new(),
            deleted: Arc::default(),
            numbers: Arc::new(AtomicU64::new(u64::from_le_bytes(lot))),
        }
    }

    /// Makes everything that `plan` needs.
    pub(super) async fn prepare(&mut self, plan: &Plan) -> Outcome {
        let has = |operation: Operation| plan.cases.iter().any(|case| case.operation == operation);
        if plan.cases.iter().any(|case| !case.operation.lists()) {
            self.create_bucket(&self.objects.clone()).await?;
        }
        for case in plan.cases.iter().filter(|case| matches!(case.operation, Operation::Get | Operation::Head)) {
            if let Some(size) = case.size {
                self.prepare_standing(size).await?;
            }
        }
        for (operation, listed) in [(Operation::List, self.flat.clone()), (Operation::ListPrefixes, self.nested.clone())] {
            if has(operation) {
                self.create_bucket(&listed.bucket).await?;
                let keys = (0..listed.keys).map(|index| Key { text: listed.key(index), number: index as u64 });
                self.fill(&listed.bucket, keys.collect(), STAMP_LEN as u64).await?;
            }
        }
        Ok(())
    }

    async fn prepare_standing(&mut self, size: Size) -> Outcome {
        if self.standing.contains_key(&size) {
            return Ok(());
        }
        let count = (READ_BYTES / size.bytes()).clamp(READ_OBJECTS_MIN, READ_OBJECTS_MAX);
        let keys: Vec<_> = (0..count).map(|_| self.new_key(&format!("get/{}/", size.bytes()))).collect();
        self.standing.insert(size, Arc::new(keys.clone()));
        self.fill(&self.objects.clone(), keys, size.bytes()).await
    }

    /// Makes sure that there is something to delete where that is measured.
    pub(super) async fn before(&mut self, case: &Case) -> Outcome {
        let (Operation::Delete, Some(size)) = (case.operation, case.size) else { return Ok(()) };
        self.deleted.store(0, Ordering::Relaxed);
        if self.doomed.contains_key(&case.connections) {
            return Ok(());
        }
        let keys: Vec<_> = (0..DELETED_OBJECTS).map(|_| self.new_key("put/")).collect();
        self.doomed.insert(case.connections, Arc::new(keys.clone()));
        self.fill(&self.objects.clone(), keys, size.bytes()).await
    }

    /// The requests of `case`, without end but for those that delete.
    pub(super) fn source(&self, case: &Case) -> Source {
        let (bucket, numbers) = (Arc::clone(&self.objects), Arc::clone(&self.numbers));
        let task = move |action| Some(Task { bucket: Arc::clone(&bucket), action });
        let size = case.size.map_or(0, Size::bytes);
        match case.operation {
            Operation::Put => {
                let put = Arc::clone(&self.put);
                Arc::new(move || {
                    let key = Key::stamped("put/", next(&numbers));
                    put.lock().push(key.clone());
                    task(Action::Put(key, size))
                })
            }
            Operation::Get | Operation::Head => {
                let keys = case.size.and_then(|size| self.standing.get(&size).cloned()).unwrap_or_default();
                let is_get = case.operation == Operation::Get;
                Arc::new(move || {
                    let key = keys.get(choose(next(&numbers), keys.len()))?.clone();
                    task(if is_get { Action::Get(key, size) } else { Action::Head(key, size) })
                })
            }
            Operation::Delete => {
                let keys = self.doomed.get(&case.connections).cloned().unwrap_or_default();
                let deleted = Arc::clone(&self.deleted);
                Arc::new(move || task(Action::Delete(keys.get(deleted.fetch_add(1, Ordering::Relaxed))?.clone())))
            }
            Operation::List | Operation::ListPrefixes => {
                let listed = if case.operation == Operation::List { self.flat.clone() } else { self.nested.clone() };
                Arc::new(move || Some(listed.page(next(&numbers))))
            }
        }
    }

    /// Clears away what `case` left; what was put is kept where its deletion is to be measured.
    pub(super) async fn after(&mut self, case: &Case, plan: &Plan) -> Outcome {
        match case.operation {
            Operation::Put => {
                let keys = std::mem::take(&mut *self.put.lock());
                let keys = if plan.has(Operation::Delete, case.size) {
                    self.doomed.insert(case.connections, Arc::new(keys))
                } else {
                    Some(Arc::new(keys))
                };
                self.delete(&self.objects.clone(), keys.map(Arc::unwrap_or_clone).unwrap_or_default()).await
            }
            Operation::Delete => {
                let mut keys = self.doomed.remove(&case.connections).map(Arc::unwrap_or_clone).unwrap_or_default();
                let done = self.deleted.load(Ordering::Relaxed).min(keys.len());
                self.delete(&self.objects.clone(), keys.split_off(done)).await
            }
            _ => Ok(()),
        }
    }

    /// Deletes everything that was made.
    pub(super) async fn clear(&mut self) -> Outcome {
        let buckets = std::mem::take(&mut self.buckets);
        for bucket in buckets {
            let mut keys = Vec::new();
            for listed in [&self.flat, &self.nested].into_iter().filter(|listed| listed.bucket == bucket) {
                keys.extend((0..listed.keys).map(|index| Key { text: listed.key(index), number: index as u64 }));
            }
            if bucket == self.objects {
                keys.append(&mut self.put.lock());
                let held = self.standing.drain().map(|(_, keys)| keys).chain(self.doomed.drain().map(|(_, keys)| keys));
                keys.extend(held.flat_map(Arc::unwrap_or_clone));
            }
            self.delete(&bucket, keys).await?;
            self.each(vec![Task { bucket, action: Action::DeleteBucket }]).await?;
        }
        Ok(())
    }

    async fn create_bucket(&mut self, bucket: &Arc<str>) -> Outcome {
        self.each(vec![Task { bucket: Arc::clone(bucket), action: Action::CreateBucket }]).await?;
        self.buckets.push(Arc::clone(bucket));
        Ok(())
    }

    async fn fill(&self, bucket: &Arc<str>, keys: Vec<Key>, size: u64) -> Outcome {
        self.each(keys.into_iter().map(|key| Task { bucket: Arc::clone(bucket), action: Action::Put(key, size) }).collect()).await
    }

    async fn delete(&self, bucket: &Arc<str>, keys: Vec<Key>) -> Outcome {
        self.each(keys.into_iter().map(|key| Task { bucket: Arc::clone(bucket), action: Action::Delete(key) }).collect()).await
    }

    /// Does all of `tasks`, in any order.
    async fn each(&self, tasks: Vec<Task>) -> Outcome {
        if tasks.is_empty() {
            return Ok(());
        }
        let connections = CONNECTIONS.min(tasks.len());
        let tasks = Mutex::new(tasks.into_iter());
        let source: Source = Arc::new(move || tasks.lock().next());
        load::finish(&self.peer, connections, &source).await
    }

    fn new_key(&self, prefix: &str) -> Key {
        Key::stamped(prefix, next(&self.numbers))
    }
}

/// The next number of a sequence without order and without repetition: splitmix64.
fn next(numbers: &AtomicU64) -> u64 {
    let mut number = numbers.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// An index below `len`.
fn choose(lot: u64, len: usize) -> usize {
    usize::try_from(lot % (len.max(1) as u64)).expect("an index")
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::atomic::AtomicU64};

    use super::{Action, Listed, next};

    #[test]
    fn numbers_do_not_repeat() {
        let numbers = AtomicU64::new(u64::MAX - 5);
        let seen: HashSet<_> = (0..10_000).map(|_| next(&numbers)).collect();
        assert_eq!(seen.len(), 10_000);
    }

    #[test]
    fn every_page_is_full_wherever_it_starts() {
        for (keys, keys_per_prefix, expected) in
            [(5000, None, 1000), (5000, Some(2), 1000), (10, None, 10), (1000, Some(2), 500), (1001, None, 1000)]
        {
            let listed = Listed { bucket: "b".into(), keys, keys_per_prefix };
            let all: Vec<_> = (0..keys).map(|index| listed.key(index)).collect();
            assert!(all.is_sorted());
            for lot in [0, 1, 999, 12_345, u64::MAX] {
                let Action::List { delimiter, after, entries } = listed.page(lot).action else { panic!("no listing") };
                let after_it = all.iter().filter(|key| **key > after);
                let found = if delimiter {
                    after_it.filter_map(|key| key.split_once('/')).map(|(prefix, _)| prefix).collect::<HashSet<_>>().len()
                } else {
                    after_it.count()
                };
                assert_eq!((entries, found.min(1000)), (expected, expected), "{keys} {keys_per_prefix:?} {after}");
            }
        }
    }
}
