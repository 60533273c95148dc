//! Which blobs have copies, and where: rows of the metadata that all regions share, and a memory of those of this region.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use umbra_blob::{BlobId, Error, Result};
use umbra_core::{Clock, Timestamp};
use umbra_meta::{
    Batch, Entry, Error as MetaError, Expect, MetaStore, Partition, Projection, Revision,
    key::{self, root},
};

use super::{address, lately::Lately};
use crate::{ReclaimHandle, record::copy::CopyRecord};

/// After this long a copy that is still coming is taken for abandoned. If it comes all the same it is thrown away.
const ABANDONED_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long a copy that another node makes is waited for, and how old it may be then.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How soon to look whether it is there; twice as long after each look, up to the last.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_millis(320);
/// How many copies are remembered, in each of two generations.
const KNOWN_MAX: usize = 32 * 1024;
/// More regions than anybody has.
const ROWS_MAX: usize = 256;

/// Which blobs have copies.
pub(super) struct CopyIndex {
    meta: Arc<dyn MetaStore>,
    /// Where a copy is looked for, where that is not the same: it may be a little old.
    nearby: OnceLock<Arc<dyn MetaStore>>,
    clock: Arc<dyn Clock>,
    region: String,
    /// Says how long those who read bytes that are reclaimed have to finish, and hears of such bytes.
    reclaimer: ReclaimHandle,
    /// How long after a read was noted of a copy another one is.
    touch_every: Option<Duration>,
    /// Copies of this region.
    known: Mutex<Lately<Copy>>,
    /// Where blobs were found that are not where their identifiers say.
    moved: Mutex<Lately<Place>>,
}

/// A copy in this region.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    /// What this region's store calls it.
    pub(super) blob: BlobId,
    revision: Revision,
    /// When a read of it was noted; `None` where none need be, because it stays.
    noted: Option<Timestamp>,
}

/// Where bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) region: String,
    /// What that region's store calls them.
    pub(super) blob: BlobId,
}

/// A copy that is coming to this region.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    begun: Timestamp,
    revision: Revision,
    is_required: bool,
    /// The copy that stays until this one is there. Its row says nothing of what is coming.
    replaced: Option<CopyRecord>,
}

impl Coming {
    /// The same, of a copy that has to be there.
    pub(super) fn required(self) -> Self {
        Self { is_required: true, ..self }
    }
}

/// What became of the wish to make a copy.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// It is to be made.
    Coming(Coming),
    /// Another node has just begun to make it.
    Elsewhere,
    /// There is one.
    There,
    /// It cannot be made now.
    No,
}

/// What became of the wish to make a copy that has to be there.
#[derive(Debug)]
pub(super) enum Claim {
    /// It is ours to make.
    Ours(Coming),
    /// It is there, as its record says.
    There { copy: Copy, record: CopyRecord },
    /// Somebody else is making it.
    Taken,
}

/// A row.
#[derive(Debug)]
pub(super) struct CopyRow {
    pub(super) region: String,
    pub(super) record: CopyRecord,
    pub(super) revision: Revision,
}

impl CopyRow {
    /// Where its bytes are, if they can be read.
    pub(super) fn place(&self) -> Option<Place> {
        Some(Place { region: self.region.clone(), blob: self.record.blob.clone()? })
    }
}

impl CopyIndex {
    pub(super) fn new(
        meta: Arc<dyn MetaStore>,
        clock: Arc<dyn Clock>,
        region: String,
        reclaimer: ReclaimHandle,
        touch_every: Option<Duration>,
    ) -> Self {
        let (known, moved) = (Mutex::new(Lately::new(KNOWN_MAX)), Mutex::new(Lately::new(KNOWN_MAX)));
        Self { meta, nearby: OnceLock::new(), clock, region, reclaimer, touch_every, known, moved }
    }

    /// Has copies looked for in `meta`. What it does not know of yet is read at the home, and of a copy that is gone the row is asked for again.
    pub(super) fn look_nearby(&self, meta: Arc<dyn MetaStore>) {
        // Told once, before anything is read.
        let _ = self.nearby.set(meta);
    }

    /// The copy of `id` in this region. Where that cannot be told, there is none.
    pub(super) async fn find(self: &Arc<Self>, id: &BlobId) -> Option<Copy> {
        let known = self.known.lock().get(id);
        let copy = match known {
            Some(copy) => copy,
            None => {
                let row = self.nearby.get().unwrap_or(&self.meta).get(Partition::ROOT, &self.row(id)).await.ok()??;
                let record = CopyRecord::decode(&row.body).ok()?;
                let noted = record.used().filter(|_| record.home.is_none() && !record.is_required);
                let copy = Copy { blob: record.blob?, revision: row.revision, noted };
                self.known.lock().put(id, copy.clone());
                copy
            }
        };
        if self.is_to_note(&copy) {
            // The reader need not wait for it, nor others do it again.
            self.known.lock().put(id, Copy { noted: Some(self.clock.now()), ..copy.clone() });
            let (index, id, copy) = (Arc::clone(self), id.clone(), copy.clone());
            tokio::spawn(async move { index.note_read(&id, &copy).await });
        }
        Some(copy)
    }

    fn is_to_note(&self, copy: &Copy) -> bool {
        let (Some(noted), Some(every)) = (copy.noted, self.touch_every) else { return false };
        u128::try_from(self.clock.now().as_millis().saturating_sub(noted.as_millis())).is_ok_and(|since| since > every.as_millis())
    }

    /// Says that a copy of `id` in this region is read.
    async fn note_read(&self, id: &BlobId, copy: &Copy) {
        let (key, now) = (self.row(id), self.clock.now());
        let row = self.meta.get(Partition::ROOT, &key).await.ok().flatten().filter(|row| row.revision == copy.revision);
        let record = row.and_then(|row| CopyRecord::decode(&row.body).ok());
        let noted = match record {
            Some(record) => {
                let body = CopyRecord { read: Some(now), ..record }.encode();
                let batch = Batch::new(Partition::ROOT).check(key.clone(), Expect::Revision(copy.revision)).put(key, "", body);
                self.meta.commit(batch).await.ok()
            }
            None => None,
        };
        match noted {
            Some(committed) => self.known.lock().put(id, Copy { revision: committed.revision, noted: Some(now), ..copy.clone() }),
            // It has changed: what it is now the next reader finds out.
            None => self.known.lock().remove(id),
        }
    }

    /// Whether this region has a copy of `id` and is not its home.
    pub(super) async fn is_copied(&self, id: &BlobId) -> Result<bool> {
        let row = self.meta.get(Partition::ROOT, &self.row(id)).await.map_err(failed)?;
        let record = row.map(|row| CopyRecord::decode(&row.body).map_err(failed)).transpose()?;
        Ok(record.is_some_and(|record| record.blob.is_some() && record.home.is_none()))
    }

    /// Where `id` was found lately, if not where its identifier says.
    pub(super) fn moved(&self, id: &BlobId) -> Option<Place> {
        self.moved.lock().get(id)
    }

    /// Whether `id`, which has this region in its identifier, was found elsewhere or as a copy lately.
    pub(super) fn has_left(&self, id: &BlobId) -> bool {
        self.moved.lock().get(id).is_some() || self.known.lock().get(id).is_some()
    }

    /// Remembers where `id` was found; `None` for that it is not known.
    pub(super) fn note_moved(&self, id: &BlobId, place: Option<&Place>) {
        match place {
            Some(place) => self.moved.lock().put(id, place.clone()),
            None => self.moved.lock().remove(id),
        }
    }

    /// Says that a copy of `id` is coming to this region.
    pub(super) async fn begin(&self, id: &BlobId) -> Begin {
        let (row, begun) = (self.row(id), self.clock.now());
        let body = CopyRecord { begun, ..CopyRecord::default() }.encode();
        let coming = |revision| Coming { begun, revision, is_required: false, replaced: None };
        let commit = |expect| self.meta.commit(Batch::new(Partition::ROOT).check(row.clone(), expect).put(row.clone(), "", body.clone()));
        let committed = match commit(Expect::Absent).await {
            Err(MetaError::Conflict { current: Some(found), .. }) => match CopyRecord::decode(&found.body) {
                Ok(record) if record.blob.is_some() => return Begin::There,
                Ok(record) if record.blob.is_none() && coming_for(&record, begun) < WAIT_MAX => return Begin::Elsewhere,
                Ok(record) if is_abandoned(&record, begun) => commit(Expect::Revision(found.revision)).await,
                _ => return Begin::No,
            },
            other => other,
        };
        committed.map_or(Begin::No, |committed| Begin::Coming(coming(committed.revision)))
    }

    /// Says how a copy, or a home that has moved here, comes to be in the place of one that could not be read: that one's row and bytes stay until this
    /// one is there, for they may be all that is left. Many may make one; the first that has it is in its place, and the others throw theirs away.
    /// `None`: there is another by now, or none.
    pub(super) async fn begin_again(&self, id: &BlobId, lost: &Copy) -> Result<Option<Coming>> {
        let Some(row) = self.meta.get(Partition::ROOT, &self.row(id)).await.map_err(failed)? else { return Ok(None) };
        let record = CopyRecord::decode(&row.body).map_err(failed)?;
        let (begun, is_same) = (self.clock.now(), record.blob.as_ref() == Some(&lost.blob));
        // Whether it has to be there is what its row says by then.
        Ok(is_same.then_some(Coming { begun, revision: row.revision, is_required: false, replaced: Some(record) }))
    }

    /// Forgets what is known of a copy in this region that could not be read.
    pub(super) fn forget(&self, id: &BlobId, lost: &Copy) {
        self.known.lock().remove(id);
        let mut moved = self.moved.lock();
        if moved.get(id).is_some_and(|place| place.region == self.region && place.blob == lost.blob) {
            moved.remove(id);
        }
    }

    /// The same of another region.
    pub(super) fn of_region(&self, region: &str) -> Self {
        Self::new(Arc::clone(&self.meta), Arc::clone(&self.clock), region.to_owned(), self.reclaimer.clone(), self.touch_every)
    }

    /// The region it is of.
    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Says that a copy of `id` that has to be in this region is coming, unless there is one, or somebody makes one and was heard of within `silence`.
    pub(super) async fn claim(&self, id: &BlobId, silence: Duration) -> Result<Claim> {
        let (row, begun) = (self.row(id), self.clock.now());
        let body = CopyRecord { until: Some(begun.plus(silence)), begun, is_required: true, ..CopyRecord::default() }.encode();
        let mut expect = Expect::Absent;
        loop {
            let batch = Batch::new(Partition::ROOT).check(row.clone(), expect).put(row.clone(), "", body.clone());
            let found = match self.meta.commit(batch).await {
                Ok(committed) => {
                    return Ok(Claim::Ours(Coming { begun, revision: committed.revision, is_required: true, replaced: None }));
                }
                Err(MetaError::Conflict { current, .. }) => current,
                Err(error) => return Err(failed(error)),
            };
            // What is gone again, or abandoned, is ours after all.
            let Some(found) = found else {
                expect = Expect::Absent;
                continue;
            };
            let record = CopyRecord::decode(&found.body).map_err(failed)?;
            match record.blob.clone() {
                Some(blob) => {
                    return Ok(Claim::There { copy: Copy { blob, revision: found.revision, noted: None }, record });
                }
                None if is_abandoned(&record, begun) => expect = Expect::Revision(found.revision),
                None => return Ok(Claim::Taken),
            }
        }
    }

    /// Says that a copy which is there has to be there, if its `record` does not.
    pub(super) async fn require(&self, id: &BlobId, copy: &Copy, record: CopyRecord) -> Result<()> {
        if record.is_required {
            return Ok(());
        }
        let row = CopyRow { region: self.region.clone(), record: CopyRecord { is_required: true, ..record }, revision: copy.revision };
        self.change(id, &row).await.map(drop).map_err(failed)
    }

    /// Writes what `row` says in place of what its revision said. Tells the revision since.
    async fn change(&self, id: &BlobId, row: &CopyRow) -> umbra_meta::Result<Revision> {
        let key = root::copy(id.as_bytes(), &row.region);
        let batch = Batch::new(Partition::ROOT).check(key.clone(), Expect::Revision(row.revision)).put(key, "", row.record.encode());
        Ok(self.meta.commit(batch).await?.revision)
    }

    /// Says that a copy of `id` is still coming.
    pub(super) async fn renew(&self, id: &BlobId, coming: &mut Coming, silence: Duration) -> Result<()> {
        if coming.replaced.is_some() {
            return Ok(());
        }
        let until = Some(self.clock.now().plus(silence));
        let record = CopyRecord { begun: coming.begun, is_required: coming.is_required, until, ..CopyRecord::default() };
        let row = CopyRow { region: self.region.clone(), record, revision: coming.revision };
        coming.revision = self.change(id, &row).await.map_err(failed)?;
        Ok(())
    }

    /// Waits a while for the copy of `id` that another node of this region makes.
    pub(super) async fn wait(&self, id: &BlobId) {
        let (began, mut pause) = (Instant::now(), LOOK_FIRST);
        while began.elapsed() < WAIT_MAX {
            tokio::time::sleep(pause).await;
            pause = LOOK_LAST.min(pause * 2);
            let row = self.meta.get(Partition::ROOT, &self.row(id)).await;
            let record = row.ok().flatten().and_then(|row| CopyRecord::decode(&row.body).ok());
            if record.is_none_or(|record| record.blob.is_some()) {
                return;
            }
        }
    }

    /// Says that the copy of `id` which was coming is there, as `blob`. The bytes of one in whose place it comes are reclaimed.
    pub(super) async fn keep(&self, id: &BlobId, coming: Coming, blob: BlobId) -> umbra_meta::Result<()> {
        let Coming { begun, mut revision, is_required, mut replaced } = coming;
        loop {
            let before = replaced.clone().unwrap_or_default();
            let is_required = is_required || before.is_required;
            let record = CopyRecord { begun, blob: Some(blob.clone()), until: None, is_required, ..before };
            let noted = record.used().filter(|_| record.home.is_none() && !record.is_required);
            let batch = Batch::new(Partition::ROOT).check(self.row(id), Expect::Revision(revision)).put(self.row(id), "", record.encode());
            let batch = self.place_of(replaced.as_ref()).iter().fold(batch, |batch, place| self.reclaim(batch, place));
            match self.meta.commit(batch).await {
                Ok(committed) => {
                    self.known.lock().put(id, Copy { blob, revision: committed.revision, noted });
                    return Ok(());
                }
                Err(MetaError::Conflict { key, current }) => match self.same_bytes(replaced.as_ref(), current.as_deref()) {
                    // It was read, or has to be there or has not since: it is replaced all the same.
                    Some((record, found)) => (replaced, revision) = (Some(record), found),
                    None => return Err(MetaError::Conflict { key, current }),
                },
                Err(error) => return Err(error),
            }
        }
    }

    fn place_of(&self, copy: Option<&CopyRecord>) -> Option<Place> {
        Some(Place { region: self.region.clone(), blob: copy?.blob.clone()? })
    }

    /// What `found` says of the same bytes as the copy that is `replaced`.
    fn same_bytes(&self, replaced: Option<&CopyRecord>, found: Option<&Entry>) -> Option<(CopyRecord, Revision)> {
        let (replaced, found) = (replaced?, found?);
        let record = CopyRecord::decode(&found.body).ok().filter(|record| record.blob == replaced.blob)?;
        Some((record, found.revision))
    }

    /// Whether the row of `id` may say that `blob` is the copy, although saying so ended with `error`: then the bytes stay, for the row may be
    /// the home's by now.
    pub(super) async fn may_name(&self, id: &BlobId, blob: &BlobId, error: &MetaError) -> bool {
        if matches!(error, MetaError::Conflict { .. }) {
            return false;
        }
        match self.meta.get(Partition::ROOT, &self.row(id)).await {
            Ok(row) => row.is_some_and(|row| CopyRecord::decode(&row.body).map_or(true, |record| record.blob.as_ref() == Some(blob))),
            Err(_) => true,
        }
    }

    /// Says that the copy of `id` does not come. One that it was to replace stays.
    pub(super) async fn abandon(&self, id: &BlobId, coming: &Coming) {
        if coming.replaced.is_some() {
            return;
        }
        if let Err(error) = self.remove(id, &self.region, coming.revision).await {
            tracing::debug!(%error, "the row of a copy that does not come stays for a while");
        }
    }

    /// Has the copy that `row` tells of be none any more, unless it is the home or was changed: its bytes are reclaimed once those who read
    /// them may have finished. Tells whether it is none.
    pub(super) async fn drop_row(&self, id: &BlobId, row: &CopyRow) -> Result<bool> {
        if row.record.home.is_some() {
            return Ok(false);
        }
        let key = root::copy(id.as_bytes(), &row.region);
        let batch = Batch::new(Partition::ROOT).check(key.clone(), Expect::Revision(row.revision)).delete(key);
        let batch = row.place().into_iter().fold(batch, |batch, place| self.reclaim(batch, &place));
        match self.meta.commit(batch).await {
            Ok(_) => Ok(true),
            Err(MetaError::Conflict { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Says that the copy which `row` tells of need not be there any more, unless it was changed: it may be dropped once nobody reads it.
    pub(super) async fn release(&self, id: &BlobId, row: &CopyRow) -> Result<()> {
        let key = root::copy(id.as_bytes(), &row.region);
        let record = CopyRecord { is_required: false, read: Some(self.clock.now()), ..row.record.clone() };
        let batch = Batch::new(Partition::ROOT).check(key.clone(), Expect::Revision(row.revision)).put(key, "", record.encode());
        match self.meta.commit(batch).await {
            Ok(_) | Err(MetaError::Conflict { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes `region`, which has a copy, the home of `id`, which was `born` there, as long as `rows` are all copies there are, and has the bytes
    /// at the home before reclaimed, unless they have to be there. Of a home that `is_lost` nothing is: what may be there after all is a copy,
    /// which is replaced or dropped like any other, once it is found to be needless or made again.
    pub(super) async fn move_home(
        &self,
        id: &BlobId,
        born: &Place,
        (rows, is_lost): (&[CopyRow], bool),
        region: &str,
    ) -> umbra_meta::Result<()> {
        let mut batch = Batch::new(Partition::ROOT);
        // Others who move it to another region write the same rows: one of both finds another revision.
        for row in rows.iter().filter(|row| row.record.blob.is_some()) {
            let key = root::copy(id.as_bytes(), &row.region);
            batch = batch.check(key.clone(), Expect::Revision(row.revision));
            let (was_home, is_home) = (row.record.home.is_some(), row.region == region);
            batch = match row.place().filter(|_| was_home && !row.record.is_required && !is_lost) {
                Some(place) => self.reclaim(batch.delete(key), &place),
                None => {
                    // What is left of a lost home is no copy that can be relied on before it was read whole.
                    let is_required = row.record.is_required && !(was_home && is_lost);
                    batch.put(key, "", CopyRecord { home: is_home.then(|| self.clock.now()), is_required, ..row.record.clone() }.encode())
                }
            };
        }
        if rows.iter().all(|row| row.record.home.is_none()) {
            batch = if is_lost { self.keep_born(batch, id, born, rows) } else { self.reclaim(batch, born) };
        }
        self.meta.commit(batch).await.map(drop)
    }

    /// Has the bytes where a blob was `born` be a copy. Where a reader has found out first and brought others, or is about to, they have no row to
    /// be found by: they are reclaimed, for the new home was just read whole.
    fn keep_born(&self, batch: Batch, id: &BlobId, born: &Place, rows: &[CopyRow]) -> Batch {
        if rows.iter().any(|row| row.region == born.region) {
            return self.reclaim(batch, born);
        }
        let key = root::copy(id.as_bytes(), &born.region);
        let record = CopyRecord { begun: self.clock.now(), blob: Some(born.blob.clone()), ..CopyRecord::default() };
        batch.check(key.clone(), Expect::Absent).put(key, "", record.encode())
    }

    /// Has bytes that are nobody's any more reclaimed after the grace.
    fn reclaim(&self, batch: Batch, place: &Place) -> Batch {
        let due = self.clock.now().plus(self.reclaimer.grace());
        self.reclaimer.nudge(Partition::ROOT, due);
        batch.put(
            key::reclaim(u64::try_from(due.as_millis()).unwrap_or_default(), address::leftover(&place.region, &place.blob).as_bytes()),
            "",
            "",
        )
    }

    /// The copies of `id` in all regions, and those that are coming.
    pub(super) async fn all(&self, id: &BlobId) -> Result<Vec<CopyRow>> {
        Ok(self.all_of(&[id]).await?.pop().unwrap_or_default())
    }

    /// The same of several blobs, in their order.
    pub(super) async fn all_of(&self, ids: &[&BlobId]) -> Result<Vec<Vec<CopyRow>>> {
        let ranges = ids.iter().map(|id| (root::copies_range(id.as_bytes()), ROWS_MAX)).collect();
        let found = self.meta.multi_scan(Partition::ROOT, ranges, Projection::Full).await.map_err(failed)?;
        let read = |id: &BlobId, row: Entry| {
            let region = root::parse_copy(id.as_bytes(), &row.key).unwrap_or_default().to_owned();
            let record = CopyRecord::decode(&row.body).map_err(failed)?;
            Ok(CopyRow { region, record, revision: row.revision })
        };
        ids.iter().zip(found).map(|(id, rows)| rows.into_iter().map(|row| read(id, row)).collect()).collect()
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

/// For how long the copy that `record` tells of has been coming. The clocks of nodes may differ.
fn coming_for(record: &CopyRecord, now: Timestamp) -> Duration {
    Duration::from_millis(now.as_millis().abs_diff(record.begun.as_millis()))
}

/// Whether whoever makes the copy that `record` tells of has had more than the time for it.
pub(super) fn is_abandoned(record: &CopyRecord, now: Timestamp) -> bool {
    record.blob.is_none() && record.until.map_or_else(|| coming_for(record, now) > ABANDONED_AFTER, |until| until < now)
}

pub(super) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Io { doing: "tell where the copies of a blob are", source: io::Error::other(error) }
}
