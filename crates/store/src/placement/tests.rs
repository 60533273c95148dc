mod audit;
mod due;
mod engine;
mod following;
mod moving;
mod placed;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, TryStreamExt, stream::BoxStream};
use tokio::time::timeout;
use umbra_blob::{BlobId, BlobOperation, BlobStore, BlobWriter, Error, FailingBlobStore, Result, StoredBlob, suite};
use umbra_core::{ByteRange, ErrorKind, Location, ManualClock, Narrowed, Region, Timestamp};
use umbra_meta::{
    Batch, MemoryMetaStore, MetaStore, Partition, Projection,
    key::{self, root},
};

use self::engine::Engine;
use super::{
    DemandSettings, PlacedBlobStore, PlacementMetrics, PlacementParts, Topology, maker::Made, silence::ANSWER_MAX, subject::Subject,
};
use crate::{BucketSettings, ReclaimHandle, Reclaimer, record::bucket::encode_settings};

fn named(region: &str) -> Region {
    Region::parse(region).unwrap()
}

fn topology<const N: usize>(own: &str, others: [&str; N]) -> Arc<Topology> {
    Arc::new(Topology::new(named(own), others.map(named), []).unwrap())
}

/// The same store, for what is of a bucket with that location.
fn of_a_bucket(meta: &MemoryMetaStore, store: PlacedBlobStore, location: &str, narrowed: Option<Narrowed>) -> PlacedBlobStore {
    static BUCKETS: AtomicU64 = AtomicU64::new(1_000_000);

    let partition = Partition(BUCKETS.fetch_add(1, Ordering::Relaxed));
    let settings = BucketSettings { location: Location::parse(location).unwrap(), ..BucketSettings::default() };
    let batch = Batch::new(partition).put(key::settings(), "", encode_settings(&settings));
    meta.commit(batch).now_or_never().unwrap().unwrap();
    store.about(Subject::new(partition, narrowed))
}

/// Two regions, the store of each, and the contents of both seen from each.
struct World {
    meta: Arc<MemoryMetaStore>,
    clock: Arc<ManualClock>,
    fra: Engine,
    iad: Engine,
    in_fra: PlacedBlobStore,
    in_iad: PlacedBlobStore,
}

impl World {
    fn new() -> Self {
        let (meta, fra, iad) = (Arc::new(MemoryMetaStore::new()), Engine::default(), Engine::default());
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_750_000_000_000)));
        let parts = |region: &str, own: &Engine, other: (&str, &Engine)| PlacementParts {
            topology: topology(region, [other.0]),
            own: Arc::new(own.clone()),
            engine: Arc::new(own.clone()),
            others: BTreeMap::from([(named(other.0), Arc::new(other.1.clone()) as _)]),
            first: None,
            meta: Arc::clone(&meta) as _,
            clock: Arc::clone(&clock) as _,
            reclaimer: ReclaimHandle::new(Duration::from_secs(60)),
            demand: DemandSettings::default(),
            metrics: PlacementMetrics::default(),
        };
        let in_fra = of_a_bucket(&meta, PlacedBlobStore::new(parts("fra", &fra, ("iad", &iad))), "global", None);
        let in_iad = of_a_bucket(&meta, PlacedBlobStore::new(parts("iad", &iad, ("fra", &fra))), "global", None);
        Self { meta, clock, fra, iad, in_fra, in_iad }
    }

    /// Another node in iad, whose own store is `own`.
    fn another(&self, own: Arc<dyn BlobStore>) -> PlacedBlobStore {
        self.another_upon(Arc::clone(&self.meta) as _, own, "global")
    }

    /// The same upon `meta`, for a bucket with that location.
    fn another_upon(&self, meta: Arc<dyn MetaStore>, own: Arc<dyn BlobStore>, location: &str) -> PlacedBlobStore {
        let store = PlacedBlobStore::new(PlacementParts {
            topology: topology("iad", ["fra"]),
            own,
            engine: Arc::new(self.iad.clone()),
            others: BTreeMap::from([(named("fra"), Arc::new(self.fra.clone()) as _)]),
            first: None,
            meta,
            clock: Arc::clone(&self.clock) as _,
            reclaimer: ReclaimHandle::new(Duration::from_secs(60)),
            demand: DemandSettings::default(),
            metrics: PlacementMetrics::default(),
        });
        of_a_bucket(&self.meta, store, location, None)
    }

    async fn rows(&self) -> usize {
        let everything = umbra_meta::KeyRange { start: Vec::new(), end: None };
        self.meta.scan(Partition::ROOT, everything, 100, Projection::Full).await.unwrap().len()
    }

    /// Reclaims what was dropped, as it is done once those who read it have finished.
    async fn reclaim(&self) {
        self.clock.advance(Duration::from_secs(3600));
        reclaim(&self.meta, &self.clock, &self.in_fra).await;
    }

    async fn assert_empty(&self) {
        idle(&self.in_fra).await;
        idle(&self.in_iad).await;
        self.reclaim().await;
        assert_eq!((self.fra.len(), self.iad.len(), self.rows().await), (0, 0, 0), "blobs in fra, in iad, rows");
    }
}

/// Deletes the bytes that are due, by way of `store`.
async fn reclaim(meta: &Arc<MemoryMetaStore>, clock: &Arc<ManualClock>, store: &PlacedBlobStore) {
    let partitions = Box::new(|| std::future::ready(Ok(vec![Partition::ROOT])).boxed());
    let (meta, clock, blobs) = (Arc::clone(meta), Arc::clone(clock), Arc::new(store.clone()));
    let reclaimer = Reclaimer::new(meta, blobs, clock, ReclaimHandle::new(Duration::ZERO), partitions);
    assert!(reclaimer.learn_partitions().await);
    reclaimer.reclaim_due().await;
}

/// Waits until `store` makes no copy.
async fn idle(store: &PlacedBlobStore) {
    while !store.shared.copier.is_idle() {
        tokio::task::yield_now().await;
    }
}

async fn put(store: &PlacedBlobStore, size: usize) -> (StoredBlob, Vec<u8>) {
    let bytes = suite::content(size as u64, size);
    (store.put(vec![bytes.clone().into()]).await.unwrap(), bytes)
}

async fn all(store: &PlacedBlobStore, blob: &StoredBlob) -> Result<Vec<u8>> {
    suite::read_all(store, blob).await
}

/// Reads in one region what another has, and writes there.
#[derive(Debug)]
struct Elsewhere {
    written: PlacedBlobStore,
    read: PlacedBlobStore,
}

#[async_trait::async_trait]
impl BlobStore for Elsewhere {
    async fn put(&self, content: Vec<Bytes>) -> Result<StoredBlob> {
        self.written.put(content).await
    }

    async fn create(&self) -> Result<Box<dyn BlobWriter>> {
        self.written.create().await
    }

    async fn read(&self, id: &BlobId, range: ByteRange) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.read.read(id, range).await
    }

    fn size_of(&self, id: &BlobId) -> Option<u64> {
        self.read.size_of(id)
    }

    async fn delete(&self, id: &BlobId) -> Result<()> {
        self.written.delete(id).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_a_store_at_home() {
    let world = World::new();
    suite::run(Arc::new(world.in_fra.clone())).await;
    world.assert_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_a_store_from_elsewhere() {
    let world = World::new();
    suite::run(Arc::new(Elsewhere { written: world.in_fra.clone(), read: world.in_iad.clone() })).await;
    assert!(world.in_iad.shared.metrics.copies() > 0);
    world.assert_empty().await;
}

#[tokio::test]
async fn a_read_elsewhere_fetches_across_once() {
    let world = World::new();
    for size in [1, 300_000, 3_000_000] {
        let (blob, bytes) = put(&world.in_fra, size).await;
        assert_eq!((world.in_iad.size_of(&blob.id), world.iad.len()), (Some(size as u64), 0), "writes stay local");
        let before = world.fra.reads();
        assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
        idle(&world.in_iad).await;
        assert_eq!((world.fra.reads() - before, world.iad.len()), (1, 1));
        world.fra.go_away(true);
        assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
        let part = ByteRange::new(0, blob.size / 2);
        assert!(suite::read(&world.in_iad, &blob.id, part).await.unwrap() == bytes[..size / 2]);
        // Another node of the region, which has made no copy itself.
        let another = world.another(Arc::new(world.iad.clone()));
        assert!(all(&another, &blob).await.unwrap() == bytes);
        world.fra.go_away(false);
        assert_eq!(world.fra.reads() - before, 1, "the copies were read");
        world.in_fra.delete(&blob.id).await.unwrap();
    }
    assert_eq!(world.in_iad.shared.metrics.copies(), 3);
    world.assert_empty().await;
}

#[tokio::test]
async fn beside_a_range_the_whole_is_copied() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 2_000_000).await;
    assert!(suite::read(&world.in_iad, &blob.id, ByteRange::new(1_000, 500_000)).await.unwrap() == bytes[1_000..500_000]);
    idle(&world.in_iad).await;
    assert_eq!(world.fra.reads(), 2, "the range, and the whole");
    world.fra.go_away(true);
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_a_copy() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 3_000_000).await;
    let mut content = world.in_iad.read(&blob.id, ByteRange::new(0, blob.size)).await.unwrap();
    assert!(!content.try_next().await.unwrap().unwrap().is_empty());
    drop(content);
    idle(&world.in_iad).await;
    world.fra.go_away(true);
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
}

#[tokio::test]
async fn many_readers_make_one_copy() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 1_000_000).await;
    let read = || async { assert!(all(&world.in_iad, &blob).await.unwrap() == bytes) };
    let part = || async { assert!(suite::read(&world.in_iad, &blob.id, ByteRange::new(7, 70)).await.unwrap() == bytes[7..70]) };
    futures::join!(read(), read(), part(), read(), part());
    idle(&world.in_iad).await;
    assert_eq!((world.iad.len(), world.iad.created(), world.rows().await), (1, 1, 1));
    assert_eq!(world.fra.reads(), 1, "those who came later waited for the copy");
}

#[tokio::test(start_paused = true)]
async fn readers_at_several_nodes_make_one_copy() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 1_000_000).await;
    let another = world.another(Arc::new(world.iad.clone()));
    world.fra.opening().shut();
    let (first, read) = (world.in_iad.clone(), blob.clone());
    let reader = tokio::spawn(async move { all(&first, &read).await });
    world.fra.opening().reached().await;
    let read = || async { assert!(all(&another, &blob).await.unwrap() == bytes) };
    let part = || async { assert!(suite::read(&another, &blob.id, ByteRange::new(7, 70)).await.unwrap() == bytes[7..70]) };
    futures::join!(read(), part(), read(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.fra.opening().open();
    });
    assert!(reader.await.unwrap().unwrap() == bytes);
    idle(&another).await;
    assert_eq!((world.fra.reads(), world.iad.created(), world.rows().await), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_up_nobody() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 8 << 20).await;
    let slow = world.in_iad.read(&blob.id, ByteRange::new(0, blob.size)).await.unwrap();
    let began = tokio::time::Instant::now();
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
    assert!(began.elapsed() < Duration::from_secs(1), "the copy went on");
    assert_eq!(world.fra.reads(), 1);
    assert!(slow.try_collect::<Vec<Bytes>>().await.unwrap().concat() == bytes);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_does_not_come_is_waited_for_no_longer() {
    // Of the same node, and of another one; of a large blob not at all.
    for (size, is_another) in [(1_000_000, false), (1_000_000, true), (9 << 20, false), (9 << 20, true)] {
        let world = World::new();
        let (blob, bytes) = put(&world.in_fra, size).await;
        world.iad.finishing().shut();
        assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
        world.iad.finishing().reached().await;
        let node = if is_another { world.another(Arc::new(world.iad.ungated())) } else { world.in_iad.clone() };
        let began = tokio::time::Instant::now();
        assert!(all(&node, &blob).await.unwrap() == bytes);
        assert_eq!(began.elapsed() > Duration::from_secs(1), size < 8 << 20);
        assert_eq!((world.fra.reads(), world.iad.len()), (2, 0));
        world.iad.finishing().open();
        idle(&world.in_iad).await;
        assert_eq!(world.iad.len(), 1);
    }
}

#[tokio::test]
async fn a_home_that_is_away_is_no_absence() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 100_000).await;
    world.fra.go_away(true);
    let error = all(&world.in_iad, &blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(world.in_iad.delete(&blob.id).await.unwrap_err().kind(), ErrorKind::Unavailable);
    world.fra.go_away(false);
    idle(&world.in_iad).await;
    assert_eq!(world.rows().await, 0, "the copy that could not be made has no row");
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
    idle(&world.in_iad).await;
    // Neither is a region that this server was not told of.
    let alone = PlacedBlobStore::new(PlacementParts {
        topology: topology("sin", []),
        own: Arc::new(Engine::default()),
        engine: Arc::new(Engine::default()),
        others: BTreeMap::new(),
        first: None,
        meta: Arc::clone(&world.meta) as _,
        clock: Arc::clone(&world.clock) as _,
        reclaimer: ReclaimHandle::new(Duration::from_secs(60)),
        demand: DemandSettings::default(),
        metrics: PlacementMetrics::default(),
    });
    assert_eq!(all(&alone, &blob).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(alone.delete(&blob.id).await.unwrap_err().kind(), ErrorKind::Unavailable);
    world.in_fra.delete(&blob.id).await.unwrap();
    world.assert_empty().await;
}

#[tokio::test]
async fn a_home_that_breaks_off_is_an_error() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 2_000_000).await;
    world.fra.break_off(true);
    assert_eq!(all(&world.in_iad, &blob).await.unwrap_err().kind(), ErrorKind::Unavailable);
    idle(&world.in_iad).await;
    assert_eq!((world.iad.len(), world.rows().await), (0, 0), "half a copy is none");
    world.fra.break_off(false);
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
}

#[tokio::test]
async fn deletes_take_the_copies_along() {
    let world = World::new();
    for deleting in [&world.in_fra, &world.in_iad] {
        let (blob, _) = put(&world.in_fra, 400_000).await;
        all(&world.in_iad, &blob).await.unwrap();
        idle(&world.in_iad).await;
        world.iad.go_away(true);
        if std::ptr::eq(deleting, &world.in_fra) {
            assert_eq!(deleting.delete(&blob.id).await.unwrap_err().kind(), ErrorKind::Unavailable, "the copy cannot be deleted");
        }
        world.iad.go_away(false);
        deleting.delete(&blob.id).await.unwrap();
        suite::assert_gone(&world.in_iad, &blob.id).await;
        suite::assert_gone(&world.in_fra, &blob.id).await;
        world.assert_empty().await;
    }
}

#[tokio::test]
async fn a_copy_that_is_made_during_a_delete_does_not_stay() {
    // Before its blob is opened at home, and when all of it has been read.
    for at_home in [true, false] {
        let world = World::new();
        let (blob, bytes) = put(&world.in_fra, 600_000).await;
        let gate = if at_home { world.fra.opening() } else { world.iad.finishing() };
        gate.shut();
        let (store, read) = (world.in_iad.clone(), blob.clone());
        let reader = tokio::spawn(async move { all(&store, &read).await });
        gate.reached().await;
        assert_eq!(world.rows().await, 1, "it is coming");
        world.in_fra.delete(&blob.id).await.unwrap();
        gate.open();
        match reader.await.unwrap() {
            Ok(read) => assert!(!at_home && read == bytes),
            Err(error) => assert!(at_home && matches!(&error, Error::NotFound(id) if *id == blob.id), "{error:?}"),
        }
        world.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_maker_died_is_made_by_another() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 600_000).await;
    world.iad.finishing().shut();
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
    world.iad.finishing().reached().await;
    // Its own region, by a way that is not shut.
    let another = world.another(Arc::new(world.iad.ungated()));
    assert!(all(&another, &blob).await.unwrap() == bytes);
    idle(&another).await;
    assert_eq!(world.iad.len(), 0, "somebody makes one");
    world.clock.advance(Duration::from_secs(3600));
    assert!(all(&another, &blob).await.unwrap() == bytes);
    idle(&another).await;
    assert_eq!(world.iad.len(), 1);
    // It was not dead after all.
    world.iad.finishing().open();
    idle(&world.in_iad).await;
    assert_eq!((world.iad.len(), world.rows().await), (1, 1));
    world.in_fra.delete(&blob.id).await.unwrap();
    world.assert_empty().await;
}

#[tokio::test]
async fn a_copy_that_is_lost_is_fetched_again() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 300_000).await;
    for round in 1..=3 {
        assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
        idle(&world.in_iad).await;
        assert_eq!((world.fra.reads(), world.iad.len()), (round, 1));
        world.iad.lose_all().await;
    }
    // Another node does not rely on what this one knows.
    let another = world.another(Arc::new(world.iad.clone()));
    assert!(all(&another, &blob).await.unwrap() == bytes);
    idle(&another).await;
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
    idle(&world.in_iad).await;
    assert_eq!(world.iad.len(), 1);
    world.in_fra.delete(&blob.id).await.unwrap();
    world.assert_empty().await;
}

/// One answer that a copy is not there says nothing of its bytes: they may be all that can be read.
#[tokio::test]
async fn a_copy_that_is_not_found_once_stays_while_the_home_is_away() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 300_000).await;
    all(&world.in_iad, &blob).await.unwrap();
    idle(&world.in_iad).await;
    world.fra.go_away(true);
    world.iad.deny(1);
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes, "the copy is asked again where nobody else answers");
    for _ in 0..2 {
        idle(&world.in_iad).await;
        world.reclaim().await;
        assert_eq!(world.iad.len(), 1);
        for node in [&world.in_iad, &world.another(Arc::new(world.iad.clone()))] {
            assert!(all(node, &blob).await.unwrap() == bytes);
        }
    }
    world.fra.go_away(false);
    world.in_fra.delete(&blob.id).await.unwrap();
    world.assert_empty().await;
}

/// What is around a damaged block is read from the copy while there is nothing else, and all of it from the home when that is back.
#[tokio::test]
async fn a_copy_with_a_rotten_block_stays_until_there_is_another() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 900_000).await;
    all(&world.in_iad, &blob).await.unwrap();
    idle(&world.in_iad).await;
    world.fra.go_away(true);
    world.iad.rot(500_000);
    let read = async |start: usize, end: usize| suite::read(&world.in_iad, &blob.id, ByteRange::new(start as u64, end as u64)).await;
    for _ in 0..2 {
        assert!(read(400_000, 600_000).await.is_err());
        idle(&world.in_iad).await;
        world.reclaim().await;
        for (start, end) in [(0, 400_000), (600_000, 900_000)] {
            assert!(read(start, end).await.unwrap() == bytes[start..end]);
        }
    }
    assert_eq!((world.iad.len(), world.iad.created()), (1, 1));
    world.fra.go_away(false);
    assert!(read(400_000, 600_000).await.unwrap() == bytes[400_000..600_000], "it is read on at the home");
    while world.iad.created() == 1 {
        tokio::task::yield_now().await;
    }
    idle(&world.in_iad).await;
    world.reclaim().await;
    assert_eq!((world.iad.len(), world.iad.created(), world.rows().await), (1, 2, 1), "another copy is in its place");
    world.fra.go_away(true);
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
    world.fra.go_away(false);
    world.in_fra.delete(&blob.id).await.unwrap();
    world.assert_empty().await;
}

/// Damage is no reason for an error while there are other bytes.
#[tokio::test]
async fn what_is_rotten_in_one_region_is_read_on_in_another() {
    for is_home in [true, false] {
        let world = World::new();
        let (blob, bytes) = put(&world.in_fra, 900_000).await;
        all(&world.in_iad, &blob).await.unwrap();
        idle(&world.in_iad).await;
        if is_home { &world.fra } else { &world.iad }.rot(500_000);
        for node in [&world.in_fra, &world.in_iad] {
            assert!(all(node, &blob).await.unwrap() == bytes, "{is_home}");
        }
    }
}

/// A copy that is replaced while its blob is deleted leaves nothing.
#[tokio::test]
async fn a_delete_while_a_copy_is_replaced_leaves_nothing() {
    for is_at_home in [true, false] {
        let world = World::new();
        let (blob, _) = put(&world.in_fra, 600_000).await;
        all(&world.in_iad, &blob).await.unwrap();
        idle(&world.in_iad).await;
        world.iad.lose_all().await;
        let gate = if is_at_home { world.fra.opening() } else { world.iad.finishing() };
        gate.shut();
        let (store, read) = (world.in_iad.clone(), blob.clone());
        let reader = tokio::spawn(async move { all(&store, &read).await });
        gate.reached().await;
        world.in_fra.delete(&blob.id).await.unwrap();
        gate.open();
        drop(reader.await.unwrap());
        world.assert_empty().await;
    }
}

/// The same of a copy that has to be there, and of whoever makes those.
#[tokio::test]
async fn a_copy_that_has_to_be_there_stays_until_it_is_made_again() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 300_000).await;
    let subject = world.in_iad.subject.as_ref().unwrap();
    assert_eq!(world.in_iad.make_copy("iad", &blob.id, subject).await.unwrap(), Made::Now);
    world.fra.go_away(true);
    world.iad.deny(1);
    world.in_iad.make_copy("iad", &blob.id, subject).await.unwrap_err();
    world.reclaim().await;
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
    world.fra.go_away(false);
    world.iad.lose_all().await;
    assert_eq!(world.in_iad.make_copy("iad", &blob.id, subject).await.unwrap(), Made::Now);
    assert_eq!(world.in_iad.make_copy("iad", &blob.id, subject).await.unwrap(), Made::Before);
    // What a reader puts in its place has to be there, too.
    world.iad.lose_all().await;
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
    idle(&world.in_iad).await;
    let rows = world.in_iad.shared.index.all(&blob.id).await.unwrap();
    assert_eq!((rows.len(), rows[0].record.is_required, world.iad.len()), (1, true, 1));
    world.in_fra.delete(&blob.id).await.unwrap();
    world.assert_empty().await;
}

#[tokio::test]
async fn a_copy_that_cannot_be_made_disturbs_no_reader() {
    let io = || Error::Io { doing: "fail as asked", source: std::io::ErrorKind::Other.into() };
    let fails: [fn(&BlobOperation) -> bool; 3] = [
        |operation| matches!(operation, BlobOperation::Create),
        |operation| matches!(operation, BlobOperation::Write { offset, .. } if *offset > 0),
        |operation| matches!(operation, BlobOperation::Finish { .. }),
    ];
    for fails in fails {
        let world = World::new();
        let (blob, bytes) = put(&world.in_fra, 900_000).await;
        let own = FailingBlobStore::new(Arc::new(world.iad.clone()), move |operation| fails(operation).then(io));
        let node = world.another(Arc::new(own));
        assert!(all(&node, &blob).await.unwrap() == bytes);
        idle(&node).await;
        assert!(suite::read(&node, &blob.id, ByteRange::new(5, 9)).await.unwrap() == bytes[5..9]);
        idle(&node).await;
        assert_eq!((world.iad.len(), world.rows().await), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_bytes_nobody_takes_holds_up_its_reader_once() {
    let world = World::new();
    let (blob, bytes) = put(&world.in_fra, 900_000).await;
    world.iad.writing().shut();
    let read = timeout(2 * ANSWER_MAX, all(&world.in_iad, &blob)).await;
    assert!(read.expect("it reads on").unwrap() == bytes);
    idle(&world.in_iad).await;
    assert_eq!((world.iad.len(), world.rows().await), (0, 0));
    assert!(!world.in_iad.shared.silence.is_of("iad"), "it answers, and may only be slow");
}

#[tokio::test]
async fn what_was_written_before_there_were_regions_is_read() {
    let world = World::new();
    let before = world.fra.put(vec![Bytes::from_static(b"from before")]).await.unwrap();
    let parts = |region: &str, own: &Engine, other: (&str, &Engine)| PlacementParts {
        topology: topology(region, [other.0]),
        own: Arc::new(own.clone()),
        engine: Arc::new(own.clone()),
        others: BTreeMap::from([(named(other.0), Arc::new(other.1.clone()) as _)]),
        first: Some(named("fra")),
        meta: Arc::clone(&world.meta) as _,
        clock: Arc::clone(&world.clock) as _,
        reclaimer: ReclaimHandle::new(Duration::from_secs(60)),
        demand: DemandSettings::default(),
        metrics: PlacementMetrics::default(),
    };
    let in_fra = of_a_bucket(&world.meta, PlacedBlobStore::new(parts("fra", &world.fra, ("iad", &world.iad))), "global", None);
    let in_iad = of_a_bucket(&world.meta, PlacedBlobStore::new(parts("iad", &world.iad, ("fra", &world.fra))), "global", None);
    assert_eq!(all(&in_fra, &before).await.unwrap(), b"from before");
    assert_eq!(all(&in_iad, &before).await.unwrap(), b"from before");
    idle(&in_iad).await;
    let row = root::copy(before.id.as_bytes(), "iad");
    assert!(world.meta.get(Partition::ROOT, &row).await.unwrap().is_some());
    in_iad.delete(&before.id).await.unwrap();
    world.assert_empty().await;
}
