//! Copies that have to be made, and the worker that makes them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use umbra_blob::{BlobId, BlobStore, StoredBlob};
use umbra_core::Timestamp;
use umbra_meta::{
    Batch, Committed, DelimPage, Entry, KeyRange, MemoryMetaStore, MetaStore, Partition, Projection, ScanDelim,
    key::{self, root},
};

use super::{World, all, idle, put};
use crate::{
    BucketSettings, PartitionSource,
    placement::{
        CopyWorker, DuePointers, PlacedBlobStore, PlacementMetrics,
        due::{Wanted, due_counter, enqueue, failing_counter, row},
        index::Claim,
        maker::Made,
    },
    record::{bucket::encode_settings, due_copy::DueCopyRecord},
};

const BUCKET: Partition = Partition(7);

impl World {
    fn worker(&self, holder: &str, store: &PlacedBlobStore) -> Arc<CopyWorker> {
        let (meta, clock) = (Arc::clone(&self.meta) as _, Arc::clone(&self.clock) as _);
        let regions = Box::new(|| vec!["iad".to_owned()]);
        Arc::new(CopyWorker::new(meta, clock, store.clone(), holder.to_owned(), regions, PlacementMetrics::default()))
    }

    fn now(&self) -> Timestamp {
        umbra_core::Clock::now(&*self.clock)
    }

    /// Has copies of `blobs` be due in iad, as the commit of their object does.
    async fn require(&self, partition: Partition, blobs: &[&BlobId]) {
        let mut batch = Batch::new(partition).put(key::settings(), "", encode_settings(&BucketSettings::default()));
        let copies: BTreeSet<_> =
            blobs.iter().map(|blob| Wanted { region: "iad".to_owned(), blob: (*blob).clone(), becomes_home: false }).collect();
        enqueue(&mut batch.writes, &copies, self.now());
        self.meta.commit(batch).await.unwrap();
    }

    async fn point(&self, partition: Partition) {
        let pointers = DuePointers::default();
        pointers.point("iad", partition);
        pointers.put_gathered(&*self.meta).await.unwrap();
    }

    /// How many copies are due in a bucket, and how many of those failed before; the rows have to say the same.
    async fn due(&self, partition: Partition) -> (i64, i64) {
        let rows = self.meta.scan(partition, key::due_copies_of("iad"), 1000, Projection::Full).await.unwrap();
        let records: Vec<_> = rows.iter().map(|row| DueCopyRecord::decode(&row.body).unwrap()).collect();
        let failing = records.iter().filter(|record| record.failures > 0).count();
        let mut counted = Vec::new();
        for counter in [due_counter("iad"), failing_counter("iad")] {
            let entry = self.meta.get(partition, &counter).await.unwrap();
            counted.push(entry.map_or(0, |entry| i64::from_le_bytes(entry.head[..].try_into().unwrap())));
        }
        assert_eq!(counted, [rows.len() as i64, failing as i64], "the counters follow the rows");
        (counted[0], counted[1])
    }

    /// How many pointers and leases there are.
    async fn pointers(&self) -> usize {
        self.meta.scan(Partition::ROOT, root::due_range("iad"), 1000, Projection::Head).await.unwrap().len()
    }

    async fn put_in_fra(&self, size: usize) -> (StoredBlob, Vec<u8>) {
        put(&self.in_fra, size).await
    }
}

#[tokio::test]
async fn what_is_due_is_made_and_the_pointer_goes() {
    let world = World::new();
    let (one, bytes) = world.put_in_fra(300_000).await;
    let (other, _) = world.put_in_fra(1).await;
    world.require(BUCKET, &[&one.id, &other.id]).await;
    world.point(BUCKET).await;
    assert_eq!(world.due(BUCKET).await, (2, 0));
    let worker = world.worker("a", &world.in_iad);
    assert_eq!(worker.serve("iad").await.unwrap(), 2);
    assert_eq!((world.iad.len(), world.due(BUCKET).await, world.pointers().await), (2, (0, 0), 0));
    assert_eq!(world.fra.reads(), 2, "one read across for each");
    world.fra.go_away(true);
    assert!(all(&world.in_iad, &one).await.unwrap() == bytes);
    // Again: it is there.
    world.require(BUCKET, &[&one.id]).await;
    world.point(BUCKET).await;
    assert_eq!((worker.serve("iad").await.unwrap(), world.iad.created(), world.due(BUCKET).await), (1, 2, (0, 0)));
    assert_eq!(worker.serve("iad").await.unwrap(), 0);
}

/// Nobody finds the row of a writer that died before it put its pointer, until everything is looked through.
#[tokio::test]
async fn a_pointer_that_got_lost_is_put_again() {
    let world = World::new();
    let (blob, _) = world.put_in_fra(5000).await;
    world.require(BUCKET, &[&blob.id]).await;
    let worker = world.worker("a", &world.in_iad);
    assert_eq!(worker.serve("iad").await.unwrap(), 0);
    let pointers = DuePointers::default();
    let partitions: PartitionSource = Box::new(|| Box::pin(async { Ok(vec![Partition(8), BUCKET]) }));
    pointers.look(&*world.meta, &partitions).await.unwrap();
    pointers.put_gathered(&*world.meta).await.unwrap();
    assert_eq!((worker.serve("iad").await.unwrap(), world.iad.len(), world.pointers().await), (1, 1, 0));
}

#[tokio::test]
async fn pointers_are_put_by_and_by_and_at_the_end() {
    let world = World::new();
    let pointers = DuePointers::default();
    let (running, meta) = (pointers.clone(), Arc::clone(&world.meta));
    let task = tokio::spawn(async move { running.run(&*meta).await });
    pointers.point("iad", BUCKET);
    while world.pointers().await == 0 {
        tokio::task::yield_now().await;
    }
    pointers.point("iad", Partition(8));
    pointers.stop();
    task.await.unwrap();
    assert_eq!(world.pointers().await, 2);
}

#[tokio::test]
async fn who_dies_is_followed_after_its_lease() {
    let world = World::new();
    let (blob, bytes) = world.put_in_fra(300_000).await;
    world.require(BUCKET, &[&blob.id]).await;
    world.point(BUCKET).await;
    world.iad.finishing().shut();
    let first = world.worker("a", &world.in_iad);
    let dying = tokio::spawn(async move { first.serve("iad").await });
    world.iad.finishing().reached().await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    assert_eq!(world.pointers().await, 2, "the pointer and the lease");
    let another = world.another(Arc::new(world.iad.ungated()));
    let second = world.worker("b", &another);
    assert_eq!(second.serve("iad").await.unwrap(), 0, "it may still be at it");
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(second.serve("iad").await.unwrap(), 1);
    assert_eq!((world.iad.len(), world.due(BUCKET).await, world.pointers().await), (1, (0, 0), 0));
    assert!(all(&another, &blob).await.unwrap() == bytes);
}

/// A life of a node is followed by its next one at once.
#[tokio::test]
async fn two_workers_share_the_work_and_make_each_copy_once() {
    let world = World::new();
    let (meta, another) = (Arc::clone(&world.meta), world.another(Arc::new(world.iad.clone())));
    let mut blobs = Vec::new();
    for bucket in 1..=12 {
        for size in [7, 9000, 400_000] {
            let (blob, _) = world.put_in_fra(size).await;
            world.require(Partition(bucket), &[&blob.id]).await;
            blobs.push(blob);
        }
        world.point(Partition(bucket)).await;
    }
    let (a, b) = (world.worker("a", &world.in_iad), world.worker("b", &another));
    while world.pointers().await > 0 {
        let (one, other) = futures::join!(a.serve("iad"), b.serve("iad"));
        one.unwrap();
        other.unwrap();
    }
    assert_eq!((world.iad.created(), world.iad.len(), world.fra.reads()), (blobs.len(), blobs.len(), blobs.len()));
    for bucket in 1..=12 {
        assert_eq!(world.due(Partition(bucket)).await, (0, 0));
    }
    drop(meta);
}

/// Two that hold the same lease, for their clocks differ: each row counts once, each copy is made once.
#[tokio::test]
async fn a_lease_that_two_hold_does_no_harm() {
    let world = World::new();
    let (blob, _) = world.put_in_fra(300_000).await;
    world.require(BUCKET, &[&blob.id]).await;
    world.point(BUCKET).await;
    world.iad.finishing().shut();
    let (first, second) = (world.worker("a", &world.in_iad), world.worker("b", &world.another(Arc::new(world.iad.ungated()))));
    let serving = Arc::clone(&first);
    let slow = tokio::spawn(async move { serving.serve("iad").await });
    world.iad.finishing().reached().await;
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(second.serve("iad").await.unwrap(), 1);
    world.iad.finishing().open();
    assert_eq!(slow.await.unwrap().unwrap(), 0, "its copy came too late");
    idle(&world.in_iad).await;
    assert_eq!((world.iad.len(), world.due(BUCKET).await, world.pointers().await), (1, (0, 0), 0));
}

#[tokio::test]
async fn a_region_that_is_away_gets_its_copies_when_it_is_back() {
    let world = World::new();
    let mut blobs = Vec::new();
    for _ in 0..3 {
        blobs.push(world.put_in_fra(5000).await.0);
    }
    world.require(BUCKET, &blobs.iter().map(|blob| &blob.id).collect::<Vec<_>>()).await;
    world.point(BUCKET).await;
    world.iad.go_away(true);
    let worker = world.worker("a", &world.in_iad);
    assert_eq!(worker.serve("iad").await.unwrap(), 0);
    assert_eq!((world.due(BUCKET).await, world.pointers().await), ((3, 3), 1), "no lease is left");
    let rows = world.meta.scan(BUCKET, key::due_copies_of("iad"), 10, Projection::Full).await.unwrap();
    assert!(rows.iter().all(|row| DueCopyRecord::decode(&row.body).unwrap().reason.unwrap().contains("reach the engine")));
    // Nothing is tried for a while.
    world.iad.go_away(false);
    assert_eq!(worker.serve("iad").await.unwrap(), 0);
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(worker.serve("iad").await.unwrap(), 3);
    assert_eq!((world.iad.len(), world.due(BUCKET).await, world.pointers().await), (3, (0, 0), 0));
}

/// While the home is away the other rows have their turn; where another region has a copy, that is read.
#[tokio::test]
async fn a_home_that_is_away_holds_up_its_own_alone() {
    let world = World::new();
    let (blob, bytes) = world.put_in_fra(5000).await;
    world.require(BUCKET, &[&blob.id]).await;
    world.point(BUCKET).await;
    world.fra.go_away(true);
    let worker = world.worker("a", &world.in_iad);
    assert_eq!((worker.serve("iad").await.unwrap(), world.due(BUCKET).await), (0, (1, 1)));
    // A writer adds another, whose copy is there.
    let (there, _) = put(&world.in_iad, 10).await;
    world.require(BUCKET, &[&there.id]).await;
    world.point(BUCKET).await;
    assert_eq!((worker.serve("iad").await.unwrap(), world.due(BUCKET).await), (1, (1, 1)));
    world.fra.go_away(false);
    world.clock.advance(Duration::from_secs(3));
    assert_eq!((worker.serve("iad").await.unwrap(), world.due(BUCKET).await), (1, (0, 0)));
    assert!(all(&world.in_iad, &blob).await.unwrap() == bytes);
}

/// A home that takes requests and never answers: its copies wait, and those of others are made, in all regions.
#[tokio::test(start_paused = true)]
async fn a_home_that_swallows_requests_holds_up_its_own_alone() {
    let world = World::new();
    let mut blobs = Vec::new();
    for _ in 0..40 {
        blobs.push(world.put_in_fra(5000).await.0);
    }
    world.require(BUCKET, &blobs.iter().map(|blob| &blob.id).collect::<Vec<_>>()).await;
    world.clock.advance(Duration::from_millis(1));
    let (there, _) = put(&world.in_iad, 10).await;
    world.require(BUCKET, &[&there.id]).await;
    world.point(BUCKET).await;
    world.fra.opening().shut();
    let worker = world.worker("a", &world.in_iad);
    let served = tokio::time::timeout(Duration::from_secs(3600), worker.serve("iad")).await.expect("it is not held up for good");
    assert_eq!((served.unwrap(), world.due(BUCKET).await), (1, (40, 40)));
    let rows = world.meta.scan(BUCKET, key::due_copies_of("iad"), 100, Projection::Full).await.unwrap();
    assert!(rows.iter().all(|row| DueCopyRecord::decode(&row.body).unwrap().reason.unwrap().contains("fra does not answer")));
    world.fra.opening().open();
    world.clock.advance(Duration::from_secs(600));
    assert_eq!((worker.serve("iad").await.unwrap(), world.due(BUCKET).await), (40, (0, 0)));
}

/// A region whose engine takes writes and never answers has its own copies wait, and no others.
#[tokio::test]
async fn regions_have_their_copies_made_side_by_side() {
    let world = World::new();
    let (to_iad, _) = world.put_in_fra(5000).await;
    world.require(BUCKET, &[&to_iad.id]).await;
    world.point(BUCKET).await;
    let (to_fra, _) = put(&world.in_iad, 5000).await;
    let mut batch = Batch::new(BUCKET);
    let copy = Wanted { region: "fra".to_owned(), blob: to_fra.id.clone(), becomes_home: false };
    enqueue(&mut batch.writes, &BTreeSet::from([copy]), world.now());
    world.meta.commit(batch).await.unwrap();
    let pointers = DuePointers::default();
    pointers.point("fra", BUCKET);
    pointers.put_gathered(&*world.meta).await.unwrap();
    world.iad.finishing().shut();
    let (meta, clock) = (Arc::clone(&world.meta) as _, Arc::clone(&world.clock) as _);
    let regions = Box::new(|| vec!["iad".to_owned(), "fra".to_owned()]);
    let worker = Arc::new(CopyWorker::new(meta, clock, world.in_fra.clone(), "a".to_owned(), regions, PlacementMetrics::default()));
    let running = Arc::clone(&worker);
    let task = tokio::spawn(async move { running.run().await });
    world.iad.finishing().reached().await;
    let made = async {
        while world.fra.len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), made).await.expect("the copy in fra is made meanwhile");
    world.iad.finishing().open();
    worker.stop();
    task.await.unwrap();
    assert_eq!((world.fra.len(), world.iad.len()), (2, 2), "what was at hand was finished");
}

#[tokio::test]
async fn what_is_deleted_while_its_copy_is_due_leaves_nothing() {
    // Before the worker comes to it, and while it is at it.
    for is_early in [true, false] {
        let world = World::new();
        let (blob, _) = world.put_in_fra(300_000).await;
        world.require(BUCKET, &[&blob.id]).await;
        world.point(BUCKET).await;
        let worker = world.worker("a", &world.in_iad);
        if is_early {
            world.in_fra.delete(&blob.id).await.unwrap();
            assert_eq!(worker.serve("iad").await.unwrap(), 1);
        } else {
            world.iad.finishing().shut();
            let serving = Arc::clone(&worker);
            let slow = tokio::spawn(async move { serving.serve("iad").await });
            world.iad.finishing().reached().await;
            world.in_fra.delete(&blob.id).await.unwrap();
            world.iad.finishing().open();
            slow.await.unwrap().unwrap();
            world.clock.advance(Duration::from_secs(3));
            worker.serve("iad").await.unwrap();
        }
        assert_eq!((world.fra.len(), world.iad.len(), world.due(BUCKET).await, world.pointers().await), (0, 0, (0, 0), 0));
    }
}

/// Whoever adds to a queue while it is found empty has its pointer stay.
#[tokio::test]
async fn a_pointer_that_was_put_anew_stays() {
    let world = World::new();
    let (blob, _) = world.put_in_fra(300_000).await;
    world.require(BUCKET, &[&blob.id]).await;
    world.point(BUCKET).await;
    world.iad.finishing().shut();
    let worker = world.worker("a", &world.in_iad);
    let serving = Arc::clone(&worker);
    let slow = tokio::spawn(async move { serving.serve("iad").await });
    world.iad.finishing().reached().await;
    world.point(BUCKET).await;
    world.iad.finishing().open();
    slow.await.unwrap().unwrap();
    assert_eq!(world.pointers().await, 1, "the pointer, and no lease");
    worker.serve("iad").await.unwrap();
    assert_eq!(world.pointers().await, 0);
}

/// A bucket that was destroyed has its rows go, and nothing is written to it any more.
#[tokio::test]
async fn nothing_is_written_to_a_bucket_that_is_gone() {
    let world = World::new();
    let (blob, _) = world.put_in_fra(5000).await;
    world.require(BUCKET, &[&blob.id]).await;
    world.point(BUCKET).await;
    world.meta.commit(Batch::new(BUCKET).delete(key::settings())).await.unwrap();
    world.iad.go_away(true);
    let worker = world.worker("a", &world.in_iad);
    worker.serve("iad").await.unwrap();
    let due = row("iad", world.now(), &blob.id);
    world.meta.commit(Batch::new(BUCKET).delete(due)).await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    world.iad.go_away(false);
    worker.serve("iad").await.unwrap();
    assert_eq!(world.pointers().await, 0);
}

/// Metadata that note how many copies there are, or are coming, whenever somebody asks for the settings of a bucket.
#[derive(Debug)]
struct Asked {
    meta: Arc<MemoryMetaStore>,
    copies: Mutex<Vec<usize>>,
}

#[async_trait::async_trait]
impl MetaStore for Asked {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> umbra_meta::Result<Vec<Option<Entry>>> {
        if keys.contains(&&key::settings()[..]) {
            let copies = self.meta.scan(Partition::ROOT, root::all_copies_range(), 100, Projection::Head).await?;
            self.copies.lock().push(copies.len());
        }
        self.meta.multi_get(partition, keys).await
    }

    async fn multi_scan(
        &self,
        partition: Partition,
        ranges: Vec<(KeyRange, usize)>,
        projection: Projection,
    ) -> umbra_meta::Result<Vec<Vec<Entry>>> {
        self.meta.multi_scan(partition, ranges, projection).await
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> umbra_meta::Result<DelimPage> {
        self.meta.scan_delim(partition, scan).await
    }

    async fn commit(&self, batch: Batch) -> umbra_meta::Result<Committed> {
        self.meta.commit(batch).await
    }
}

/// Whoever asked before would be overtaken by a change of the location, and by the walk that follows it.
#[tokio::test]
async fn the_location_is_asked_for_behind_the_row_of_a_copy() {
    for (location, expected) in [("global", 1), ("dual:fra,iad", 1), ("single:fra", 0)] {
        for is_required in [false, true] {
            let world = World::new();
            let (blob, bytes) = world.put_in_fra(9000).await;
            let asked = Arc::new(Asked { meta: Arc::clone(&world.meta), copies: Mutex::default() });
            let node = world.another_upon(Arc::clone(&asked) as _, Arc::new(world.iad.clone()), location);
            if is_required {
                let made = node.make_copy("iad", &blob.id, node.subject.as_ref().unwrap()).await.unwrap();
                assert_eq!(made, if expected == 1 { Made::Now } else { Made::Gone });
            } else {
                assert!(all(&node, &blob).await.unwrap() == bytes);
                idle(&node).await;
            }
            assert_eq!(*asked.copies.lock(), [1], "{location} {is_required}");
            assert_eq!((world.iad.created(), world.iad.len(), world.rows().await), (expected, expected, expected), "{location}");
        }
    }
}

/// The maker of a copy says again and again that it still makes it.
#[tokio::test]
async fn a_copy_that_is_coming_is_taken_over_once_its_maker_is_silent() {
    let world = World::new();
    let (blob, _) = world.put_in_fra(5000).await;
    let index = &world.in_iad.shared.index;
    let silence = Duration::from_secs(60);
    let Claim::Ours(mut coming) = index.claim(&blob.id, silence).await.unwrap() else { panic!("nobody has it") };
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(50));
        assert!(matches!(index.claim(&blob.id, silence).await.unwrap(), Claim::Taken));
        index.renew(&blob.id, &mut coming, silence).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(61));
    assert!(matches!(index.claim(&blob.id, silence).await.unwrap(), Claim::Ours(_)));
    assert!(index.renew(&blob.id, &mut coming, silence).await.is_err(), "it lost it");
    assert!(index.keep(&blob.id, coming, blob.id.clone()).await.is_err());
}
