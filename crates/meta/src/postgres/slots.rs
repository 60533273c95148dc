//! What a commit locks: slots that stand for keys, whether the keys are there or not.
//!
//! A row lock needs a row, and a batch that expects a key to be absent, or is about to make it, has none. So the keys of all
//! partitions are spread over a fixed number of rows that are always there, and are locked in their stead: shared for a key that is
//! only checked, alone for one that is written. Two keys that share a slot wait for each other now and then, which costs time and
//! nothing else.
//!
//! The same slots are locked within the process first, in the order of arrival. That keeps batches that wait for each other from
//! sitting on connections, spares the database most of the waiting, and lets a batch that writes what everybody else checks (the settings
//! of a busy bucket) have its turn: a database lets those who share a lock pass for as long as there are any.

use std::collections::BTreeMap;

use crc_fast::{CrcAlgorithm, Digest};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{Batch, Partition, Write};

/// How many slots there are. Part of the schema: every process that uses the store must agree.
pub(super) const SLOTS: u32 = 16_384;

/// The slots of one batch, in order: one order over both kinds, so that no two batches wait for each other in a circle.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(pub(super) Vec<Run>);

/// Slots that follow each other and are locked alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Whether they are locked alone, for keys that are written, or shared, for keys that are only checked.
    pub(super) is_alone: bool,
    pub(super) slots: Vec<i32>,
}

impl Slots {
    pub(super) fn of(batch: &Batch) -> Self {
        let mut slots = BTreeMap::new();
        for check in &batch.checks {
            slots.entry(slot(batch.partition, &check.key)).or_insert(false);
        }
        for write in &batch.writes {
            let (Write::Put { key, .. } | Write::Delete { key } | Write::Add { key, .. }) = write;
            slots.insert(slot(batch.partition, key), true);
        }
        let mut runs: Vec<Run> = Vec::new();
        for (slot, is_alone) in slots {
            match runs.last_mut().filter(|run| run.is_alone == is_alone) {
                Some(run) => run.slots.push(slot),
                None => runs.push(Run { is_alone, slots: vec![slot] }),
            }
        }
        Self(runs)
    }
}

fn slot(partition: Partition, key: &[u8]) -> i32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&partition.0.to_be_bytes());
    digest.update(key);
    // Less than SLOTS, which an i32 holds.
    (digest.finalize() % u64::from(SLOTS)) as i32
}

/// The slots within this process. Whoever comes first is served first, readers and writers alike.
pub(super) struct Gates(Box<[RwLock<()>]>);

/// A slot that is held until this is dropped.
pub(super) enum Held<'a> {
    Shared { _guard: RwLockReadGuard<'a, ()> },
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

impl Gates {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| RwLock::new(())).collect())
    }

    /// Waits for `slots`, one after the other.
    pub(super) async fn hold(&self, slots: &Slots) -> Vec<Held<'_>> {
        let mut held = Vec::new();
        for run in &slots.0 {
            for slot in &run.slots {
                let gate = &self.0[slot.unsigned_abs() as usize];
                held.push(if run.is_alone {
                    Held::Alone { _guard: gate.write().await }
                } else {
                    Held::Shared { _guard: gate.read().await }
                });
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, Slots, slot};
    use crate::{Batch, Expect, Partition};

    #[test]
    fn slots_are_in_one_order_and_locked_alone_where_written() {
        let keys: Vec<String> = (0..50).map(|n| format!("key/{n}")).collect();
        let batch = keys.iter().fold(Batch::new(Partition(3)), |batch, key| batch.check(key.as_str(), Expect::Absent));
        let batch = keys.iter().step_by(3).fold(batch, |batch, key| batch.put(key.as_str(), "", ""));
        let Slots(runs) = Slots::of(&batch);
        let order: Vec<i32> = runs.iter().flat_map(|run| run.slots.clone()).collect();
        assert!(order.is_sorted_by(|left, right| left < right) && order.iter().all(|slot| (0..SLOTS as i32).contains(slot)));
        assert!(runs.windows(2).all(|pair| pair[0].is_alone != pair[1].is_alone));
        for (n, key) in keys.iter().enumerate() {
            let slot = slot(Partition(3), key.as_bytes());
            let run = runs.iter().find(|run| run.slots.contains(&slot)).unwrap();
            assert!(run.is_alone || n % 3 != 0, "{key}");
        }
    }

    /// Processes of different releases lock the same: where a key's slot is does not change.
    #[test]
    fn a_key_keeps_its_slot() {
        assert_eq!([slot(Partition(0), b""), slot(Partition(7), b"o/key")], [12938, 6869]);
    }
}
