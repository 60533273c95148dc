//! Room for more copies to be made.
//!
//! A walk that found nothing but copies to be made would queue one for each content of a bucket. So it waits while many are due in a region, as
//! long as they become fewer. A region in which none is made for a while is not waited for: its copies are left to a later audit.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use umbra_core::{BucketName, Result, Timestamp};
use umbra_meta::{Partition, counter_value};

use super::{Auditor, since};
use crate::placement::due::due_counter;

/// While so many copies are due in a region no more are queued there.
pub(super) const DUE_MAX: usize = 4096;
/// How often it is looked whether there is room.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For how long none is made in a region before it is waited for no more.
const PATIENCE: Duration = Duration::from_secs(300);

/// The regions that have no room: how many copies of a bucket were due there when they last became fewer, and when that was.
pub(super) type Room = Mutex<HashMap<(Partition, String), (u64, Timestamp)>>;

impl Auditor {
    /// [`Auditor::step`], unless the walk has to wait for room.
    pub(super) async fn step_if_room(&self, name: &BucketName) -> Result<Option<bool>> {
        let partition = self.parts.catalog.bucket(name).await?.partition;
        if self.waits_for_room(partition).await? { Ok(None) } else { self.step(name).await.map(Some) }
    }

    /// Whether many copies are due in a region, and become fewer.
    async fn waits_for_room(&self, partition: Partition) -> Result<bool> {
        let regions: Vec<String> = self.parts.blobs.topology().regions().iter().map(ToString::to_string).collect();
        let counters: Vec<_> = regions.iter().map(|region| due_counter(region)).collect();
        let entries = self.parts.meta.multi_get(partition, &counters.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?;
        let (now, mut room, mut waits) = (self.parts.clock.now(), self.room.lock(), false);
        for (region, entry) in regions.into_iter().zip(entries) {
            let due = entry.and_then(|entry| counter_value(&entry.head)).and_then(|due| u64::try_from(due).ok()).unwrap_or(0);
            let place = (partition, region);
            if due < self.due_max as u64 {
                room.remove(&place);
                continue;
            }
            let (least, at) = room.entry(place).or_insert((due, now));
            if due < *least {
                (*least, *at) = (due, now);
            }
            waits |= since(*at, now) < PATIENCE;
        }
        drop(room);
        Ok(waits)
    }
}
