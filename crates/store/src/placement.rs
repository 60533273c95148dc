//! Contents of several regions, each with a store of its own: bytes live in the region that took them.
//!
//! # Overview
//! [`PlacedBlobStore`] is a [`BlobStore`] over those of all regions. What is written goes to this region's, and its identifier says so
//! (`address.rs`). What is at home elsewhere is fetched across, and kept here as a copy meanwhile (`copier.rs`); which blobs have copies, and
//! where, is in the metadata that all regions share (`index.rs`).
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
//! A home that does not answer is an error, never absence; a blob with a copy here stays readable. That a copy cannot be made, read or
//! found fails no read.
//!
//! # Crashes
//! Of a copy that was being made its row is left, which is taken over after a while. Bytes that were stored but whose row did not follow stay
//! and take space, like those of any blob whose identifier was lost.

mod address;
mod copier;
mod due;
mod index;
mod maker;
mod metrics;
#[cfg(test)]
mod tests;
mod worker;

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use umbra_blob::{BlobId, BlobStore, BlobWriter, Error, Result, StoredBlob};
use umbra_core::{ByteRange, Clock};
use umbra_meta::MetaStore;

use self::{
    address::Address,
    copier::Copier,
    index::{Copy, CopyIndex},
};
pub use self::{
    address::is_region_name,
    due::DuePointers,
    metrics::PlacementMetrics,
    worker::{CopyWorker, RegionSource},
};

/// How often the copies of a blob that is gone are looked for before its delete fails: each time all that were found are gone.
const LOOKS_MAX: usize = 8;

type Content = BoxStream<'static, Result<Bytes>>;

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
        let address = self.shared.address(id).ok_or_else(|| Error::NotFound(id.clone()))?;
        if address.region == self.shared.region {
            return self.shared.own.read(&address.inner, range).await.map(renamed(id)).map_err(|error| rename(id, error));
        }
        if let Some(content) = self.shared.read_copy(id, &address, range).await {
            return Ok(content);
        }
        self.shared.metrics.count_home_read();
        self.shared.read_home(id, &address, range).await.map(renamed(id)).map_err(|error| rename(id, error))
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

    /// Reads the copy that is here, if there is one of any use.
    async fn read_copy(self: &Arc<Self>, id: &BlobId, address: &Address, range: ByteRange) -> Option<BoxStream<'static, Result<Bytes>>> {
        let size = self.store(&address.region).ok().and_then(|home| home.size_of(&address.inner));
        if size.is_some_and(|size| range.end > size) {
            // The home knows what to say of that.
            return None;
        }
        let copy = self.index.find(id).await?;
        match self.own.read(&copy.blob, range).await {
            Ok(content) => {
                self.metrics.count_copy_read();
                let (shared, watched) = (Arc::clone(self), id.clone());
                let content = content.inspect_err(move |error| {
                    if is_lost(error) {
                        let (shared, id, copy) = (Arc::clone(&shared), watched.clone(), copy.clone());
                        tokio::spawn(async move { shared.drop_copy(&id, &copy).await });
                    }
                });
                Some(renamed(id)(content.boxed()))
            }
            Err(error) => {
                if is_lost(&error) {
                    self.drop_copy(id, &copy).await;
                }
                None
            }
        }
    }

    /// Reads from the home, and has a copy made if none is being made.
    async fn read_home(&self, id: &BlobId, address: &Address, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        let home = self.store(&address.region)?;
        let size = home.size_of(&address.inner).filter(|size| !range.is_empty() && range.end <= *size);
        let admitted = size.and_then(|size| Some((self.copier.admit(id)?, size)));
        match admitted {
            Some((ticket, size)) if range == ByteRange::new(0, size) => ticket.read(Arc::clone(home), address.inner.clone(), size).await,
            Some((ticket, size)) => {
                let content = home.read(&address.inner, range).await?;
                ticket.copy(Arc::clone(home), address.inner.clone(), size);
                Ok(self.counted(content))
            }
            None => home.read(&address.inner, range).await.map(|content| self.counted(content)),
        }
    }

    fn counted(&self, content: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
        let metrics = self.metrics.clone();
        content.inspect_ok(move |chunk| metrics.count_fetched(chunk.len())).boxed()
    }

    /// Drops a copy that cannot be read, so that the blob is fetched again.
    async fn drop_copy(&self, id: &BlobId, copy: &Copy) {
        tracing::warn!(blob = ?id, "the copy of a blob of another region is lost; it is fetched again");
        self.index.drop_copy(id, copy).await;
        if let Err(error) = self.own.delete(&copy.blob).await {
            tracing::debug!(%error, "what is left of a lost copy stays");
        }
    }

    async fn delete_copies(&self, id: &BlobId) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let rows = self.index.all(id).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                if let Some(blob) = &row.blob {
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

/// Whether the bytes are not there, or not what they were.
const fn is_lost(error: &Error) -> bool {
    matches!(error, Error::NotFound(_) | Error::Corrupt { .. })
}

/// Has an error name the blob as whoever asked for it does.
fn rename(id: &BlobId, error: Error) -> Error {
    match error {
        Error::NotFound(_) => Error::NotFound(id.clone()),
        Error::Corrupt { why, .. } => Error::Corrupt { id: id.clone(), why },
        other => other,
    }
}

fn renamed(id: &BlobId) -> impl FnOnce(BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> + use<> {
    let id = id.clone();
    move |content| content.map_err(move |error| rename(&id, error)).boxed()
}
