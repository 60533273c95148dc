//! Copies that nobody reads go, and so does what is left of those that never came.

use std::time::Duration;

use umbra_blob::{BlobId, Result};
use umbra_core::Timestamp;
use umbra_meta::{Partition, Projection, key::root};

use super::{
    PlacedBlobStore,
    index::{CopyRow, failed, is_abandoned},
    moving::home_of,
};
use crate::record::copy::CopyRecord;

/// Rows looked at by one scan.
const PAGE: usize = 256;

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
                && self.is_needless(&blob, &found).await.unwrap_or(false)
                && shared.index.drop_row(&blob, &found).await?
            {
                shared.metrics.count_idle_copy();
            }
        }
        Ok(next)
    }

    /// Whether the home has the blob, so that a copy may go.
    pub(super) async fn is_needless(&self, blob: &BlobId, row: &CopyRow) -> Result<bool> {
        let Some(born) = self.shared.born(blob) else { return Ok(false) };
        let rows = self.shared.index.all(blob).await?;
        let home = home_of(&rows).and_then(CopyRow::place).unwrap_or_else(|| born.clone());
        Ok(home.region != row.region && self.shared.is_whole(&born, &home).await?)
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
