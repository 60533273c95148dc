//! Homes that move.

use futures::poll;
use tokio::time::{sleep, timeout};
use umbra_meta::{CommitFault, FailingMetaStore};

use super::*;
use crate::placement::{Moved, maker::MakeError, silence::ANSWER_MAX};

/// Three regions; what works on them takes turns at every step.
pub(super) struct Three {
    pub(super) meta: Arc<MemoryMetaStore>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) engines: BTreeMap<&'static str, Engine>,
}

impl Three {
    pub(super) fn new() -> Self {
        let engines = ["fra", "iad", "sin"].map(|region| (region, Engine::default())).into();
        Self {
            meta: Arc::new(MemoryMetaStore::new()),
            clock: Arc::new(ManualClock::new(Timestamp::from_millis(1_750_000_000_000))),
            engines,
        }
    }

    /// A node that knows nothing yet.
    pub(super) fn node(&self, region: &str) -> PlacedBlobStore {
        self.node_upon(region, Arc::new(Stepping(Arc::clone(&self.meta))))
    }

    fn node_upon(&self, region: &str, meta: Arc<dyn MetaStore>) -> PlacedBlobStore {
        let stepping = |name: &str| Arc::new(self.engines[name].stepping()) as Arc<dyn BlobStore>;
        let others = self.engines.keys().filter(|name| **name != region).map(|name| (named(name), stepping(name)));
        let regions = self.engines.keys().filter(|name| **name != region).map(|name| named(name));
        let store = PlacedBlobStore::new(PlacementParts {
            topology: Arc::new(Topology::new(named(region), regions, []).unwrap()),
            own: stepping(region),
            engine: stepping(region),
            others: others.collect(),
            first: None,
            meta,
            clock: Arc::clone(&self.clock) as _,
            reclaimer: ReclaimHandle::new(Duration::from_secs(60)),
            demand: DemandSettings::default(),
            metrics: PlacementMetrics::default(),
        });
        of_a_bucket(&self.meta, store, "global", None)
    }

    pub(super) fn len(&self) -> [usize; 3] {
        ["fra", "iad", "sin"].map(|region| self.engines[region].len())
    }

    /// A blob of fra, with copies in `regions`.
    pub(super) async fn blob(&self, regions: &[&str]) -> (StoredBlob, Vec<u8>) {
        let (blob, bytes) = put(&self.node("fra"), 300_000).await;
        for region in regions {
            let node = self.node(region);
            assert!(all(&node, &blob).await.unwrap() == bytes);
            idle(&node).await;
        }
        (blob, bytes)
    }

    pub(super) async fn reclaim(&self) {
        self.clock.advance(Duration::from_secs(3600));
        reclaim(&self.meta, &self.clock, &self.node("fra")).await;
    }

    /// Nodes of all regions read it, without that anything is copied.
    async fn assert_readable(&self, blob: &StoredBlob, bytes: &[u8]) {
        for region in ["fra", "iad", "sin"] {
            let read = suite::read(&self.node(region), &blob.id, ByteRange::new(0, 0)).await;
            assert!(read.is_ok(), "{region}: {read:?}");
            let node = self.node(region);
            assert!(all(&node, blob).await.unwrap() == bytes, "{region}");
            idle(&node).await;
        }
    }

    /// The home has all bytes, as whoever opens nothing but it sees.
    async fn assert_whole_at_home(&self, blob: &StoredBlob) {
        let node = self.node("fra");
        let rows = node.shared.index.all(&blob.id).await.unwrap();
        let born = node.shared.born(&blob.id).unwrap();
        let home = crate::placement::moving::home_of(&rows).and_then(crate::placement::index::CopyRow::place);
        assert!(node.shared.reads_whole(&born, home.as_ref().unwrap_or(&born)).await.unwrap(), "{rows:?}");
        assert!(rows.iter().filter(|row| row.record.home.is_some()).count() <= 1, "{rows:?}");
    }

    pub(super) async fn assert_deleted(&self, blob: &StoredBlob) {
        self.node("sin").delete(&blob.id).await.unwrap();
        self.reclaim().await;
        assert_eq!(self.len(), [0; 3]);
        let everything = umbra_meta::KeyRange { start: Vec::new(), end: None };
        assert_eq!(self.meta.scan(Partition::ROOT, everything, 10, Projection::Full).await.unwrap(), []);
    }
}

async fn make_in_sin(node: &PlacedBlobStore, blob: &StoredBlob) -> std::result::Result<Made, MakeError> {
    node.make_copy("sin", &blob.id, node.subject.as_ref().unwrap()).await
}

/// Metadata whose every operation others may come in before and after.
#[derive(Debug)]
struct Stepping(Arc<MemoryMetaStore>);

#[async_trait::async_trait]
impl MetaStore for Stepping {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> umbra_meta::Result<Vec<Option<umbra_meta::Entry>>> {
        tokio::task::yield_now().await;
        let found = self.0.multi_get(partition, keys).await;
        tokio::task::yield_now().await;
        found
    }

    async fn multi_scan(
        &self,
        partition: Partition,
        ranges: Vec<(umbra_meta::KeyRange, usize)>,
        projection: Projection,
    ) -> umbra_meta::Result<Vec<Vec<umbra_meta::Entry>>> {
        tokio::task::yield_now().await;
        let found = self.0.multi_scan(partition, ranges, projection).await;
        tokio::task::yield_now().await;
        found
    }

    async fn scan_delim(&self, partition: Partition, scan: umbra_meta::ScanDelim) -> umbra_meta::Result<umbra_meta::DelimPage> {
        self.0.scan_delim(partition, scan).await
    }

    async fn commit(&self, batch: Batch) -> umbra_meta::Result<umbra_meta::Committed> {
        tokio::task::yield_now().await;
        let committed = self.0.commit(batch).await;
        tokio::task::yield_now().await;
        committed
    }
}

/// Goes `steps` with `work`. `None` if it has not come to its end then.
async fn go<T>(work: &mut (impl Future<Output = T> + Unpin + ?Sized), steps: usize) -> Option<T> {
    for _ in 0..steps {
        if let std::task::Poll::Ready(done) = poll!(&mut *work) {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn a_home_moves_to_its_readers() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    let leader = world.node("fra");
    assert_eq!(leader.move_home(&blob.id, "sin").await.unwrap(), Moved::NotNow, "it has no copy");
    assert_eq!(leader.move_home(&blob.id, "fra").await.unwrap(), Moved::Already);
    assert_eq!(leader.move_home(&blob.id, "iad").await.unwrap(), Moved::Done);
    assert_eq!(leader.move_home(&blob.id, "iad").await.unwrap(), Moved::Already);
    world.reclaim().await;
    assert_eq!(world.len(), [0, 1, 0], "fra has nothing of it any more");
    // Whoever knew it from before, and whoever did not.
    assert!(all(&leader, &blob).await.unwrap() == bytes);
    idle(&leader).await;
    world.assert_readable(&blob, &bytes).await;
    assert_eq!(world.len(), [1, 1, 1], "fra, too, keeps a copy of what it reads");
    // Copies go, the home stays.
    for region in ["fra", "sin"] {
        world.engines[region].lose_all().await;
    }
    world.engines["fra"].go_away(true);
    assert!(all(&world.node("sin"), &blob).await.unwrap() == bytes, "the region in its identifier need not be there");
    world.engines["fra"].go_away(false);
    world.assert_deleted(&blob).await;
}

#[tokio::test]
async fn a_home_moves_on_and_back() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad", "sin"]).await;
    // A node that remembers where it was.
    let node = world.node("fra");
    for (region, len) in [("iad", [0, 1, 1]), ("sin", [1, 0, 1]), ("fra", [1, 1, 0]), ("iad", [0, 1, 1])] {
        assert_eq!(world.node("sin").move_home(&blob.id, region).await.unwrap(), Moved::Done, "{region}");
        world.assert_whole_at_home(&blob).await;
        world.reclaim().await;
        assert_eq!(world.len(), len, "{region}");
        assert!(all(&node, &blob).await.unwrap() == bytes);
        idle(&node).await;
        world.assert_readable(&blob, &bytes).await;
    }
    world.assert_deleted(&blob).await;
}

#[tokio::test]
async fn a_home_does_not_move_to_a_copy_that_is_lost() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    world.engines["iad"].lose_all().await;
    assert_eq!(world.node("fra").move_home(&blob.id, "iad").await.unwrap(), Moved::NotNow);
    world.engines["iad"].go_away(true);
    assert!(world.node("fra").move_home(&blob.id, "iad").await.is_err(), "nobody knows");
    world.engines["iad"].go_away(false);
    world.reclaim().await;
    world.assert_readable(&blob, &bytes).await;
    world.assert_deleted(&blob).await;
}

/// What is at the home goes after the move, so the copy has to have every byte.
#[tokio::test]
async fn a_home_does_not_move_to_a_copy_that_is_damaged() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    world.engines["iad"].rot(150_000);
    assert_eq!(world.node("fra").move_home(&blob.id, "iad").await.unwrap(), Moved::NotNow);
    world.reclaim().await;
    assert!(all(&world.node("fra"), &blob).await.unwrap() == bytes);
    world.assert_deleted(&blob).await;
}

#[tokio::test]
async fn a_home_that_is_lost_is_not_dropped() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad", "sin"]).await;
    assert_eq!(world.node("fra").move_home(&blob.id, "iad").await.unwrap(), Moved::Done);
    world.reclaim().await;
    world.engines["iad"].lose_all().await;
    // It stays the home, so that nobody takes another for whole; the copy in sin is read meanwhile.
    for region in ["iad", "fra"] {
        assert!(all(&world.node(region), &blob).await.unwrap() == bytes);
    }
    let rows = world.node("fra").shared.index.all(&blob.id).await.unwrap();
    assert_eq!(crate::placement::moving::home_of(&rows).unwrap().region, "iad");
}

/// Where the region that has become the home does not answer, nobody says that the blob is gone.
#[tokio::test]
async fn a_home_that_is_away_has_not_lost_its_blobs() {
    let world = Three::new();
    let (blob, _) = world.blob(&["iad"]).await;
    assert_eq!(world.node("fra").move_home(&blob.id, "iad").await.unwrap(), Moved::Done);
    world.reclaim().await;
    world.engines["iad"].go_away(true);
    for region in ["iad", "fra", "sin"] {
        let node = world.node(region);
        let read = all(&node, &blob).await;
        assert!(matches!(read, Err(Error::Io { .. })), "{region}: {read:?}");
        idle(&node).await;
        assert!(make_in_sin(&node, &blob).await.is_err(), "{region}");
    }
    world.engines["iad"].go_away(false);
    assert_eq!(make_in_sin(&world.node("iad"), &blob).await.unwrap(), Made::Now);
    world.assert_deleted(&blob).await;
}

/// A copy whose row says so, although its maker was not told, may have become the home by the time that he deletes what he has not kept.
#[tokio::test]
async fn a_copy_that_may_be_kept_is_not_deleted() {
    for is_required in [false, true] {
        let world = Three::new();
        let (blob, bytes) = world.blob(&[]).await;
        let failing = Arc::new(FailingMetaStore::new(Arc::clone(&world.meta) as _));
        let node = world.node_upon("sin", Arc::clone(&failing) as _);
        failing.fail_after(1, CommitFault::LostAcknowledgement);
        if is_required {
            make_in_sin(&node, &blob).await.unwrap_err();
        } else {
            assert!(all(&node, &blob).await.unwrap() == bytes);
            idle(&node).await;
        }
        assert_eq!((failing.commits(), world.len()), (2, [1, 0, 1]));
        assert_eq!(world.node("fra").move_home(&blob.id, "sin").await.unwrap(), Moved::Done);
        world.reclaim().await;
        world.assert_readable(&blob, &bytes).await;
        world.assert_deleted(&blob).await;
    }
}

#[tokio::test]
async fn slow_readers_read_on_when_the_home_moves() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    let mut content = world.node("fra").read(&blob.id, ByteRange::new(0, blob.size)).await.unwrap();
    let first = content.try_next().await.unwrap().unwrap();
    world.node("fra").move_home(&blob.id, "iad").await.unwrap();
    world.engines["fra"].cut_readers();
    world.reclaim().await;
    let rest: Vec<Bytes> = content.try_collect().await.unwrap();
    assert!([&first[..], &rest.concat()].concat() == bytes);
    assert!(first.len() < bytes.len());
}

/// Whoever moves a home dies at any moment.
#[tokio::test]
async fn a_move_that_ends_anywhere_loses_and_leaves_nothing() {
    let mut steps = 0;
    loop {
        let world = Three::new();
        let (blob, bytes) = world.blob(&["iad"]).await;
        let leader = world.node("sin");
        let is_done = go(&mut Box::pin(leader.move_home(&blob.id, "iad")), steps).await.is_some();
        world.assert_whole_at_home(&blob).await;
        // So may whoever reclaims.
        for reclaiming in [0, 1, 2, 3, 5, 8] {
            world.clock.advance(Duration::from_secs(3600));
            let deleting = world.node("fra");
            go(&mut Box::pin(reclaim(&world.meta, &world.clock, &deleting)), reclaiming).await;
            world.assert_whole_at_home(&blob).await;
        }
        let another = world.node("fra");
        assert!(matches!(another.move_home(&blob.id, "iad").await.unwrap(), Moved::Done | Moved::Already));
        world.reclaim().await;
        assert_eq!(world.len(), [0, 1, 0]);
        world.assert_readable(&blob, &bytes).await;
        world.assert_deleted(&blob).await;
        if is_done {
            assert!(steps > 5, "{steps}");
            return;
        }
        steps += 1;
    }
}

/// An object is deleted, or overwritten, while its home moves.
#[tokio::test]
async fn a_delete_during_a_move_leaves_nothing() {
    for is_delete_first in [false, true] {
        let mut steps = 0;
        loop {
            let world = Three::new();
            let (blob, _) = world.blob(&["iad", "sin"]).await;
            let (mover, deleter) = (world.node("fra"), world.node("sin"));
            let mut moving = Box::pin(async { mover.move_home(&blob.id, "iad").await.map(drop) });
            let mut deleting = Box::pin(deleter.delete(&blob.id));
            let (first, second) = if is_delete_first {
                (
                    &mut deleting as &mut (dyn Future<Output = Result<()>> + Unpin),
                    &mut moving as &mut (dyn Future<Output = Result<()>> + Unpin),
                )
            } else {
                (&mut moving as _, &mut deleting as _)
            };
            let is_done = go(&mut *first, steps).await.is_some();
            second.await.unwrap();
            if !is_done {
                first.await.unwrap();
            }
            suite::assert_gone(&world.node("iad"), &blob.id).await;
            world.assert_deleted(&blob).await;
            if is_done {
                assert!(steps > 5, "{steps}");
                break;
            }
            steps += 1;
        }
    }
}

/// A reader makes a copy while the home moves and its old bytes go.
#[tokio::test]
async fn reads_during_a_move_see_every_byte() {
    let mut steps = 0;
    loop {
        let world = Three::new();
        let (blob, bytes) = world.blob(&["iad"]).await;
        let reader = world.node("sin");
        let mut reading = Box::pin(all(&reader, &blob));
        let read = go(&mut reading, steps).await;
        assert_eq!(world.node("fra").move_home(&blob.id, "iad").await.unwrap(), Moved::Done);
        world.reclaim().await;
        let is_done = read.is_some();
        let read = match read {
            Some(read) => read,
            None => reading.await,
        };
        assert!(read.unwrap() == bytes);
        idle(&reader).await;
        world.assert_deleted(&blob).await;
        if is_done {
            assert!(steps > 5, "{steps}");
            return;
        }
        steps += 1;
    }
}

/// Two move the same home, to different regions, at any moments.
#[tokio::test]
async fn a_blob_has_one_home() {
    let mut steps = 0;
    loop {
        let world = Three::new();
        let (blob, bytes) = world.blob(&["iad", "sin"]).await;
        let (one, other) = (world.node("fra"), world.node("fra"));
        let mut moving = Box::pin(one.move_home(&blob.id, "iad"));
        let moved = go(&mut moving, steps).await;
        other.move_home(&blob.id, "sin").await.unwrap();
        let is_done = moved.is_some();
        if !is_done {
            moving.await.unwrap();
        }
        world.assert_whole_at_home(&blob).await;
        world.reclaim().await;
        world.assert_readable(&blob, &bytes).await;
        world.assert_deleted(&blob).await;
        if is_done {
            return;
        }
        steps += 1;
    }
}

/// A copy must not be made of bytes that a blob has left, for they may outlive it.
#[tokio::test]
async fn what_a_blob_has_left_is_not_copied() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad", "fra"]).await;
    world.node("fra").move_home(&blob.id, "iad").await.unwrap();
    world.reclaim().await;
    // It remembers iad, and has not copied anything.
    let node = world.node("sin");
    let part = suite::read(&node, &blob.id, ByteRange::new(0, 0)).await;
    assert_eq!(part.unwrap(), b"");
    assert!(node.shared.index.moved(&blob.id).is_some());
    let reader = world.node("fra");
    assert!(all(&reader, &blob).await.unwrap() == bytes);
    idle(&reader).await;
    world.node("fra").move_home(&blob.id, "fra").await.unwrap();
    world.node("fra").delete(&blob.id).await.unwrap();
    assert_eq!(world.len()[1], 1, "not reclaimed yet");
    let late = all(&node, &blob).await;
    idle(&node).await;
    drop(late);
    let _gone = suite::read(&node, &blob.id, ByteRange::new(0, 0)).await;
    assert!(node.shared.index.moved(&blob.id).is_some());
    assert_eq!(make_in_sin(&node, &blob).await.unwrap(), Made::Gone);
    assert_eq!(world.len()[2], 0);
    world.assert_deleted(&blob).await;
}

/// A home that has moved and lost its bytes is brought again by whoever reads there.
#[tokio::test]
async fn a_home_that_has_moved_is_made_again_by_its_readers() {
    for is_rotten in [true, false] {
        let world = Three::new();
        let (blob, bytes) = world.blob(&["iad", "sin"]).await;
        world.node("fra").move_home(&blob.id, "iad").await.unwrap();
        world.reclaim().await;
        if is_rotten {
            world.engines["iad"].rot(150_000);
        } else {
            world.engines["iad"].lose_all().await;
        }
        let node = world.node("iad");
        assert!(all(&node, &blob).await.unwrap() == bytes, "{is_rotten}");
        while world.engines["iad"].created() == 1 {
            tokio::task::yield_now().await;
        }
        idle(&node).await;
        world.reclaim().await;
        assert_eq!(world.len(), [0, 1, 1], "{is_rotten}");
        world.engines["sin"].go_away(true);
        world.assert_whole_at_home(&blob).await;
        assert!(all(&world.node("iad"), &blob).await.unwrap() == bytes, "{is_rotten}");
        world.engines["sin"].go_away(false);
        world.assert_deleted(&blob).await;
    }
}

/// A home that could not be asked once has its bytes: no others are brought beside them.
#[tokio::test]
async fn a_home_that_was_away_once_is_read_again() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    let node = world.node("fra");
    for is_away in [true, false, false] {
        world.engines["fra"].go_away(is_away);
        assert!(all(&node, &blob).await.unwrap() == bytes, "{is_away}");
        idle(&node).await;
    }
    assert_eq!(world.len(), [1, 1, 0]);
    world.assert_deleted(&blob).await;
}

/// A copy is made of what is whole, wherever that is, however often the region that is asked first breaks off.
#[tokio::test]
async fn a_copy_of_a_damaged_home_is_made_of_another() {
    for is_required in [true, false] {
        let world = Three::new();
        let (blob, bytes) = world.blob(&["iad"]).await;
        world.engines["fra"].rot(150_000);
        let node = world.node("sin");
        if is_required {
            assert_eq!(make_in_sin(&node, &blob).await.unwrap(), Made::Now);
        } else {
            assert!(all(&node, &blob).await.unwrap() == bytes);
            idle(&node).await;
        }
        assert_eq!(world.len(), [1, 1, 1], "{is_required}");
        for region in ["fra", "iad"] {
            world.engines[region].go_away(true);
        }
        assert!(all(&world.node("sin"), &blob).await.unwrap() == bytes, "{is_required}");
    }
}

/// A region that swallows requests is to blame for it, and not the one whose damaged bytes it was asked for.
#[tokio::test(start_paused = true)]
async fn a_damaged_home_is_not_taken_for_silent() {
    let world = Three::new();
    let (blob, _) = world.blob(&["iad"]).await;
    world.engines["fra"].rot(150_000);
    world.engines["iad"].opening().shut();
    let node = world.node("sin");
    make_in_sin(&node, &blob).await.unwrap_err();
    assert_eq!(["fra", "iad"].map(|region| node.shared.silence.is_of(region)), [false, true]);
}

/// What is left of a home that was found damaged is no copy that can be relied on.
#[tokio::test]
async fn a_damaged_home_is_made_again_when_it_has_to_be_a_copy() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    world.engines["fra"].rot(150_000);
    world.clock.advance(Duration::from_secs(100 * 24 * 3600));
    world.node("sin").drop_idle_copies(None).await.unwrap();
    let node = world.node("fra");
    let make = async || node.make_copy("fra", &blob.id, node.subject.as_ref().unwrap()).await;
    // Nor once it was in vain to make it again.
    world.engines["iad"].go_away(true);
    make().await.unwrap_err();
    world.engines["iad"].go_away(false);
    assert_eq!(make().await.unwrap(), Made::Now);
    assert!(node.shared.index.all(&blob.id).await.unwrap().iter().any(|row| row.region == "fra" && row.record.is_required));
    world.engines["iad"].go_away(true);
    assert!(all(&world.node("fra"), &blob).await.unwrap() == bytes);
    world.engines["iad"].go_away(false);
    world.reclaim().await;
    world.assert_deleted(&blob).await;
}

/// Who reads where the engine swallows requests waits once, and leaves no copy beside what is there.
#[tokio::test(start_paused = true)]
async fn a_home_that_swallows_requests_is_passed_by_in_its_own_region() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    let node = world.node("fra");
    world.engines["fra"].opening().shut();
    assert!(all(&node, &blob).await.unwrap() == bytes);
    let began = tokio::time::Instant::now();
    assert!(all(&node, &blob).await.unwrap() == bytes);
    assert_eq!(began.elapsed(), Duration::ZERO);
    idle(&node).await;
    world.engines["fra"].opening().open();
    world.clock.advance(Duration::from_secs(61));
    world.engines["iad"].go_away(true);
    assert!(all(&node, &blob).await.unwrap() == bytes);
    assert_eq!(world.len(), [1, 1, 0]);
}

/// Nor is a copy waited for more than once there, unless nobody else has its bytes.
#[tokio::test(start_paused = true)]
async fn a_copy_that_swallows_requests_is_passed_by_in_its_own_region() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    let node = world.node("iad");
    world.engines["iad"].opening().shut();
    assert!(timeout(2 * ANSWER_MAX, all(&node, &blob)).await.expect("it is read at home").unwrap() == bytes);
    let began = tokio::time::Instant::now();
    assert!(all(&node, &blob).await.unwrap() == bytes);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let (other, content) = put(&world.node("fra"), 300_000).await;
    assert!(all(&node, &other).await.unwrap() == content);
    idle(&node).await;
    assert_eq!(world.len(), [2, 1, 0], "nothing is copied to an engine that does not answer");
    world.engines["fra"].go_away(true);
    let opens = async {
        sleep(Duration::from_secs(1)).await;
        world.engines["iad"].opening().open();
    };
    let (read, ()) = tokio::join!(all(&node, &blob), opens);
    assert!(read.unwrap() == bytes);
}

/// What a copy answers after a silence says nothing of a home that is away.
#[tokio::test(start_paused = true)]
async fn a_copy_that_answers_late_is_no_witness_of_absence() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    let node = world.node("iad");
    world.engines["iad"].opening().shut();
    assert!(all(&node, &blob).await.unwrap() == bytes);
    world.engines["iad"].opening().open();
    world.engines["iad"].deny(20);
    world.engines["fra"].go_away(true);
    assert_eq!(all(&node, &blob).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// An engine that is silent is not asked while another one has the bytes.
#[tokio::test(start_paused = true)]
async fn a_copy_elsewhere_is_read_before_an_engine_that_is_silent() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad", "sin"]).await;
    let node = world.node("iad");
    world.engines["iad"].opening().shut();
    assert!(all(&node, &blob).await.unwrap() == bytes);
    world.engines["fra"].go_away(true);
    let began = tokio::time::Instant::now();
    assert!(timeout(2 * ANSWER_MAX, all(&node, &blob)).await.expect("sin has it").unwrap() == bytes);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Bytes that only an engine has that did not answer lately are not absent, though the replica does not know of them yet.
#[tokio::test(start_paused = true)]
async fn what_only_a_silent_engine_has_is_not_absent() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&["iad"]).await;
    assert_eq!(world.node("fra").move_home(&blob.id, "iad").await.unwrap(), Moved::Done);
    world.reclaim().await;
    assert_eq!(world.len(), [0, 1, 0]);
    let node = world.node("iad");
    node.look_nearby(Arc::new(MemoryMetaStore::new()));
    node.shared.silence.note("iad");
    assert!(all(&node, &blob).await.unwrap() == bytes);
}

/// Nor are those that are moving there while others are asked.
#[tokio::test]
async fn what_is_moving_to_a_silent_engine_is_not_absent() {
    let world = Three::new();
    let (blob, _) = world.blob(&["sin"]).await;
    let node = world.node("sin");
    let born = node.shared.born(&blob.id).unwrap();
    world.engines["fra"].deny(1);
    world.engines["sin"].opening().shut();
    let (shared, id) = (Arc::clone(&node.shared), blob.id.clone());
    let read = tokio::spawn(async move { shared.open(&id, &born, ByteRange::new(0, 1)).await.map(drop) });
    world.engines["sin"].opening().reached().await;
    let home = world.node("fra");
    assert_eq!(home.make_copy("iad", &blob.id, home.subject.as_ref().unwrap()).await.unwrap(), Made::Now);
    assert_eq!(home.move_home(&blob.id, "iad").await.unwrap(), Moved::Done);
    node.shared.silence.note("iad");
    world.engines["sin"].deny(10);
    world.engines["sin"].opening().open();
    assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

/// An answer that takes long is waited for where nobody else has the bytes.
#[tokio::test(start_paused = true)]
async fn a_slow_home_is_waited_for_where_nobody_else_has_its_bytes() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&[]).await;
    world.engines["fra"].opening().shut();
    let (node, id) = (world.node("fra"), blob.clone());
    let read = tokio::spawn(async move { all(&node, &id).await });
    sleep(Duration::from_secs(30)).await;
    world.engines["fra"].opening().open();
    assert!(read.await.unwrap().unwrap() == bytes);
}

/// The same of a home that has moved and had to be there.
#[tokio::test]
async fn a_damaged_home_that_has_moved_is_made_again_when_it_has_to_be_a_copy() {
    let world = Three::new();
    let (blob, bytes) = world.blob(&[]).await;
    let node = world.node("sin");
    for region in ["iad", "sin"] {
        assert_eq!(node.make_copy(region, &blob.id, node.subject.as_ref().unwrap()).await.unwrap(), Made::Now);
    }
    node.move_home(&blob.id, "iad").await.unwrap();
    world.reclaim().await;
    world.engines["iad"].rot(150_000);
    assert_eq!(node.move_lost_home(&blob.id, "sin").await.unwrap(), Moved::Done);
    assert_eq!(node.make_copy("iad", &blob.id, node.subject.as_ref().unwrap()).await.unwrap(), Made::Now);
    world.engines["sin"].go_away(true);
    assert!(all(&world.node("iad"), &blob).await.unwrap() == bytes);
}
