//! Pairs of engines, and buckets in them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use tempfile::TempDir;
use umbra_blob::{BlobStore, DiskBlobStore, DiskSettings, MemoryBlobStore};
use umbra_core::{BucketName, Clock, ManualClock, SeededRandom, Timestamp};
use umbra_meta::{Batch, MemoryMetaStore, MetaStore, Partition, SqliteMetaStore, SqliteSettings, key};
use umbra_store::{Bucket, BucketSettings, Native, NativeParts, ReclaimHandle};

/// A store under test.
pub(crate) struct Store {
    pub(crate) native: Native,
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) reclaim: ReclaimHandle,
    partitions: AtomicU64,
    _dir: Option<TempDir>,
}

/// How long blobs outlive their last reference in these tests.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

impl Store {
    pub(crate) fn new(meta: Arc<dyn MetaStore>, blobs: Arc<dyn BlobStore>) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let reclaim = ReclaimHandle::new(GRACE);
        let native = Native::new(NativeParts {
            meta: Arc::clone(&meta),
            blobs: Arc::clone(&blobs),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            random: Arc::new(SeededRandom::new(7)),
            reclaimer: reclaim.clone(),
        });
        Self { native, meta, blobs, clock, reclaim, partitions: AtomicU64::new(1), _dir: None }
    }

    pub(crate) fn in_memory() -> Self {
        Self::new(Arc::new(MemoryMetaStore::new()), Arc::new(MemoryBlobStore::new()))
    }

    pub(crate) async fn on_disk() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let meta = SqliteMetaStore::open(&dir.path().join("meta"), SqliteSettings::default()).unwrap();
        let blobs = DiskBlobStore::open(dir.path().join("blobs"), DiskSettings::default()).await.unwrap();
        Self { _dir: Some(dir), ..Self::new(Arc::new(meta), Arc::new(blobs)) }
    }

    /// A new, empty bucket.
    pub(crate) async fn bucket(&self) -> Bucket {
        make_bucket(&self.meta, Partition(self.partitions.fetch_add(1, Ordering::Relaxed))).await
    }
}

/// A bucket without a catalog: its settings row, and nothing else.
pub(crate) async fn make_bucket(meta: &Arc<dyn MetaStore>, partition: Partition) -> Bucket {
    let batch = Batch::new(partition).put(key::settings(), "", "active");
    let revision = meta.commit(batch).await.unwrap().revision;
    Bucket {
        name: BucketName::parse(&format!("bucket-{}", partition.0)).unwrap(),
        partition,
        organization: "acme".to_owned(),
        created: Timestamp::default(),
        settings: BucketSettings::default(),
        revision,
    }
}
