use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use parking_lot::Mutex;
use umbra_blob::{BlobId, BlobOperation, BlobStore, FailingBlobStore, MemoryBlobStore};
use umbra_core::{
    Body, BucketName, Entity, ErrorKind, ManualClock, ObjectKey, PartNumber, RequestContext, SeededRandom, Timestamp, UploadId,
};
use umbra_meta::{
    Batch, CommitFault, Error as MetaError, Expect, FailingMetaStore, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection, key,
    key::root,
};

use super::Destroyer;
use crate::{
    Bucket, BucketSettings, Catalog, CompleteUpload, CompletedPart, CreateUpload, Integrity, Native, NativeParts, Objects, PartAddress,
    PutOptions, ReclaimHandle, Sealer,
};

/// More than fits inline.
const CONTENT: &[u8] = &[7; 10_000];

/// A store in memory that fails where a test wants it to.
struct World {
    meta: Arc<FailingMetaStore>,
    blobs: MemoryBlobStore,
    catalog: Catalog,
    native: Native,
}

impl World {
    async fn new() -> Self {
        let meta = Arc::new(FailingMetaStore::new(Arc::new(MemoryMetaStore::new())));
        let catalog = open(&meta).await;
        catalog.create_organization("acme").await.unwrap();
        let blobs = MemoryBlobStore::new();
        let native = Native::new(NativeParts {
            meta: meta.clone(),
            blobs: Arc::new(blobs.clone()),
            clock: Arc::new(ManualClock::new(Timestamp::default())),
            random: Arc::new(SeededRandom::new(3)),
            reclaimer: ReclaimHandle::new(Duration::from_secs(300)),
            keys: Arc::new(crate::Keyring::new([7; 32], [], Arc::new(SeededRandom::new(3)))),
        });
        Self { meta, blobs, catalog, native }
    }

    fn destroyer(&self) -> Destroyer {
        Destroyer::new(&self.catalog, Arc::new(self.blobs.clone()))
    }

    async fn create(&self, name: &str) -> Arc<Bucket> {
        self.catalog.create_bucket(&bucket_name(name), "acme", BucketSettings::default()).await.unwrap()
    }

    async fn destroy(&self, name: &str) {
        self.catalog.destroy_bucket(&self.catalog.bucket(&bucket_name(name)).await.unwrap()).await.unwrap();
    }

    async fn put(&self, bucket: &Bucket, object: &str, content: &'static [u8]) -> umbra_core::Result<()> {
        let options = PutOptions::default();
        self.native.put(&cx(), bucket, &object_key(object), Body::from_bytes(content), options).await.map(drop)
    }

    /// Puts a part of a new upload.
    async fn upload(&self, bucket: &Bucket, object: &str) -> (UploadId, CompletedPart) {
        let (key, number) = (object_key(object), PartNumber::new(1).unwrap());
        let upload = self.native.create_upload(&cx(), bucket, &key, CreateUpload::default()).await.unwrap();
        let part = PartAddress { key: &key, upload: &upload, number };
        let put = self.native.put_part(&cx(), bucket, part, Body::from_bytes(CONTENT), Integrity::default()).await.unwrap();
        (upload, CompletedPart { number, etag: put.etag, checksum: None })
    }

    /// Fills a bucket with a bit of everything, `small` of it without blobs.
    async fn fill(&self, bucket: &Bucket, small: usize) {
        for n in 0..small {
            self.put(bucket, &format!("small-{n}"), b"inline").await.unwrap();
        }
        self.put(bucket, "large", CONTENT).await.unwrap();
        // Overwritten: its first blob waits for its reclamation.
        self.put(bucket, "large", CONTENT).await.unwrap();
        self.upload(bucket, "unfinished").await;
        let (upload, part) = self.upload(bucket, "finished").await;
        let options = CompleteUpload { parts: vec![part], ..CompleteUpload::default() };
        self.native.complete_upload(&cx(), bucket, &object_key("finished"), &upload, options).await.unwrap();
        // What a shadow leaves: a piece, written as the shadow writes it, and a tombstone.
        let blob = self.blobs.put(vec![CONTENT.into()]).await.unwrap().id;
        let piece = [&[1, 0x83, 0x40 + u8::try_from(blob.as_bytes().len()).unwrap()], blob.as_bytes(), &[0x19, 0x27, 0x10, 0]].concat();
        let batch = Batch::new(bucket.partition).put(key::piece(&object_key("cold"), 0), "", piece);
        self.meta.commit(batch.put(key::tombstone(&object_key("gone")), "", "tombstone")).await.unwrap();
        assert_eq!(self.blobs.len(), 5, "two of the overwritten, one of each upload, one piece");
    }

    async fn rows(&self, partition: Partition) -> usize {
        self.meta.scan(partition, KeyRange::prefix(b""), 10_000, Projection::Head).await.unwrap().len()
    }

    /// Nothing of `bucket` is left: no row, no order, and no blob in the store but `others`.
    async fn check_gone(&self, bucket: &Bucket, others: usize, case: &str) {
        assert_eq!(self.rows(bucket.partition).await, 0, "{case}");
        assert!(self.meta.get(Partition::ROOT, &root::destroying(bucket.partition)).await.unwrap().is_none(), "{case}");
        assert_eq!(self.blobs.len(), others, "{case}");
    }
}

async fn open(meta: &Arc<FailingMetaStore>) -> Catalog {
    let random = Arc::new(SeededRandom::new(1));
    let sealer = Arc::new(Sealer::new([7; 32], random.clone()));
    Catalog::open(meta.clone(), sealer, Arc::new(ManualClock::new(Timestamp::default())), random).await.unwrap()
}

fn cx() -> RequestContext {
    RequestContext::default()
}

fn bucket_name(name: &str) -> BucketName {
    BucketName::parse(name).unwrap()
}

fn object_key(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

#[tokio::test]
async fn a_destroyed_bucket_leaves_nothing_and_takes_nothing_else_along() {
    let world = World::new().await;
    let (doomed, other) = (world.create("doomed").await, world.create("other").await);
    world.fill(&doomed, super::PAGE_ROWS * 2).await;
    world.put(&other, "large", CONTENT).await.unwrap();
    world.destroy("doomed").await;
    assert_eq!(world.destroyer().destroy_all().await.unwrap(), 1);
    world.check_gone(&doomed, 1, "destroyed").await;
    assert!(world.native.find(&other, &object_key("large")).await.unwrap().is_some());
    assert_eq!(world.destroyer().destroy_all().await.unwrap(), 0);
}

#[tokio::test]
async fn a_deleted_bucket_leaves_nothing() {
    let world = World::new().await;
    let bucket = world.create("bucket").await;
    world.upload(&bucket, "unfinished").await;
    world.catalog.delete_bucket(&world.catalog.bucket(&bucket_name("bucket")).await.unwrap()).await.unwrap();
    assert_eq!(world.destroyer().destroy_all().await.unwrap(), 1);
    world.check_gone(&bucket, 0, "deleted").await;
}

#[tokio::test]
async fn it_can_be_interrupted_anywhere() {
    for fault in [CommitFault::Unavailable, CommitFault::LostAcknowledgement] {
        let mut interrupted = 0;
        for at in 0.. {
            let mut world = World::new().await;
            let bucket = world.create("bucket").await;
            world.fill(&bucket, super::PAGE_ROWS).await;
            world.destroy("bucket").await;
            world.meta.fail_after(at, fault);
            let first = world.destroyer().destroy_all().await;
            world.meta.heal();
            // A new process.
            world.catalog = open(&world.meta).await;
            world.destroyer().destroy_all().await.unwrap();
            world.check_gone(&bucket, 0, &format!("{fault:?} at commit {at}")).await;
            if first.is_ok() {
                break;
            }
            interrupted += 1;
        }
        assert!(interrupted >= 4, "the fence, two pages, the order");
    }
}

#[tokio::test]
async fn a_blob_that_cannot_be_deleted_is_not_forgotten_and_holds_up_no_other_bucket() {
    let world = World::new().await;
    let (stuck, other) = (world.create("stuck").await, world.create("other").await);
    world.put(&stuck, "large", CONTENT).await.unwrap();
    let stuck_blob = world.native.find(&stuck, &object_key("large")).await.unwrap().unwrap().object.content.extents()[0].blob.clone();
    world.put(&other, "large", CONTENT).await.unwrap();
    world.destroy("stuck").await;
    world.destroy("other").await;
    let held = stuck_blob.clone();
    let hook = move |operation: &BlobOperation| {
        let refused = matches!(operation, BlobOperation::Delete { id } if *id == held);
        refused.then(|| umbra_blob::Error::Full("a test says so".to_owned()))
    };
    let failing: Arc<dyn BlobStore> = Arc::new(FailingBlobStore::new(Arc::new(world.blobs.clone()), hook));
    let destroyed = Destroyer::new(&world.catalog, failing).destroy_all().await;
    assert_eq!(destroyed.unwrap_err().kind(), ErrorKind::DiskFull);
    assert!(world.native.find(&stuck, &object_key("large")).await.unwrap().is_some(), "it still names its blob");
    world.check_gone(&other, 1, "the other").await;
    assert_eq!(world.destroyer().destroy_all().await.unwrap(), 1);
    world.check_gone(&stuck, 0, "the stuck").await;
}

#[tokio::test]
async fn nothing_can_be_added_while_it_is_emptied() {
    let world = World::new().await;
    let bucket = world.create("bucket").await;
    world.fill(&bucket, super::PAGE_ROWS).await;
    world.destroy("bucket").await;
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let (writer, seen, partition, revision) = (Arc::clone(&world.meta), Arc::clone(&outcomes), bucket.partition, bucket.revision);
    // Before each commit: one writer who checks the fence's revision, one who only checks that there is a fence.
    let late = Arc::new(FailingMetaStore::new(writer));
    let inner = Arc::clone(&world.meta);
    late.set(move |number, _| {
        for (n, fence) in [Expect::Revision(revision), Expect::Exists].into_iter().enumerate() {
            let row = key::object(&object_key(&format!("late-{number}-{n}")));
            let batch = Batch::new(partition).check(key::settings(), fence).put(row, "", "late");
            seen.lock().push((number, n, inner.commit(batch).now_or_never().expect("memory answers at once")));
        }
        CommitFault::None
    });
    let catalog = open(&late).await;
    Destroyer::new(&catalog, Arc::new(world.blobs.clone())).destroy_all().await.unwrap();
    world.check_gone(&bucket, 0, "with late writers").await;
    let outcomes = outcomes.lock();
    assert!(outcomes.len() >= 8);
    for (number, n, outcome) in outcomes.iter() {
        let came_before_the_fence_fell = *number == 0 && *n == 1;
        assert_eq!(outcome.is_ok(), came_before_the_fence_fell, "writer {n} at commit {number}");
        assert!(outcome.is_ok() || matches!(outcome, Err(MetaError::Conflict { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_races_the_destruction_leaves_no_blob() {
    let world = Arc::new(World::new().await);
    for _ in 0..30 {
        let bucket = world.create("bucket").await;
        let puts = (0..4).map(|n| {
            let (world, bucket) = (Arc::clone(&world), Arc::clone(&bucket));
            tokio::spawn(async move { world.put(&bucket, &format!("object-{n}"), CONTENT).await })
        });
        let puts: Vec<_> = puts.collect();
        world.destroy("bucket").await;
        let destroyer = world.destroyer();
        destroyer.destroy_all().await.unwrap();
        for put in puts {
            if let Err(error) = put.await.unwrap() {
                assert_eq!(error.kind(), ErrorKind::NotFound(Entity::Bucket));
            }
        }
        world.check_gone(&bucket, 0, "after the race").await;
    }
}

#[tokio::test]
async fn a_damaged_record_does_not_keep_its_bucket() {
    let world = World::new().await;
    let bucket = world.create("bucket").await;
    let damaged = Batch::new(bucket.partition)
        .put(key::object(&object_key("object")), "damaged", "damaged")
        .put(key::part(&UploadId::parse("upload"), PartNumber::new(1).unwrap()), "", "")
        .put(key::piece(&object_key("cold"), 0), "", "damaged")
        .put(key::reclaim(0, &[1; BlobId::BYTES_MAX + 1]), "", "")
        .put(b"unknown/family".to_vec(), "", "");
    world.meta.commit(damaged).await.unwrap();
    world.put(&bucket, "sound", CONTENT).await.unwrap();
    world.destroy("bucket").await;
    world.destroyer().destroy_all().await.unwrap();
    world.check_gone(&bucket, 0, "with damage").await;
}

#[tokio::test]
async fn the_worker_resumes_at_its_start_and_wakes_for_new_orders() {
    let world = World::new().await;
    let (before, after) = (world.create("before").await, world.create("after").await);
    world.fill(&before, 10).await;
    world.destroy("before").await;
    let destroyer = Arc::new(world.destroyer());
    let worker = tokio::spawn({
        let destroyer = Arc::clone(&destroyer);
        async move { destroyer.run().await }
    });
    let emptied = async |bucket: &Bucket| {
        let order = root::destroying(bucket.partition);
        while world.meta.get(Partition::ROOT, &order).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        world.check_gone(bucket, 0, "by the worker").await;
    };
    emptied(&before).await;
    world.fill(&after, 10).await;
    world.destroy("after").await;
    emptied(&after).await;
    destroyer.stop();
    worker.await.unwrap();
}

#[tokio::test]
async fn a_stopped_worker_leaves_the_rest_for_the_next_start() {
    let world = World::new().await;
    let bucket = world.create("bucket").await;
    world.fill(&bucket, 10).await;
    world.destroy("bucket").await;
    let stopped = world.destroyer();
    stopped.stop();
    assert_eq!(stopped.destroy_all().await.unwrap_err().kind(), ErrorKind::Cancelled);
    stopped.run().await;
    assert!(world.rows(bucket.partition).await > 0);
    world.destroyer().destroy_all().await.unwrap();
    world.check_gone(&bucket, 0, "the next start").await;
}

#[tokio::test(start_paused = true)]
async fn the_worker_tries_again_after_a_failure() {
    let world = World::new().await;
    let bucket = world.create("bucket").await;
    world.fill(&bucket, 10).await;
    world.destroy("bucket").await;
    let failures_left = Mutex::new(3);
    world.meta.set(move |_, _| {
        let mut left = failures_left.lock();
        if *left == 0 {
            return CommitFault::None;
        }
        *left -= 1;
        CommitFault::Unavailable
    });
    let destroyer = Arc::new(world.destroyer());
    let worker = tokio::spawn({
        let destroyer = Arc::clone(&destroyer);
        async move { destroyer.run().await }
    });
    // Time is paused: it passes only while the worker waits for its next attempt.
    while world.rows(bucket.partition).await > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    destroyer.stop();
    worker.await.unwrap();
    world.check_gone(&bucket, 0, "at the fourth attempt").await;
}
