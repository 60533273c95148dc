//! Metadata in memory: for tests and simulation. Nothing survives the process.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::{
    Batch, Committed, DelimPage, Entry, Error, KeyRange, MetaStore, Partition, Projection, Result, Revision, ScanDelim, Write,
    counter::{counter_head, counter_value, value_at},
    delim::{DelimWalk, Step},
};

/// A [`MetaStore`] in memory: one lock around ordered maps.
#[derive(Debug, Default)]
pub struct MemoryMetaStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    partitions: HashMap<Partition, Keys>,
}

type Keys = BTreeMap<Bytes, Value>;

#[derive(Clone, Debug)]
struct Value {
    revision: Revision,
    head: Bytes,
    body: Bytes,
}

impl MemoryMetaStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl MetaStore for MemoryMetaStore {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        let state = self.state.read();
        let held = state.partitions.get(&partition);
        let find = |key: &&[u8]| held?.get_key_value(*key).map(|(key, value)| value.entry(key, Projection::Full));
        Ok(keys.iter().map(find).collect())
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        let state = self.state.read();
        let held = state.partitions.get(&partition);
        let scan = |(range, limit): &(KeyRange, usize)| {
            let found = held.into_iter().flat_map(|keys| within(keys, range)).take(*limit);
            found.map(|(key, value)| value.entry(key, projection)).collect()
        };
        Ok(ranges.iter().map(scan).collect())
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        let state = self.state.read();
        let mut walk = DelimWalk::new(scan);
        let (Some(keys), Some(mut range)) = (state.partitions.get(&partition), walk.range()) else { return Ok(walk.finish()) };
        while let Some(start) = visit(&mut walk, keys, &range) {
            range.start = start;
        }
        Ok(walk.finish())
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        let mut state = self.state.write();
        let revision = Revision(state.revision + 1);
        let keys = state.partitions.entry(batch.partition).or_default();
        judge(keys, &batch)?;
        for write in batch.writes {
            apply(keys, write, revision);
        }
        state.revision = revision.0;
        Ok(Committed { revision })
    }
}

/// Offers the keys of `range` until the walk asks for a place to go on from.
fn visit(walk: &mut DelimWalk, keys: &Keys, range: &KeyRange) -> Option<Vec<u8>> {
    for (key, value) in within(keys, range) {
        match walk.offer(key) {
            Step::Take => walk.take(value.entry(key, Projection::Head)),
            Step::Next => {}
            Step::Seek(start) => return Some(start),
            Step::Stop => return None,
        }
    }
    None
}

fn within<'a>(keys: &'a Keys, range: &'a KeyRange) -> impl Iterator<Item = (&'a Bytes, &'a Value)> {
    let before_end = |key: &Bytes| range.end.as_ref().is_none_or(|end| key < end);
    keys.range::<[u8], _>((Bound::Included(range.start.as_slice()), Bound::Unbounded)).take_while(move |(key, _)| before_end(key))
}

/// Whether `batch` may be applied: every check holds and every counter is one.
fn judge(keys: &Keys, batch: &Batch) -> Result<()> {
    for check in &batch.checks {
        let current = keys.get_key_value(check.key.as_slice());
        if !check.expect.holds(current.map(|(_, value)| value.revision)) {
            let current = current.map(|(key, value)| Box::new(value.entry(key, Projection::Full)));
            return Err(Error::Conflict { key: check.key.clone(), current });
        }
    }
    for write in &batch.writes {
        if let Write::Add { key, .. } = write
            && let Some(value) = keys.get(key.as_slice())
        {
            value_at(batch.partition, key, &value.head)?;
        }
    }
    Ok(())
}

fn apply(keys: &mut Keys, write: Write, revision: Revision) {
    match write {
        Write::Put { key, head, body } => {
            keys.insert(key.into(), Value { revision, head, body });
        }
        Write::Delete { key } => {
            keys.remove(key.as_slice());
        }
        Write::Add { key, delta } => {
            let held = keys.get(key.as_slice()).and_then(|value| counter_value(&value.head));
            let head = counter_head(held.unwrap_or(0).wrapping_add(delta));
            keys.insert(key.into(), Value { revision, head, body: Bytes::new() });
        }
    }
}

impl Value {
    fn entry(&self, key: &Bytes, projection: Projection) -> Entry {
        let body = match projection {
            Projection::Head => Bytes::new(),
            Projection::Full => self.body.clone(),
        };
        Entry { key: key.clone(), revision: self.revision, head: self.head.clone(), body }
    }
}
