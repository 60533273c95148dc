//! The contents of another region, once they are known to be the store's.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::sync::Mutex;
use umbra_blob::{BlobId, BlobStore, BlobWriter, Error, Result, S3BlobStore, StoredBlob};
use umbra_core::{ByteRange, Random, Region, with_causes};
use umbra_store::Catalog;

use super::Place;

/// For this long it is not tried again whether they are.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The contents of another region. It may have been away when this server started; then they are not used before it was seen that they are the
/// store's: what is written elsewhere nobody finds.
pub(crate) struct SureBlobStore {
    region: Region,
    place: Arc<Place>,
    inner: S3BlobStore,
    catalog: Arc<Catalog>,
    random: Arc<dyn Random>,
    /// When it could last not be told, and why. Held while it is tried.
    failed: Mutex<Option<(Instant, String)>>,
    has_failed: AtomicBool,
}

fn unsure(why: String) -> Error {
    Error::Io { doing: "make sure of the contents of a region", source: io::Error::other(why) }
}

impl SureBlobStore {
    /// None for a place that is not a bucket.
    pub(super) fn new(region: &Region, place: &Arc<Place>, catalog: &Arc<Catalog>, random: &Arc<dyn Random>) -> Option<Self> {
        let inner = place.store()?.clone();
        let (region, place, catalog, random) = (region.clone(), Arc::clone(place), Arc::clone(catalog), Arc::clone(random));
        Some(Self { region, place, inner, catalog, random, failed: Mutex::default(), has_failed: AtomicBool::new(false) })
    }

    async fn sure(&self) -> Result<&S3BlobStore> {
        if self.place.is_sure() {
            return Ok(&self.inner);
        }
        let mut failed = match self.failed.try_lock() {
            Ok(failed) => failed,
            // While it is tried again nobody else waits for it.
            Err(_) if self.has_failed.load(Ordering::Relaxed) => {
                return Err(unsure("it did not answer, and is being asked again".to_owned()));
            }
            Err(_) => self.failed.lock().await,
        };
        let is_settled = self.place.is_sure() || failed.as_ref().is_some_and(|(at, _)| at.elapsed() < AGAIN_AFTER);
        if !is_settled {
            *failed = self.make_sure().await.err().map(|why| (Instant::now(), why));
            self.has_failed.store(failed.is_some(), Ordering::Relaxed);
        }
        match &*failed {
            Some((_, why)) => Err(unsure(why.clone())),
            None => Ok(&self.inner),
        }
    }

    async fn make_sure(&self) -> std::result::Result<(), String> {
        let region = &self.region;
        match self.place.make_sure(region.as_str(), &self.catalog, self.random.as_ref()).await {
            Ok(()) => {
                tracing::info!(%region, "the contents of a region answer, and are the store's");
                Ok(())
            }
            Err(error) => {
                let why = with_causes(&error);
                tracing::warn!(%region, why, "the contents of a region are not used");
                Err(why)
            }
        }
    }
}

#[async_trait]
impl BlobStore for SureBlobStore {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.sure().await?.put(content).await
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        self.sure().await?.create().await
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.sure().await?.read(id, range).await
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        self.inner.size_of(id)
    }

    async fn answers(&self) -> Result<()> {
        self.sure().await?.answers().await
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.sure().await?.delete(id).await
    }
}

impl fmt::Debug for SureBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SureBlobStore").field("inner", &self.inner).field("is_sure", &self.place.is_sure()).finish_non_exhaustive()
    }
}
