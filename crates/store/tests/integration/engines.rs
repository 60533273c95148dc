//! Pairs of engines, and buckets in them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;
use umbra_blob::{BlobStore, DiskBlobStore, DiskSettings, MemoryBlobStore};
use umbra_core::{Body, BucketName, ByteRange, Clock, ManualClock, ObjectKey, RequestContext, Result, SeededRandom, Timestamp};
use umbra_meta::{MemoryMetaStore, MetaStore, SqliteMetaStore, SqliteSettings};
use umbra_store::{
    Bucket, BucketSettings, Catalog, GetOptions, Native, NativeParts, Objects, PutObject, PutOptions, ReclaimHandle, Reclaimer, Sealer,
    suite,
};

const ORGANIZATION: &str = "acme";

/// How long blobs outlive their last reference in these tests.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// A store under test.
pub(crate) struct Store {
    pub(crate) native: Native,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) reclaim: ReclaimHandle,
    pub(crate) cx: RequestContext,
    buckets: AtomicU64,
    _dir: Option<TempDir>,
}

impl Store {
    pub(crate) async fn new(meta: Arc<dyn MetaStore>, blobs: Arc<dyn BlobStore>) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let reclaim = ReclaimHandle::new(GRACE);
        let random = Arc::new(SeededRandom::new(7));
        let native = Native::new(NativeParts {
            meta: Arc::clone(&meta),
            blobs: Arc::clone(&blobs),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            random: Arc::clone(&random) as _,
            reclaimer: reclaim.clone(),
            keys: Arc::new(umbra_store::Keyring::new([7; 32], [], Arc::clone(&random) as _)),
        });
        let sealer = Arc::new(Sealer::new([7; 32], Arc::clone(&random) as _));
        let catalog = Catalog::open(Arc::clone(&meta), sealer, Arc::clone(&clock) as _, random).await.unwrap();
        catalog.create_organization(ORGANIZATION).await.unwrap();
        let (catalog, cx) = (Arc::new(catalog), RequestContext::default());
        Self { native, catalog, meta, blobs, clock, reclaim, cx, buckets: AtomicU64::new(1), _dir: None }
    }

    pub(crate) async fn in_memory() -> Self {
        Self::new(Arc::new(MemoryMetaStore::new()), Arc::new(MemoryBlobStore::new())).await
    }

    pub(crate) async fn on_disk() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let meta = SqliteMetaStore::open(&dir.path().join("meta"), SqliteSettings::default()).unwrap();
        let blobs = DiskBlobStore::open(dir.path().join("blobs"), DiskSettings::default()).await.unwrap();
        Self { _dir: Some(dir), ..Self::new(Arc::new(meta), Arc::new(blobs)).await }
    }

    /// A new, empty bucket.
    pub(crate) async fn bucket(&self) -> Bucket {
        let name = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        make_bucket(&self.catalog, &name).await
    }

    pub(crate) async fn put(&self, bucket: &Bucket, name: &str, content: &Bytes) -> Result<PutObject> {
        let body = Body::from_bytes(content.clone());
        self.native.put(&self.cx, bucket, &key(name), body, PutOptions::default()).await
    }

    pub(crate) async fn get(&self, bucket: &Bucket, name: &str) -> Result<Bytes> {
        self.native.get(&self.cx, bucket, &key(name), GetOptions::default()).await?.body.collect(usize::MAX).await
    }

    pub(crate) fn reclaimer(&self) -> Reclaimer {
        let catalog = Arc::clone(&self.catalog);
        let partitions = Box::new(move || {
            let catalog = Arc::clone(&catalog);
            Box::pin(async move { catalog.partitions().await }) as _
        });
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Reclaimer::new(Arc::clone(&self.meta), Arc::clone(&self.blobs), clock, self.reclaim.clone(), partitions)
    }

    /// Lets the grace period pass, reclaims, and checks that every blob the rows name is there, whole. Gives how many those are.
    pub(crate) async fn reclaim_and_audit(&self, bucket: &Bucket) -> usize {
        suite::audit(&*self.meta, bucket.partition).await;
        self.clock.advance(GRACE);
        self.reclaimer().reclaim_due().await;
        let books = suite::audit(&*self.meta, bucket.partition).await;
        assert!(books.reclaimed.is_empty(), "everything due is reclaimed");
        for (blob, size) in &books.blobs {
            let opened = self.blobs.read(blob, ByteRange::new(0, *size)).await;
            assert!(opened.is_ok(), "{blob:?} of {size} bytes: {:?}", opened.err());
        }
        books.blobs.len()
    }
}

pub(crate) async fn make_bucket(catalog: &Catalog, name: &str) -> Bucket {
    let name = BucketName::parse(name).unwrap();
    Bucket::clone(&*catalog.create_bucket(&name, ORGANIZATION, BucketSettings::default()).await.unwrap())
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}

/// `size` bytes that differ by position and by `seed`.
pub(crate) fn content(size: usize, seed: u8) -> Bytes {
    (0..size).map(|at| (at % 251) as u8 ^ seed).collect()
}

/// Waits until every task of this runtime but the caller's is over.
pub(crate) async fn settled() {
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 0 {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}
