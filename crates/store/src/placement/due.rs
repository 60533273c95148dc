//! Copies that have to be made: rows beside the objects they are of, and pointers by which those who make them find the rows.
//!
//! A row is written in the commit of the object itself ([`enqueue`]), so that what was acknowledged has its copies made whatever happens.
//! It stands in the bucket's partition, where nobody looks without being told. So whoever wrote rows puts a pointer into the root
//! partition a little later, one for all rows of a moment ([`DuePointers`]). A pointer that got lost with its writer is put again by
//! whoever leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use umbra_blob::BlobId;
use umbra_core::{Result, Timestamp};
use umbra_meta::{Batch, Entry, MetaStore, Partition, Projection, Write, key, key::root};

use crate::{PartitionSource, record::due_copy::DueCopyRecord};

/// How long pointers are gathered.
const GATHER: Duration = Duration::from_millis(250);
/// How long to wait before pointers are put that could not be.
const RETRY: Duration = Duration::from_secs(1);
/// How often every partition is looked into, and how soon again when that failed.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
const LOOK_RETRY: Duration = Duration::from_secs(60);
/// Pointers put by one commit.
const POINTERS_MAX: usize = 256;
/// What a pointer holds: the version of its form.
const POINTER: &[u8] = &[1];

/// The counter of copies that have to be made in `region`.
pub(crate) fn due_counter(region: &str) -> Vec<u8> {
    key::counter(&format!("due/{region}"))
}

/// The counter of those that failed.
pub(crate) fn failing_counter(region: &str) -> Vec<u8> {
    key::counter(&format!("due/{region}/failing"))
}

/// A copy of a blob that has to be made in a region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) region: String,
    pub(crate) blob: BlobId,
    /// Whether it is to be the home, because the one there is may not be where it is.
    pub(crate) becomes_home: bool,
}

/// Adds to `writes` that copies have to be made.
pub(crate) fn enqueue(writes: &mut Vec<Write>, copies: &BTreeSet<Wanted>, now: Timestamp) {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for Wanted { region, blob, becomes_home } in copies {
        *counts.entry(region).or_default() += 1;
        let body = DueCopyRecord { since: now, becomes_home: *becomes_home, ..DueCopyRecord::default() }.encode();
        writes.push(Write::Put { key: row(region, now, blob), head: Bytes::new(), body });
    }
    writes.extend(counts.into_iter().map(|(region, delta)| Write::Add { key: due_counter(region), delta }));
}

/// The row of a copy that has to be made in `region`, not before `at`.
pub(super) fn row(region: &str, at: Timestamp, blob: &BlobId) -> Vec<u8> {
    key::due_copy(region, u64::try_from(at.as_millis()).unwrap_or(0), blob.as_bytes())
}

/// A copy that has to be made, as its row says.
#[derive(Clone, Debug)]
pub(super) struct DueCopy {
    pub(super) entry: Entry,
    pub(super) at: Timestamp,
    pub(super) blob: BlobId,
    pub(super) record: DueCopyRecord,
}

impl DueCopy {
    /// What `entry` says. `None` for what nobody wrote.
    pub(super) fn decode(entry: Entry) -> Option<Self> {
        let place = key::parse_due_copy(&entry.key).filter(|place| place.blob.len() <= BlobId::BYTES_MAX)?;
        let at = Timestamp::from_millis(i64::try_from(place.at_ms).unwrap_or(i64::MAX));
        let record = DueCopyRecord::decode(&entry.body).unwrap_or_default();
        Some(Self { entry, at, blob: BlobId::from_bytes(&place.blob), record })
    }
}

/// The regions in which copies of `partition` have to be made. Costs a look for each of them.
pub(super) async fn regions_due(meta: &dyn MetaStore, partition: Partition) -> Result<Vec<String>> {
    let (mut range, mut regions) = (key::due_copies(), Vec::new());
    while let Some(first) = meta.scan(partition, range.clone(), 1, Projection::Head).await?.pop() {
        let Some(due) = key::parse_due_copy(&first.key) else { break };
        let Some(end) = key::due_copies_of(&due.region).end else { break };
        range.start = end;
        regions.push(due.region);
    }
    Ok(regions)
}

/// Puts pointers to the partitions that have copies to be made. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct DuePointers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    gathered: Mutex<BTreeSet<(String, Partition)>>,
    stopping: watch::Sender<bool>,
    wake: Notify,
}

impl DuePointers {
    /// Says that `partition` has copies to be made in `region`.
    pub fn point(&self, region: &str, partition: Partition) {
        self.0.gathered.lock().insert((region.to_owned(), partition));
        self.0.wake.notify_one();
    }

    /// Puts what is gathered every while, until [`DuePointers::stop`], and once more then.
    pub async fn run(&self, meta: &dyn MetaStore) {
        let (mut stopping, mut failed) = (self.0.stopping.subscribe(), false);
        while !*stopping.borrow() {
            let gathered = async {
                if !failed {
                    self.0.wake.notified().await;
                }
                sleep(if failed { RETRY } else { GATHER }).await;
            };
            tokio::select! {
                () = gathered => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
            let outcome = self.put_gathered(meta).await;
            if let (Err(error), false) = (&outcome, failed) {
                tracing::warn!(%error, "it cannot be told that copies have to be made; trying again");
            }
            failed = outcome.is_err();
        }
    }

    /// Looks into every partition now and then for copies that have to be made: whoever was to tell may have ended before it could. Until
    /// [`DuePointers::stop`].
    pub async fn look_after(&self, meta: &dyn MetaStore, partitions: &PartitionSource) {
        let mut stopping = self.0.stopping.subscribe();
        while !*stopping.borrow() {
            let looked = self.look(meta, partitions).await;
            if let Err(error) = &looked {
                tracing::warn!(%error, "copies that have to be made cannot be looked for; trying again");
            }
            tokio::select! {
                () = sleep(if looked.is_ok() { LOOK_EVERY } else { LOOK_RETRY }) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }

    /// Says of all partitions in which regions copies have to be made.
    pub(super) async fn look(&self, meta: &dyn MetaStore, partitions: &PartitionSource) -> Result<()> {
        for partition in partitions().await? {
            regions_due(meta, partition).await?.iter().for_each(|region| self.point(region, partition));
        }
        Ok(())
    }

    /// Ends [`DuePointers::run`] and [`DuePointers::look_after`].
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Puts what is gathered.
    pub(super) async fn put_gathered(&self, meta: &dyn MetaStore) -> Result<()> {
        let gathered: Vec<_> = mem::take(&mut *self.0.gathered.lock()).into_iter().collect();
        for (number, some) in gathered.chunks(POINTERS_MAX).enumerate() {
            let put =
                |batch: Batch, (region, partition): &(String, Partition)| batch.put(root::due_pointer(region, *partition), "", POINTER);
            let batch = some.iter().fold(Batch::new(Partition::ROOT), put);
            if let Err(error) = meta.commit(batch).await {
                self.0.gathered.lock().extend(gathered[number * POINTERS_MAX..].iter().cloned());
                return Err(error.into());
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DuePointers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuePointers").field("gathered", &self.0.gathered.lock().len()).finish()
    }
}
