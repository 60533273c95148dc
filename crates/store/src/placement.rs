//! Contents of several regions, each with a store of its own: bytes live in the region that took them, or where their bucket wants them.
//!
//! # Overview
//! [`PlacedBlobStore`] is a [`BlobStore`] over those of all regions. What is written goes to this region's, and its identifier says so
//! (`address.rs`). What is at home elsewhere is fetched across (`reading.rs`), and kept here as a copy meanwhile (`copier.rs`); which blobs have
//! copies, and where, is in the metadata that all regions share (`index.rs`).
//!
//! # Policy
//! Where the bytes of a bucket may be is decided by [`decide`] (`policy.rs`), from its location, its object's and the store's regions
//! (`topology.rs`). [`PlacedBlobStore::by`] is the same store, held to such a decision: writes go to the first region that takes them
//! (`health.rs`), and reads keep a copy only where one may be. Before it is kept the bucket is asked once more, for its location may be another by
//! then (`subject.rs`). Whoever only deletes needs no decision.
//!
//! # Consistency
//! Blobs are immutable and their identifiers are never issued twice: a copy is right as long as it is there. An object that is overwritten
//! has another blob, which has no copies yet. So nothing has to be invalidated; copies have to be reclaimed.
//!
//! # Homes that move
//! A copy can become the home (`moving.rs`), which its row says then; the identifier stays. The bytes at the home before are reclaimed, as are
//! those of copies that are dropped, by a row of their own that names nothing but them.
//!
//! # Deletes
//! The home's blob goes first, then its copies. A copy that is being made has a row before its blob is opened at home: either the delete finds
//! the row and takes it away, so that the copy is not kept, or the home does not have the blob any more. A region that does not
//! answer fails the delete, which whoever reclaims repeats.
//!
//! # Failures
//! A home that does not answer is an error, never absence; a blob with a copy somewhere stays readable. That a copy cannot be made, read or
//! found fails no read.
//!
//! # Crashes
//! Of a copy that was being made its row is left, which is taken over after a while. Bytes that were stored but whose row did not follow stay
//! and take space, like those of any blob whose identifier was lost.

mod address;
mod audit;
mod copier;
mod demand;
pub(crate) mod due;
mod health;
mod idle;
mod index;
mod lately;
mod maker;
mod metrics;
mod moving;
pub mod policy;
mod reading;
mod silence;
mod subject;
#[cfg(test)]
mod tests;
mod topology;
mod worker;
mod writes;

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use umbra_blob::{BlobId, BlobStore, BlobWriter, Error, Result, StoredBlob};
use umbra_core::{ByteRange, Clock, Narrowed, Region};
use umbra_meta::MetaStore;

use self::{
    address::Address, copier::Copier, demand::Counter, health::Health, idle::touch_every, index::CopyIndex, silence::Silence,
    subject::Subject,
};
pub use self::{
    audit::{Audit, AuditFindings, Auditor, AuditorParts, DueCopies, FinishedAudit, PlacementStatus, RegionUse},
    demand::{DemandSettings, Homes, HomesCounter},
    due::DuePointers,
    metrics::PlacementMetrics,
    moving::Moved,
    policy::{Placement, decide},
    topology::Topology,
    worker::{CopyWorker, RegionSource},
};
use crate::{Bucket, ReclaimHandle};

/// How often the copies of a blob that is gone are looked for before its delete fails: each time all that were found are gone.
const LOOKS_MAX: usize = 8;

/// What a [`PlacedBlobStore`] is made of.
#[derive(Debug)]
pub struct PlacementParts {
    /// Which regions there are, and which is this one.
    pub topology: Arc<Topology>,
    /// This region's store.
    pub own: Arc<dyn BlobStore>,
    /// The same past whatever caches it has.
    pub engine: Arc<dyn BlobStore>,
    /// The stores of the other regions.
    pub others: BTreeMap<Region, Arc<dyn BlobStore>>,
    /// The region that has what was written before there were regions, if anything was.
    pub first: Option<Region>,
    /// Where copies are remembered.
    pub meta: Arc<dyn MetaStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Reclaims bytes that are dropped.
    pub reclaimer: ReclaimHandle,
    /// When homes move, and copies go.
    pub demand: DemandSettings,
    /// What is counted.
    pub metrics: PlacementMetrics,
}

/// The contents of all regions, seen from one of them. Clones are the same store.
#[derive(Clone)]
pub struct PlacedBlobStore {
    shared: Arc<Shared>,
    /// `None`: bytes live in this region.
    placement: Option<Placement>,
    /// What is read and written. `None`: nobody said, and no copy is kept.
    subject: Option<Arc<Subject>>,
    /// Whether what is read goes on to another region.
    is_for_elsewhere: bool,
}

struct Shared {
    topology: Arc<Topology>,
    region: Region,
    own: Arc<dyn BlobStore>,
    engine: Arc<dyn BlobStore>,
    others: BTreeMap<Region, Arc<dyn BlobStore>>,
    health: Health,
    silence: Arc<Silence>,
    first: Option<Region>,
    index: Arc<CopyIndex>,
    copier: Arc<Copier>,
    meta: Arc<dyn MetaStore>,
    clock: Arc<dyn Clock>,
    demand: DemandSettings,
    counter: Counter,
    metrics: PlacementMetrics,
}

impl PlacedBlobStore {
    /// Puts the regions together. The topology must be of a store that has them.
    pub fn new(parts: PlacementParts) -> Self {
        let PlacementParts { topology, own, engine, others, first, meta, clock, reclaimer, demand, metrics } = parts;
        let region = topology.own().expect("a store with regions is seen from one of them").clone();
        let index =
            Arc::new(CopyIndex::new(Arc::clone(&meta), Arc::clone(&clock), region.to_string(), reclaimer, touch_every(demand.copy_idle)));
        let silence = Arc::new(Silence::new(Arc::clone(&clock)));
        let copier = Arc::new(Copier::new(Arc::clone(&own), Arc::clone(&index), Arc::clone(&silence), metrics.clone()));
        let health = Health::new(topology.regions().iter().cloned());
        let counter = Counter::new(demand);
        let shared =
            Shared { topology, region, own, engine, others, health, silence, first, index, copier, meta, clock, demand, counter, metrics };
        Self { shared: Arc::new(shared), placement: None, subject: None, is_for_elsewhere: false }
    }

    /// Has copies looked for in `meta`, a replica of where they are remembered.
    pub(crate) fn look_nearby(&self, meta: Arc<dyn MetaStore>) {
        self.shared.index.look_nearby(meta);
    }

    /// The same store, held to a decision on where bytes are.
    pub fn by(&self, placement: Placement) -> Self {
        Self { placement: Some(placement), ..self.clone() }
    }

    /// The same store, for the content of an object of `bucket`, or of what is to become one, that its writer has `narrowed` or not.
    #[must_use]
    pub fn of(&self, bucket: &Bucket, narrowed: Option<&Narrowed>) -> Self {
        let taken_in = bucket.taken_in.as_ref();
        let placement = decide(&bucket.settings.location, narrowed, taken_in, self.topology());
        self.by(placement).about(Subject::new(bucket.partition, narrowed.cloned())).for_region(taken_in)
    }

    /// The same store, for what is of `subject`.
    fn about(self, subject: Subject) -> Self {
        Self { subject: Some(Arc::new(subject)), ..self }
    }

    /// The same store, for requests that came in at `region`: what is read for another one leaves no copy here.
    #[must_use]
    pub fn for_region(self, region: Option<&Region>) -> Self {
        Self { is_for_elsewhere: region.is_some_and(|region| *region != self.shared.region), ..self }
    }

    /// The regions there are.
    pub fn topology(&self) -> &Topology {
        &self.shared.topology
    }

    /// The region that took a blob; `None` for an identifier that was never issued.
    pub fn home_of(&self, id: &BlobId) -> Option<Region> {
        self.shared.address(id).map(|address| address.region)
    }

    /// What is read, if a copy of it may be kept in this region, as far as was decided.
    fn kept(&self) -> Option<&Arc<Subject>> {
        let may_keep = !self.is_for_elsewhere && self.placement.as_ref().is_none_or(|placement| placement.may_keep(&self.shared.region));
        self.subject.as_ref().filter(|_| may_keep)
    }
}

#[async_trait]
impl BlobStore for PlacedBlobStore {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.put_placed(content, true).await
    }

    async fn put_unread(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.put_placed(content, false).await
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        self.create_placed().await
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        if !self.is_for_elsewhere && self.placement.as_ref().is_none_or(Placement::is_everywhere) {
            self.shared.count_read(id);
        }
        self.shared.read(id, range, self.kept()).await
    }

    async fn answers(&self) -> Result<()> {
        self.shared.own.answers().await
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        let address = self.shared.address(id)?;
        self.shared.store(address.region.as_str()).ok()?.size_of(&address.inner)
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        if let Some(left) = Address::decode_leftover(id) {
            return self.shared.store(left.region.as_str())?.delete(&left.inner).await.map_err(|error| rename(id, error));
        }
        let Some(address) = self.shared.address(id) else { return Ok(()) };
        let home = self.shared.store(address.region.as_str())?;
        home.delete(&address.inner).await.map_err(|error| rename(id, error))?;
        self.shared.delete_copies(id).await
    }
}

impl fmt::Debug for PlacedBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { region, own, others, .. } = &*self.shared;
        let mut shown = f.debug_struct("PlacedBlobStore");
        shown.field("region", region).field("own", own).field("others", others).field("placement", &self.placement).finish_non_exhaustive()
    }
}

impl Shared {
    fn address(&self, id: &BlobId) -> Option<Address> {
        Address::decode(id, self.first.as_ref())
    }

    /// The store of a region, past whatever caches it has.
    fn engine(&self, region: &str) -> Result<&Arc<dyn BlobStore>> {
        if region == self.region.as_str() { Ok(&self.engine) } else { self.store(region) }
    }

    fn store(&self, region: &str) -> Result<&Arc<dyn BlobStore>> {
        if region == self.region.as_str() {
            return Ok(&self.own);
        }
        let unknown = || io::Error::other(format!("this server does not know where the contents of region {region} are"));
        self.others.get(region).ok_or_else(|| Error::Io { doing: "reach another region", source: unknown() })
    }

    /// Counts a read for what is to be the home of a blob: of those that are not at home here, and of those that other regions claim.
    fn count_read(&self, id: &BlobId) {
        if !self.counter.is_on() {
            return;
        }
        let Some(address) = self.address(id) else { return };
        if address.region != self.region || self.counter.is_claimed(id) || self.index.has_left(id) {
            self.counter.count(id, self.clock.now());
        }
    }

    async fn delete_copies(&self, id: &BlobId) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let rows = self.index.all(id).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                if let Some(blob) = &row.record.blob {
                    self.store(&row.region)?.delete(blob).await?;
                }
                self.index.remove(id, &row.region, row.revision).await?;
            }
        }
        Err(Error::Io { doing: "delete the copies of a blob", source: io::Error::other("others are made all the time") })
    }
}

/// Has an error name the blob as whoever asked for it does.
fn rename(id: &BlobId, error: Error) -> Error {
    match error {
        Error::NotFound(_) => Error::NotFound(id.clone()),
        Error::Corrupt { why, .. } => Error::Corrupt { id: id.clone(), why },
        other => other,
    }
}
