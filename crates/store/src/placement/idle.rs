//! Copies that nobody reads go, and so does what is left of those that never came.

use std::time::Duration;

use umbra_blob::{BlobId, Result};
use umbra_core::Timestamp;
use umbra_meta::{Partition, Projection, key::root};

use super::{
    Moved, PlacedBlobStore,
    index::{CopyRow, failed, is_abandoned},
    moving::home_of,
};
use crate::record::copy::CopyRecord;

/// Rows looked at by one scan.
const PAGE: usize = 256;

/// What became of a copy that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetGo {
    /// It is none any more.
    Gone,
    /// It is the home, for that was damaged.
    IsHome,
    /// Nothing can be told, or it was changed.
    Stays,
}

impl PlacedBlobStore {
    /// Looks at a page of the copies of all regions, behind `after`, and drops those that are not read. Tells where to go on, if there are more.
    pub async fn drop_idle_copies(&self, after: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let shared = &self.shared;
        let range = root::all_copies_range();
        let range = after.map_or_else(|| range.clone(), |after| range.clone().after(&after));
        let page = shared.meta.scan(Partition::ROOT, range, PAGE, Projection::Full).await.map_err(failed)?;
        let next = page.last().filter(|_| page.len() == PAGE).map(|last| last.key.to_vec());
        let now = shared.clock.now();
        for row in page {
            // A row that is not understood is of a later release, which knows what to do with it.
            let (Some((blob, region)), Ok(record)) = (root::parse_any_copy(&row.key), CopyRecord::decode(&row.body)) else { continue };
            let (blob, found) = (BlobId::from_bytes(blob), CopyRow { region: region.to_owned(), record, revision: row.revision });
            if is_abandoned(&found.record, now) {
                shared.index.remove(&blob, &found.region, found.revision).await?;
            } else if is_idle(&found.record, now, shared.demand.copy_idle)
                // A region that does not answer holds up none of the others: its copies stay.
                && matches!(self.let_go(&blob, &found).await, Ok(LetGo::Gone))
            {
                shared.metrics.count_idle_copy();
            }
        }
        Ok(next)
    }

    /// Drops a copy, unless it is the home or was changed, once every byte of the blob was read at home. It may be the only one that is whole: then it
    /// becomes the home, and the other is a copy. Costs a read of the blob, or a few.
    pub(super) async fn let_go(&self, blob: &BlobId, copy: &CopyRow) -> Result<LetGo> {
        let (Some(born), Some(place)) = (self.shared.born(blob), copy.place()) else { return Ok(LetGo::Stays) };
        let rows = self.shared.index.all(blob).await?;
        let home = home_of(&rows).and_then(CopyRow::place).unwrap_or_else(|| born.clone());
        if home == place {
            return Ok(LetGo::Stays);
        }
        if self.shared.reads_whole(&born, &home).await? {
            return Ok(if self.shared.index.drop_row(blob, copy).await? { LetGo::Gone } else { LetGo::Stays });
        }
        let has_moved = self.move_lost_home(blob, &copy.region).await? == Moved::Done;
        tracing::warn!(?blob, home = home.region, copy = copy.region, has_moved, "a home is damaged; a copy that is whole takes its place");
        Ok(if has_moved { LetGo::IsHome } else { LetGo::Stays })
    }
}

/// Whether nobody has read a copy for long that need not be there.
fn is_idle(record: &CopyRecord, now: Timestamp, limit: Duration) -> bool {
    let idle = |used: Timestamp| u128::try_from(now.as_millis().saturating_sub(used.as_millis())).unwrap_or(0);
    let may_go = record.home.is_none() && !record.is_required && !limit.is_zero();
    may_go && record.used().is_some_and(|used| idle(used) > limit.as_millis())
}

/// How long after a read was noted of a copy another one is.
pub(super) fn touch_every(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then(|| (limit / 4).min(Duration::from_secs(24 * 3600)))
}
