//! Counters that the batches of one group add to: read once, written once.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use rusqlite::Connection;

use super::{failure::Failure, row};
use crate::{
    Entry, Partition, Projection, Revision,
    counter::{counter_head, value_at},
};

/// Counters as they stand within the group, ahead of what the table holds.
#[derive(Default)]
pub(super) struct Counters {
    held: HashMap<Partition, BTreeMap<Vec<u8>, Counter>>,
}

struct Counter {
    value: i64,
    /// Of the last batch of this group that added; `None` while none did, and the table is right.
    revision: Option<Revision>,
}

impl Counters {
    /// Reads the counter at `key`, so that [`Counters::add`] cannot fail.
    pub(super) fn load(&mut self, conn: &Connection, partition: Partition, key: &[u8]) -> Result<(), Failure> {
        let counters = self.held.entry(partition).or_default();
        if !counters.contains_key(key) {
            let entry = row::find(conn, partition, key, Projection::Head)?;
            let value = entry.map_or(Ok(0), |entry| value_at(partition, key, &entry.head))?;
            counters.insert(key.to_vec(), Counter { value, revision: None });
        }
        Ok(())
    }

    /// Adds to the counter at `key`; one that was not loaded starts at 0.
    pub(super) fn add(&mut self, partition: Partition, key: &[u8], delta: i64, revision: Revision) {
        let counters = self.held.entry(partition).or_default();
        let counter = counters.entry(key.to_vec()).or_insert(Counter { value: 0, revision: None });
        counter.value = counter.value.wrapping_add(delta);
        counter.revision = Some(revision);
    }

    /// Drops what is held of `key`: the table knows better from now on.
    pub(super) fn forget(&mut self, partition: Partition, key: &[u8]) {
        if let Some(counters) = self.held.get_mut(&partition) {
            counters.remove(key);
        }
    }

    /// The entry that `key` has by now, when a batch of this group added to it.
    pub(super) fn entry(&self, partition: Partition, key: &[u8]) -> Option<Entry> {
        let counter = self.held.get(&partition)?.get(key)?;
        let (key, head) = (Bytes::copy_from_slice(key), counter_head(counter.value));
        Some(Entry { key, revision: counter.revision?, head, body: Bytes::new() })
    }

    /// Writes every counter that was added to.
    pub(super) fn flush(self, conn: &Connection) -> rusqlite::Result<()> {
        for (partition, counters) in self.held {
            for (key, counter) in counters {
                if let Some(revision) = counter.revision {
                    row::put(conn, partition, &key, revision, &counter_head(counter.value), b"")?;
                }
            }
        }
        Ok(())
    }
}
