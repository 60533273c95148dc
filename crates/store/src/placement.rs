//! Contents of several regions, each with a store of its own: bytes live in the region that took them.
//!
//! # Overview
//! [`PlacedBlobStore`] is a [`BlobStore`] over those of all regions. What is written goes to this region's, and its identifier says so
//! (`address.rs`). What is at home elsewhere is fetched across (`reading.rs`), and kept here as a copy meanwhile (`copier.rs`); which blobs have
//! copies, and where, is in the metadata that all regions share (`index.rs`).
//!
//! # Consistency
//! Blobs are immutable and their identifiers are never issued twice: a copy is right as long as it is there. An object that is overwritten
//! has another blob, which has no copies yet. So nothing has to be invalidated; copies have to be reclaimed.
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
mod copier;
mod due;
mod index;
mod lately;
mod maker;
mod metrics;
mod reading;
#[cfg(test)]
mod tests;
mod worker;

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use umbra_blob::{BlobId, BlobStore, BlobWriter, Error, Result, StoredBlob};
use umbra_core::{ByteRange, Clock};
use umbra_meta::MetaStore;

use self::{address::Address, copier::Copier, index::CopyIndex};
pub use self::{
    address::is_region_name,
    due::DuePointers,
    metrics::PlacementMetrics,
    worker::{CopyWorker, RegionSource},
};

/// How often the copies of a blob that is gone are looked for before its delete fails: each time all that were found are gone.
const LOOKS_MAX: usize = 8;

/// What a [`PlacedBlobStore`] is made of.
#[derive(Debug)]
pub struct PlacementParts {
    /// The name of this region.
    pub region: String,
    /// Its store.
    pub own: Arc<dyn BlobStore>,
    /// The stores of the other regions, by their names.
    pub others: BTreeMap<String, Arc<dyn BlobStore>>,
    /// The region that has what was written before there were regions, if anything was.
    pub first: Option<String>,
    /// Where copies are remembered.
    pub meta: Arc<dyn MetaStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: PlacementMetrics,
}

/// The contents of all regions, seen from one of them. Clones are the same store.
#[derive(Clone)]
pub struct PlacedBlobStore {
    shared: Arc<Shared>,
}

struct Shared {
    region: String,
    own: Arc<dyn BlobStore>,
    others: BTreeMap<String, Arc<dyn BlobStore>>,
    first: Option<String>,
    index: Arc<CopyIndex>,
    copier: Arc<Copier>,
    metrics: PlacementMetrics,
}

impl PlacedBlobStore {
    /// Puts the regions together.
    pub fn new(parts: PlacementParts) -> Self {
        let PlacementParts { region, own, others, first, meta, clock, metrics } = parts;
        let index = Arc::new(CopyIndex::new(meta, clock, region.clone()));
        let copier = Arc::new(Copier::new(Arc::clone(&own), Arc::clone(&index), metrics.clone()));
        Self { shared: Arc::new(Shared { region, own, others, first, index, copier, metrics }) }
    }
}

#[async_trait]
impl BlobStore for PlacedBlobStore {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        Ok(placed(&self.shared.region, self.shared.own.put(content).await?))
    }

    async fn put_unread(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        Ok(placed(&self.shared.region, self.shared.own.put_unread(content).await?))
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        let inner = self.shared.own.create().await?;
        Ok(Box::new(PlacedWriter { region: self.shared.region.clone(), inner }))
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.shared.read(id, range).await
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        let address = self.shared.address(id)?;
        self.shared.store(&address.region).ok()?.size_of(&address.inner)
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        let Some(address) = self.shared.address(id) else { return Ok(()) };
        let home = self.shared.store(&address.region)?;
        home.delete(&address.inner).await.map_err(|error| rename(id, error))?;
        self.shared.delete_copies(id).await
    }
}

impl fmt::Debug for PlacedBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { region, own, others, .. } = &*self.shared;
        f.debug_struct("PlacedBlobStore").field("region", region).field("own", own).field("others", others).finish_non_exhaustive()
    }
}

impl Shared {
    fn address(&self, id: &BlobId) -> Option<Address> {
        Address::decode(id, self.first.as_deref())
    }

    fn store(&self, region: &str) -> Result<&Arc<dyn BlobStore>> {
        if region == self.region {
            return Ok(&self.own);
        }
        let unknown = || io::Error::other(format!("this server does not know where the contents of region {region} are"));
        self.others.get(region).ok_or_else(|| Error::Io { doing: "reach another region", source: unknown() })
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

/// A blob being written in this region.
struct PlacedWriter {
    region: String,
    inner: Box<dyn BlobWriter>,
}

#[async_trait]
impl BlobWriter for PlacedWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.inner.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<StoredBlob> {
        Ok(placed(&self.region, self.inner.finish().await?))
    }
}

fn placed(region: &str, stored: StoredBlob) -> StoredBlob {
    StoredBlob { id: Address::encode(region, &stored.id), size: stored.size }
}

/// Has an error name the blob as whoever asked for it does.
fn rename(id: &BlobId, error: Error) -> Error {
    match error {
        Error::NotFound(_) => Error::NotFound(id.clone()),
        Error::Corrupt { why, .. } => Error::Corrupt { id: id.clone(), why },
        other => other,
    }
}
