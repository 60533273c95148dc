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

/// Blobs whose homes are read for one page: it ends at the next then.
const READ_MAX: usize = 16;

/// What became of copies that are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetGo {
    /// So many are none any more. The others have changed.
    Gone(u64),
    /// They stay, for the home is damaged. One of the copies takes its place, if any is whole.
    Stay { has_moved: bool },
}

impl PlacedBlobStore {
    /// Looks at a page of the copies of all regions, behind `after`, and drops those that are not read. Tells where to go on, if there are more.
    pub async fn drop_idle_copies(&self, after: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let shared = &self.shared;
        let range = root::all_copies_range();
        let range = after.map_or_else(|| range.clone(), |after| range.clone().after(&after));
        let page = shared.meta.scan(Partition::ROOT, range, PAGE, Projection::Full).await.map_err(failed)?;
        let (now, is_last, mut read) = (shared.clock.now(), page.len() < PAGE, 0);
        for (number, row) in page.iter().enumerate() {
            // A row that is not understood is of a later release, which knows what to do with it.
            let (Some((blob, region)), Ok(record)) = (root::parse_any_copy(&row.key), CopyRecord::decode(&row.body)) else { continue };
            let (blob, found) = (BlobId::from_bytes(blob), CopyRow { region: region.to_owned(), record, revision: row.revision });
            if is_abandoned(&found.record, now) {
                shared.index.remove(&blob, &found.region, found.revision).await?;
            } else if is_idle(&found.record, now, shared.demand.copy_idle) {
                // A region that does not answer holds up none of the others: its copies stay.
                match self.let_go(&blob, &[&found]).await {
                    Ok(LetGo::Gone(gone)) if gone > 0 => shared.metrics.count_idle_copy(),
                    // It is looked at again once it has been idle for as long again.
                    Ok(LetGo::Stay { .. }) => shared.index.release(&blob, &found).await?,
                    Ok(LetGo::Gone(_)) | Err(_) => {}
                }
                read += 1;
                if read == READ_MAX && number + 1 < page.len() {
                    return Ok(Some(row.key.to_vec()));
                }
            }
        }
        Ok(page.last().filter(|_| !is_last).map(|last| last.key.to_vec()))
    }

    /// Drops `copies`, but for the home and those that have changed, once every byte of the blob was read at home. They may be all that is whole: then
    /// one of the blob's copies becomes the home, one that has to be there rather than another. Costs a read of the blob, or a few.
    pub(super) async fn let_go(&self, blob: &BlobId, copies: &[&CopyRow]) -> Result<LetGo> {
        let (shared, mut gone) = (&self.shared, 0);
        let Some(born) = shared.born(blob) else { return Ok(LetGo::Gone(0)) };
        let mut rows = shared.index.all(blob).await?;
        let home = home_of(&rows).and_then(CopyRow::place).unwrap_or_else(|| born.clone());
        if shared.reads_whole(&born, &home).await? {
            for copy in copies {
                gone += u64::from(shared.index.drop_row(blob, copy).await?);
            }
            return Ok(LetGo::Gone(gone));
        }
        rows.retain(|row| row.record.home.is_none());
        rows.sort_by_key(|row| !row.record.is_required);
        let mut away = None;
        for row in &rows {
            match self.move_lost_home(blob, &row.region).await {
                Ok(Moved::Done) => {
                    tracing::warn!(?blob, home = home.region, copy = row.region, "a home is damaged; a copy that is whole takes its place");
                    return Ok(LetGo::Stay { has_moved: true });
                }
                // It is not damaged after all, or is another by now.
                Ok(Moved::Already) => return Ok(LetGo::Gone(0)),
                Ok(Moved::NotNow) => {}
                Err(error) => away = Some(error),
            }
        }
        away.map_or(Ok(LetGo::Stay { has_moved: false }), Err)
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
