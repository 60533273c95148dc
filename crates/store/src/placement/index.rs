//! Which blobs have copies, and where: rows of the metadata that all regions share, and a memory of those of this region.

use std::{collections::HashMap, io, mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use umbra_blob::{BlobId, Error, Result};
use umbra_core::{Clock, Timestamp};
use umbra_meta::{Batch, Entry, Error as MetaError, Expect, MetaStore, Partition, Projection, Revision, key::root};

use crate::record::copy::CopyRecord;

/// After this long a copy that is still coming is taken for abandoned. If it comes all the same it is thrown away.
const ABANDONED_AFTER: Duration = Duration::from_secs(15 * 60);
/// How many copies are remembered, in each of two generations.
const KNOWN_MAX: usize = 32 * 1024;
/// More regions than anybody has.
const ROWS_MAX: usize = 256;

/// Which blobs have copies.
pub(super) struct CopyIndex {
    meta: Arc<dyn MetaStore>,
    clock: Arc<dyn Clock>,
    region: String,
    known: Mutex<Known>,
}

/// A copy in this region.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    /// What this region's store calls it.
    pub(super) blob: BlobId,
    revision: Revision,
}

/// A copy that is coming to this region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coming {
    begun: Timestamp,
    revision: Revision,
}

/// What became of the wish to make a copy.
#[derive(Debug)]
pub(super) enum Claim {
    /// It is ours to make.
    Ours(Coming),
    /// It is there.
    There(Copy),
    /// Somebody else is making it.
    Taken,
}

/// What a row says.
#[derive(Debug)]
pub(super) struct CopyRow {
    pub(super) region: String,
    /// What that region's store calls the copy; `None` while it is coming.
    pub(super) blob: Option<BlobId>,
    pub(super) revision: Revision,
}

/// Copies of this region that were found lately, in two generations: the older one goes when the younger one is full.
#[derive(Default)]
struct Known {
    young: HashMap<BlobId, Copy>,
    old: HashMap<BlobId, Copy>,
}

impl CopyIndex {
    pub(super) fn new(meta: Arc<dyn MetaStore>, clock: Arc<dyn Clock>, region: String) -> Self {
        Self { meta, clock, region, known: Mutex::default() }
    }

    /// The copy of `id` in this region. Where that cannot be told, there is none.
    pub(super) async fn find(&self, id: &BlobId) -> Option<Copy> {
        if let Some(copy) = self.known.lock().get(id) {
            return Some(copy);
        }
        let row = self.meta.get(Partition::ROOT, &self.row(id)).await.ok()??;
        let copy = Copy { blob: CopyRecord::decode(&row.body).ok()?.blob?, revision: row.revision };
        self.known.lock().put(id, copy.clone());
        Some(copy)
    }

    /// The same of another region.
    pub(super) fn of_region(&self, region: &str) -> Self {
        Self::new(Arc::clone(&self.meta), Arc::clone(&self.clock), region.to_owned())
    }

    /// The region it is of.
    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// The copy of `id` in this region, as its row says now.
    pub(super) async fn look(&self, id: &BlobId) -> Result<Option<Copy>> {
        let row = self.meta.get(Partition::ROOT, &self.row(id)).await.map_err(failed)?;
        row.map_or(Ok(None), |row| {
            Ok(CopyRecord::decode(&row.body).map_err(failed)?.blob.map(|blob| Copy { blob, revision: row.revision }))
        })
    }

    /// Says that a copy of `id` is coming to this region, unless there is one or somebody makes one and was heard of within `silence`.
    pub(super) async fn claim(&self, id: &BlobId, silence: Duration) -> Result<Claim> {
        let (row, begun) = (self.row(id), self.clock.now());
        let body = CopyRecord { until: Some(begun.plus(silence)), ..CopyRecord::coming(begun) }.encode();
        let mut expect = Expect::Absent;
        loop {
            let batch = Batch::new(Partition::ROOT).check(row.clone(), expect).put(row.clone(), "", body.clone());
            let found = match self.meta.commit(batch).await {
                Ok(committed) => return Ok(Claim::Ours(Coming { begun, revision: committed.revision })),
                Err(MetaError::Conflict { current, .. }) => current,
                Err(error) => return Err(failed(error)),
            };
            // What is gone again, or abandoned, is ours after all.
            let Some(found) = found else {
                expect = Expect::Absent;
                continue;
            };
            let record = CopyRecord::decode(&found.body).map_err(failed)?;
            match record.blob {
                Some(blob) => return Ok(Claim::There(Copy { blob, revision: found.revision })),
                None if is_abandoned(&found, begun) => expect = Expect::Revision(found.revision),
                None => return Ok(Claim::Taken),
            }
        }
    }

    /// Says that a copy of `id` is still coming.
    pub(super) async fn renew(&self, id: &BlobId, coming: &mut Coming, silence: Duration) -> Result<()> {
        let body = CopyRecord { until: Some(self.clock.now().plus(silence)), ..CopyRecord::coming(coming.begun) }.encode();
        let row = self.row(id);
        let batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Revision(coming.revision)).put(row, "", body);
        coming.revision = self.meta.commit(batch).await.map_err(failed)?.revision;
        Ok(())
    }

    /// Says that a copy of `id` is coming to this region. `None` where there is one, where another node makes one, or where it cannot be said.
    pub(super) async fn begin(&self, id: &BlobId) -> Option<Coming> {
        let (row, begun) = (self.row(id), self.clock.now());
        let body = CopyRecord::coming(begun).encode();
        let commit = |expect| self.meta.commit(Batch::new(Partition::ROOT).check(row.clone(), expect).put(row.clone(), "", body.clone()));
        let committed = match commit(Expect::Absent).await {
            Err(MetaError::Conflict { current: Some(found), .. }) if is_abandoned(&found, begun) => {
                commit(Expect::Revision(found.revision)).await
            }
            other => other,
        };
        committed.ok().map(|committed| Coming { begun, revision: committed.revision })
    }

    /// Says that the copy of `id` which was coming is there, as `blob`.
    pub(super) async fn keep(&self, id: &BlobId, coming: Coming, blob: BlobId) -> umbra_meta::Result<()> {
        let row = self.row(id);
        let body = CopyRecord { blob: Some(blob.clone()), ..CopyRecord::coming(coming.begun) }.encode();
        let batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Revision(coming.revision)).put(row, "", body);
        let revision = self.meta.commit(batch).await?.revision;
        self.known.lock().put(id, Copy { blob, revision });
        Ok(())
    }

    /// Says that the copy of `id` does not come.
    pub(super) async fn abandon(&self, id: &BlobId, coming: Coming) {
        if let Err(error) = self.remove(id, &self.region, coming.revision).await {
            tracing::debug!(%error, "the row of a copy that does not come stays for a while");
        }
    }

    /// Says that a copy of `id` in this region is lost.
    pub(super) async fn drop_copy(&self, id: &BlobId, copy: &Copy) {
        self.known.lock().remove(id);
        if let Err(error) = self.remove(id, &self.region, copy.revision).await {
            tracing::debug!(%error, "the row of a lost copy stays until it is found again");
        }
    }

    /// The copies of `id` in all regions, and those that are coming.
    pub(super) async fn all(&self, id: &BlobId) -> Result<Vec<CopyRow>> {
        let range = root::copies_range(id.as_bytes());
        let rows = self.meta.scan(Partition::ROOT, range, ROWS_MAX, Projection::Full).await.map_err(failed)?;
        let read = |row: Entry| {
            let region = root::parse_copy(id.as_bytes(), &row.key).unwrap_or_default().to_owned();
            let record = CopyRecord::decode(&row.body).map_err(failed)?;
            Ok(CopyRow { region, blob: record.blob, revision: row.revision })
        };
        rows.into_iter().map(read).collect()
    }

    /// Takes a row away if it is what it was.
    pub(super) async fn remove(&self, id: &BlobId, region: &str, revision: Revision) -> Result<()> {
        if region == self.region {
            self.known.lock().remove(id);
        }
        let row = root::copy(id.as_bytes(), region);
        let batch = Batch::new(Partition::ROOT).check(row.clone(), Expect::Revision(revision)).delete(row);
        match self.meta.commit(batch).await {
            Ok(_) | Err(MetaError::Conflict { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn row(&self, id: &BlobId) -> Vec<u8> {
        root::copy(id.as_bytes(), &self.region)
    }
}

impl Known {
    fn get(&mut self, id: &BlobId) -> Option<Copy> {
        if let Some(copy) = self.young.get(id) {
            return Some(copy.clone());
        }
        let copy = self.old.remove(id)?;
        self.put(id, copy.clone());
        Some(copy)
    }

    fn put(&mut self, id: &BlobId, copy: Copy) {
        if self.young.len() >= KNOWN_MAX {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(id.clone(), copy);
    }

    fn remove(&mut self, id: &BlobId) {
        self.young.remove(id);
        self.old.remove(id);
    }
}

/// Whether whoever makes the copy that `row` tells of has had more than the time for it. The clocks of nodes may differ.
fn is_abandoned(row: &Entry, now: Timestamp) -> bool {
    let coming = CopyRecord::decode(&row.body).ok().filter(|record| record.blob.is_none());
    let lasts = |record: &CopyRecord| u128::from(now.as_millis().abs_diff(record.begun.as_millis())) <= ABANDONED_AFTER.as_millis();
    coming.is_some_and(|record| record.until.map_or_else(|| !lasts(&record), |until| until < now))
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Io { doing: "tell where the copies of a blob are", source: io::Error::other(error) }
}
