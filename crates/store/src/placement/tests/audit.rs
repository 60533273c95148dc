//! A store of three regions as users see it: whatever its location becomes, a bucket's bytes end up where they may be, and all of them.

mod inline;
mod lost;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use umbra_blob::{BlobStore, suite};
use umbra_core::{
    Body, BucketName, Clock, Entity, ErrorKind, Location, ManualClock, ObjectKey, PartNumber, RequestContext, SeededRandom, Tags, Timestamp,
};
use umbra_meta::{
    Batch, MemoryMetaStore, MetaStore, Partition, Projection,
    key::{self, root},
};

use super::{engine::Engine, idle, named, topology};
use crate::{
    Bucket, BucketSettings, Catalog, CompleteUpload, CompletedPart, CreateUpload, DeleteOptions, GetOptions, Integrity, Native,
    NativeParts, Objects, PartAddress, PutOptions, ReclaimHandle, Reclaimer, Sealer, Versioning,
    placement::{
        AuditFindings, Auditor, AuditorParts, CopyWorker, DemandSettings, DuePointers, FinishedAudit, PlacedBlobStore, PlacementMetrics,
        PlacementParts, PlacementStatus,
    },
    record::copy::CopyRecord,
};

const REGIONS: [&str; 3] = ["ams", "fra", "iad"];
const GRACE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Three regions with a node each, and what the leader does.
struct World {
    meta: Arc<MemoryMetaStore>,
    clock: Arc<ManualClock>,
    catalog: Arc<Catalog>,
    engines: BTreeMap<&'static str, Engine>,
    natives: BTreeMap<&'static str, Native>,
    workers: Vec<(&'static str, CopyWorker)>,
    auditor: Auditor,
    reclaim: ReclaimHandle,
    bucket: BucketName,
}

impl World {
    async fn new(location: &str) -> Self {
        let (meta, engines) = (Arc::new(MemoryMetaStore::new()), BTreeMap::from(REGIONS.map(|name| (name, Engine::default()))));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_750_000_000_000)));
        let random = Arc::new(SeededRandom::new(3));
        let sealer = Arc::new(Sealer::new([7; 32], random.clone()));
        let catalog = Catalog::open(meta.clone(), sealer, clock.clone(), random.clone()).await.unwrap();
        catalog.set_topology(topology("ams", ["fra", "iad"]));
        catalog.create_organization("acme").await.unwrap();
        let (catalog, reclaim) = (Arc::new(catalog), ReclaimHandle::new(GRACE));
        let stores = REGIONS.map(|own| {
            let others = REGIONS.iter().filter(|name| **name != own);
            let parts = PlacementParts {
                topology: topology(own, REGIONS),
                own: Arc::new(engines[own].clone()),
                engine: Arc::new(engines[own].clone()),
                others: others.map(|name| (named(name), Arc::new(engines[name].clone()) as _)).collect(),
                first: None,
                meta: meta.clone(),
                clock: clock.clone(),
                reclaimer: reclaim.clone(),
                demand: DemandSettings::default(),
                metrics: PlacementMetrics::default(),
            };
            (own, PlacedBlobStore::new(parts))
        });
        let natives = stores.clone().map(|(own, store)| {
            let parts = NativeParts {
                meta: meta.clone(),
                blobs: Arc::new(store.clone()),
                clock: clock.clone(),
                random: random.clone(),
                reclaimer: reclaim.clone(),
                keys: Arc::new(crate::Keyring::new([7; 32], [], random.clone())),
            };
            (own, Native::new(parts).in_regions(Some(store)))
        });
        let workers = stores.clone().map(|(own, store)| {
            let (meta, clock) = (meta.clone() as _, clock.clone() as _);
            (own, CopyWorker::new(meta, clock, store, own.to_owned(), Box::new(Vec::new), PlacementMetrics::default()))
        });
        let [(_, leading), ..] = stores;
        let auditor = Auditor::new(AuditorParts {
            meta: meta.clone(),
            catalog: catalog.clone(),
            blobs: leading,
            clock: clock.clone(),
            pointers: DuePointers::default(),
            interval: Some(DAY),
        });
        let bucket = BucketName::parse("bucket").unwrap();
        let settings = BucketSettings { location: Location::parse(location).unwrap(), ..BucketSettings::default() };
        catalog.create_bucket(&bucket, "acme", settings).await.unwrap();
        Self { meta, clock, catalog, engines, natives: natives.into(), workers: workers.into(), auditor, reclaim, bucket }
    }

    async fn bucket(&self) -> Arc<Bucket> {
        self.catalog.bucket(&self.bucket).await.unwrap()
    }

    async fn relocate(&self, location: &str) {
        let location = Location::parse(location).unwrap();
        let change = &mut |settings: &mut BucketSettings| {
            settings.location = location.clone();
            Ok(())
        };
        self.catalog.update_bucket(&*self.bucket().await, change).await.unwrap();
    }

    async fn put(&self, region: &str, key: &str, size: usize) {
        let body = Body::from_bytes(suite::content(size as u64, size));
        let options = PutOptions::default();
        self.natives[region].put(&cx(), &*self.bucket().await, &object(key), body, options).await.unwrap();
    }

    async fn get(&self, region: &str, key: &str) -> umbra_core::Result<Vec<u8>> {
        let got = self.natives[region].get(&cx(), &*self.bucket().await, &object(key), GetOptions::default()).await?;
        got.body.collect(1 << 30).await.map(|bytes| bytes.to_vec())
    }

    async fn delete(&self, region: &str, key: &str) {
        self.natives[region].delete(&cx(), &*self.bucket().await, &object(key), DeleteOptions::default()).await.unwrap();
    }

    /// What is due of copies, made by the workers of all regions; what can be reclaimed is.
    async fn work(&self) {
        for native in self.natives.values() {
            native.due_pointers().put_gathered(&*self.meta).await.unwrap();
        }
        self.auditor.parts.pointers.put_gathered(&*self.meta).await.unwrap();
        for (region, worker) in &self.workers {
            while worker.serve(region).await.unwrap() > 0 {}
        }
    }

    async fn reclaim(&self) {
        self.clock.advance(GRACE * 2);
        let bucket = self.bucket().await.partition;
        let partitions = Box::new(move || Box::pin(async move { Ok(vec![Partition::ROOT, bucket]) }) as _);
        let blobs: Arc<dyn BlobStore> = self.natives["fra"].blobs().clone();
        let reclaimer = Reclaimer::new(self.meta.clone(), blobs, self.clock.clone(), self.reclaim.clone(), partitions);
        reclaimer.learn_partitions().await;
        reclaimer.reclaim_due().await;
    }

    /// Audits until nothing is left to be done.
    async fn settle(&self) -> FinishedAudit {
        for _ in 0..8 {
            self.auditor.order(&*self.bucket().await).await.unwrap();
            while self.auditor.step(&self.bucket).await.unwrap() {}
            self.work().await;
            let status = self.status().await;
            let last = status.audit.and_then(|audit| audit.last).unwrap();
            if last.findings.is_settled() && status.due.is_empty() && last.findings.missing == 0 {
                self.reclaim().await;
                return last;
            }
            self.clock.advance(Duration::from_secs(10));
        }
        panic!("it does not settle: {:?}", self.status().await);
    }

    /// One walk, and what it found.
    async fn audit(&self) -> AuditFindings {
        self.auditor.order(&*self.bucket().await).await.unwrap();
        while self.auditor.step(&self.bucket).await.unwrap() {}
        self.status().await.audit.unwrap().last.unwrap().findings
    }

    async fn status(&self) -> PlacementStatus {
        self.auditor.status(&*self.bucket().await).await.unwrap()
    }

    /// How many blobs there are in ams, fra and iad.
    async fn kept(&self) -> [usize; 3] {
        for native in self.natives.values() {
            idle(native.placed().unwrap()).await;
        }
        REGIONS.map(|name| self.engines[name].len())
    }
}

fn cx() -> RequestContext {
    RequestContext::default()
}

fn object(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

fn content(size: usize) -> Vec<u8> {
    suite::content(size as u64, size)
}

#[tokio::test]
async fn what_is_written_is_copied_to_where_its_bucket_wants_it() {
    for (location, region, expected) in [
        ("dual:fra,iad", "fra", [0, 1, 1]),
        ("dual:fra,iad", "ams", [0, 1, 1]),
        ("single:iad", "fra", [0, 0, 1]),
        ("global", "fra", [0, 1, 0]),
    ] {
        let world = World::new(location).await;
        world.put(region, "k", 9000).await;
        world.work().await;
        assert_eq!(world.kept().await, expected, "{location} {region}");
        // What was overwritten goes, and what is there now is copied.
        world.put("iad", "k", 8000).await;
        world.work().await;
        world.reclaim().await;
        assert_eq!(world.kept().await.iter().sum::<usize>(), expected.iter().sum::<usize>());
        assert_eq!(world.get("ams", "k").await.unwrap(), content(8000));
        idle(world.natives["ams"].placed().unwrap()).await;
        world.delete("fra", "k").await;
        world.work().await;
        world.reclaim().await;
        assert_eq!(world.kept().await, [0, 0, 0]);
        assert!(world.status().await.due.is_empty());
    }
}

#[tokio::test]
async fn what_is_overwritten_while_its_copy_is_due_is_not_copied() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.put("fra", "k", 8000).await;
    world.put("fra", "gone", 7000).await;
    world.delete("fra", "gone").await;
    world.reclaim().await;
    world.work().await;
    assert_eq!((world.kept().await, world.engines["iad"].created()), ([0, 1, 1], 1));
    assert!(world.status().await.due.is_empty());
}

#[tokio::test]
async fn an_upload_by_parts_is_copied_whole() {
    let world = World::new("dual:fra,iad").await;
    let (native, bucket, key) = (&world.natives["fra"], world.bucket().await, object("k"));
    let upload = native.create_upload(&cx(), &bucket, &key, CreateUpload::default()).await.unwrap();
    let mut parts = Vec::new();
    for (number, size) in [(1, 5 << 20), (2, 6 << 20), (3, 1000)] {
        let number = PartNumber::new(number).unwrap();
        let part = PartAddress { key: &key, upload: &upload, number };
        let put = native.put_part(&cx(), &bucket, part, Body::from_bytes(content(size)), Integrity::default()).await.unwrap();
        parts.push(CompletedPart { number, etag: put.etag, checksum: None });
    }
    let options = CompleteUpload { parts, ..CompleteUpload::default() };
    native.complete_upload(&cx(), &bucket, &key, &upload, options).await.unwrap();
    world.work().await;
    assert_eq!(world.kept().await, [0, 3, 3]);
    world.engines["fra"].go_away(true);
    assert_eq!(world.get("iad", "k").await.unwrap(), [content(5 << 20), content(6 << 20), content(1000)].concat());
}

/// Parts lie where the location of their time wanted them, the object where that of its completion does, without an audit.
#[tokio::test]
async fn an_upload_that_outlives_a_location_follows_the_new_one() {
    for (before, after, expected) in [
        ("single:fra", "single:iad", [0, 0, 2]),
        ("single:fra", "dual:ams,iad", [2, 0, 2]),
        ("dual:fra,iad", "single:iad", [0, 0, 2]),
        ("global", "multi:eur", [2, 2, 0]),
        ("global", "single:ams", [2, 0, 0]),
    ] {
        let world = World::new(before).await;
        let (native, key) = (&world.natives["fra"], object("k"));
        let upload = native.create_upload(&cx(), &*world.bucket().await, &key, CreateUpload::default()).await.unwrap();
        let mut parts = Vec::new();
        for (number, size) in [(1, 5 << 20), (2, 6000)] {
            let number = PartNumber::new(number).unwrap();
            let part = PartAddress { key: &key, upload: &upload, number };
            let body = Body::from_bytes(content(size));
            let put = native.put_part(&cx(), &*world.bucket().await, part, body, Integrity::default()).await.unwrap();
            parts.push(CompletedPart { number, etag: put.etag, checksum: None });
        }
        world.relocate(after).await;
        let options = CompleteUpload { parts, ..CompleteUpload::default() };
        native.complete_upload(&cx(), &*world.bucket().await, &key, &upload, options).await.unwrap();
        assert_eq!(world.get("ams", "k").await.unwrap(), [content(5 << 20), content(6000)].concat());
        world.work().await;
        world.reclaim().await;
        assert_eq!(world.kept().await, expected, "{before} {after}");
        assert!(world.status().await.due.is_empty());
        assert_eq!(world.get("ams", "k").await.unwrap(), [content(5 << 20), content(6000)].concat());
    }
}

/// Between the commit of an object and its pointer the writer dies.
#[tokio::test]
async fn a_commit_whose_pointer_is_lost_has_its_copies_made() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    for (region, worker) in &world.workers {
        assert_eq!(worker.serve(region).await.unwrap(), 0);
    }
    let partition = world.bucket().await.partition;
    let pointers = DuePointers::default();
    let partitions: crate::PartitionSource = Box::new(move || Box::pin(async move { Ok(vec![partition]) }));
    pointers.look(&*world.meta, &partitions).await.unwrap();
    pointers.put_gathered(&*world.meta).await.unwrap();
    for (region, worker) in &world.workers {
        worker.serve(region).await.unwrap();
    }
    assert_eq!(world.kept().await, [0, 1, 1]);
}

impl World {
    /// An object of `count` parts of 5 MiB, written in fra. Gives its content.
    async fn put_in_parts(&self, key: &str, count: u8) -> Vec<u8> {
        let (native, bucket, key, part) = (&self.natives["fra"], self.bucket().await, object(key), content(5 << 20));
        let upload = native.create_upload(&cx(), &bucket, &key, CreateUpload::default()).await.unwrap();
        let mut parts = Vec::new();
        for number in (1..=count).map(|number| PartNumber::new(number.into()).unwrap()) {
            let address = PartAddress { key: &key, upload: &upload, number };
            let put = native.put_part(&cx(), &bucket, address, Body::from_bytes(part.clone()), Integrity::default()).await.unwrap();
            parts.push(CompletedPart { number, etag: put.etag, checksum: None });
        }
        native.complete_upload(&cx(), &bucket, &key, &upload, CompleteUpload { parts, ..CompleteUpload::default() }).await.unwrap();
        part.repeat(count.into())
    }
}

/// However slow it is: what it goes on to read when nobody walks through the bucket any more is read across, and not kept.
#[tokio::test]
async fn a_reader_by_an_old_location_leaves_nothing() {
    for (before, after, expected) in [("global", "single:fra", [0, 4, 0]), ("dual:fra,iad", "dual:ams,fra", [4, 4, 0])] {
        let world = World::new(before).await;
        let bytes = world.put_in_parts("k", 4).await;
        let old = world.bucket().await;
        let slow = world.natives["iad"].get(&cx(), &old, &object("k"), GetOptions::default()).await.unwrap();
        // One extent, and the one behind it.
        while world.kept().await != [0, 4, 2] {
            tokio::task::yield_now().await;
        }
        world.relocate(after).await;
        world.settle().await;
        world.clock.advance(DAY);
        world.settle().await;
        assert_eq!(world.kept().await, expected, "{before} {after}");
        assert!(slow.body.collect(1 << 30).await.unwrap() == bytes);
        // What takes long may know its bucket from long ago.
        let late = world.natives["iad"].get(&cx(), &old, &object("k"), GetOptions::default()).await.unwrap();
        assert!(late.body.collect(1 << 30).await.unwrap() == bytes);
        assert_eq!(world.kept().await, expected, "{before} {after}");
    }
}

/// It may be there by the location that it was begun by: the walk waits for it.
#[tokio::test]
async fn a_copy_that_is_coming_when_the_location_changes_is_dropped() {
    let world = World::new("global").await;
    world.put("fra", "k", 9000).await;
    let finishing = world.engines["iad"].finishing();
    finishing.shut();
    assert_eq!(world.get("iad", "k").await.unwrap(), content(9000));
    finishing.reached().await;
    world.relocate("single:fra").await;
    assert!(!world.audit().await.is_settled());
    finishing.open();
    assert_eq!(world.kept().await, [0, 1, 1]);
    world.settle().await;
    assert_eq!(world.kept().await, [0, 1, 0]);
}

/// A large one takes its time, and those behind it are due by a location of before.
#[tokio::test]
async fn copies_that_are_due_are_not_made_once_the_location_is_another() {
    let world = World::new("dual:fra,iad").await;
    for number in 0..12 {
        world.put("fra", &format!("k{number}"), 9000).await;
    }
    for native in world.natives.values() {
        native.due_pointers().put_gathered(&*world.meta).await.unwrap();
    }
    let (_, worker) = world.workers.iter().find(|(region, _)| *region == "iad").unwrap();
    let finishing = world.engines["iad"].finishing();
    finishing.shut();
    let changing = async {
        finishing.reached().await;
        world.relocate("single:fra").await;
        finishing.open();
    };
    let (served, ()) = futures::join!(worker.serve("iad"), changing);
    assert_eq!(served.unwrap(), 12, "all are done with");
    assert!(world.engines["iad"].created() <= 4, "{} were made", world.engines["iad"].created());
    world.settle().await;
    assert_eq!(world.kept().await, [0, 12, 0]);
}

/// What a hydration has brought is read before it is an object.
#[tokio::test]
async fn copies_of_what_is_to_become_an_object_are_dropped_where_they_may_not_be() {
    let world = World::new("global").await;
    let bucket = world.bucket().await;
    let piece = world.natives["fra"].blobs_of(&bucket, None).put(vec![content(9000).into()]).await.unwrap();
    let row = crate::record::piece::encode_piece(&crate::Extent::plain(piece.id.clone(), 9000), 0);
    world.meta.commit(Batch::new(bucket.partition).put(key::piece(&object("k"), 1), "", row)).await.unwrap();
    for region in ["ams", "iad"] {
        assert_eq!(suite::read_all(&*world.natives[region].blobs_of(&bucket, None), &piece).await.unwrap(), content(9000));
    }
    world.settle().await;
    assert_eq!(world.kept().await, [1, 1, 1], "they may be anywhere");
    world.relocate("dual:ams,iad").await;
    world.settle().await;
    assert_eq!(world.kept().await, [1, 1, 1], "its home stays until it is an object");
    world.relocate("single:fra").await;
    world.settle().await;
    assert_eq!(world.kept().await, [0, 1, 0]);
}

#[tokio::test]
async fn bytes_follow_the_location_of_their_bucket() {
    let world = World::new("global").await;
    for (region, key) in [("fra", "of-fra"), ("iad", "of-iad"), ("ams", "of-ams")] {
        world.put(region, key, 9000).await;
    }
    // A version before the newest, and a copy that a reader left.
    let versioned = &mut |settings: &mut BucketSettings| {
        settings.versioning = Versioning::Enabled;
        Ok(())
    };
    world.catalog.update_bucket(&*world.bucket().await, versioned).await.unwrap();
    world.put("iad", "of-iad", 8000).await;
    world.get("ams", "of-fra").await.unwrap();
    assert_eq!(world.kept().await, [2, 1, 2]);
    let last = world.settle().await;
    assert_eq!(world.kept().await, [2, 1, 2], "a global bucket is only counted");
    let uses = |last: &FinishedAudit, region: &str| {
        let used = last.findings.regions.get(region).copied().unwrap_or_default();
        (used.homes, used.home_bytes, used.copies, used.copy_bytes)
    };
    assert_eq!((uses(&last, "fra"), uses(&last, "iad"), uses(&last, "ams")), ((1, 9000, 0, 0), (2, 17_000, 0, 0), (1, 9000, 1, 9000)));
    for (location, expected, read_in) in [
        ("dual:fra,iad", [0, 4, 4], "ams"),
        ("single:ams", [4, 0, 0], "iad"),
        ("multi:eur", [4, 4, 0], "iad"),
        ("dual:iad,ams", [4, 0, 4], "fra"),
        ("single:fra", [0, 4, 0], "ams"),
        ("global", [0, 4, 0], "fra"),
    ] {
        world.relocate(location).await;
        let last = world.settle().await;
        assert_eq!(world.kept().await, expected, "{location}");
        let counted: Vec<_> = REGIONS.iter().map(|region| uses(&last, region)).map(|(homes, _, copies, _)| homes + copies).collect();
        assert_eq!(counted, expected.map(|count| count as u64), "{location}");
        for (key, size) in [("of-fra", 9000), ("of-iad", 8000), ("of-ams", 9000)] {
            assert_eq!(world.get(read_in, key).await.unwrap(), content(size), "{location} {key}");
        }
        if location != "global" {
            assert_eq!(world.kept().await, expected, "what is read elsewhere leaves nothing there: {location}");
        }
    }
    for key in ["of-fra", "of-iad", "of-ams"] {
        world.get("fra", key).await.unwrap();
    }
    let destroyer = crate::Destroyer::new(&world.catalog, Arc::clone(world.natives["fra"].blobs()));
    world.catalog.destroy_bucket(&*world.bucket().await).await.unwrap();
    destroyer.destroy_all().await.unwrap();
    assert_eq!(world.kept().await, [0, 0, 0]);
}

/// Somebody deletes blobs at the engine, behind our back.
#[tokio::test]
async fn copies_that_are_lost_are_made_again() {
    let world = World::new("dual:fra,iad").await;
    for key in ["a", "b"] {
        world.put("fra", key, 9000).await;
    }
    world.work().await;
    assert_eq!(world.kept().await, [0, 2, 2]);
    world.engines["iad"].lose_all().await;
    assert_eq!(world.kept().await, [0, 2, 0]);
    // Nobody asked for it: it is due a day after the bucket was made.
    world.clock.advance(DAY + Duration::from_secs(1));
    while world.auditor.step(&world.bucket).await.unwrap() {}
    let last = world.status().await.audit.unwrap().last.unwrap();
    assert_eq!((last.findings.lost, last.findings.missing, world.status().await.due["iad"].count), (2, 2, 2));
    // Audited again before they are made, they are not queued twice.
    world.auditor.order(&*world.bucket().await).await.unwrap();
    while world.auditor.step(&world.bucket).await.unwrap() {}
    assert_eq!(world.status().await.due["iad"].count, 2);
    world.work().await;
    assert_eq!(world.kept().await, [0, 2, 2]);
    world.engines["fra"].go_away(true);
    assert_eq!(world.get("iad", "b").await.unwrap(), content(9000));
    world.engines["fra"].go_away(false);
    let last = world.settle().await;
    assert_eq!((last.findings.lost, last.findings.missing), (0, 0));
}

/// What may not stay is dropped once what has to be elsewhere is there: it may be what is left when the home is lost meanwhile.
#[tokio::test]
async fn nothing_goes_before_what_has_to_be_is_there() {
    for (location, expected) in [("single:iad", [0, 0, 1]), ("dual:ams,iad", [1, 0, 1])] {
        let world = World::new("dual:ams,fra").await;
        world.put("ams", "k", 9000).await;
        world.work().await;
        assert_eq!(world.kept().await, [1, 1, 0]);
        world.engines["iad"].go_away(true);
        world.relocate(location).await;
        let findings = world.audit().await;
        world.reclaim().await;
        assert_eq!((findings.removed, findings.pending, world.kept().await), (0, 1, [1, 1, 0]), "{location}");
        // The home is lost.
        world.engines["ams"].lose_puts().await;
        assert_eq!(world.get("fra", "k").await.unwrap(), content(9000));
        world.engines["iad"].go_away(false);
        world.settle().await;
        assert_eq!((world.kept().await, world.get("iad", "k").await.unwrap()), (expected, content(9000)), "{location}");
    }
}

/// Where a home was to be by an earlier location it does not go, however late the copy is made that was to be it.
#[tokio::test]
async fn a_home_follows_no_location_of_the_past() {
    for (location, expected) in [("dual:fra,iad", [0, 1, 1]), ("global", [0, 1, 1])] {
        let world = World::new("single:fra").await;
        world.put("fra", "k", 9000).await;
        world.engines["iad"].go_away(true);
        world.relocate("single:iad").await;
        assert_eq!(world.audit().await.missing, 1);
        world.relocate(location).await;
        let findings = world.audit().await;
        assert_eq!(findings.is_settled(), location == "global", "{location}: the queue has it for another reason");
        world.engines["iad"].go_away(false);
        world.clock.advance(DAY);
        world.work().await;
        world.reclaim().await;
        assert_eq!(world.kept().await, expected, "{location}");
        let last = world.settle().await;
        assert_eq!(last.findings.regions["fra"].homes, 1, "{location}");
    }
}

/// A home that takes requests and never answers is waited for once: after that readers ask first who has a copy.
#[tokio::test(start_paused = true)]
async fn a_home_that_swallows_requests_is_asked_last() {
    let world = World::new("dual:fra,ams").await;
    for key in ["a", "b", "c"] {
        world.put("fra", key, 9000).await;
    }
    world.work().await;
    assert_eq!(world.kept().await, [3, 3, 0]);
    world.engines["fra"].opening().shut();
    assert_eq!(world.get("iad", "a").await.unwrap(), content(9000));
    let began = tokio::time::Instant::now();
    for key in ["a", "b", "c"] {
        assert_eq!(world.get("iad", key).await.unwrap(), content(9000));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    world.engines["fra"].opening().open();
    world.clock.advance(GRACE);
    let before = world.engines["fra"].reads();
    assert_eq!((world.get("iad", "b").await.unwrap(), world.engines["fra"].reads()), (content(9000), before + 1), "it is asked again");
}

/// A walk that finds more to be copied than is queued at once waits for room, and is the only one.
#[tokio::test]
async fn a_large_bucket_moves_in_one_walk() {
    let mut world = World::new("global").await;
    world.auditor.due_max = 50;
    for n in 0..300 {
        world.put("fra", &format!("k{n:03}"), 5000).await;
    }
    world.relocate("single:iad").await;
    let mut due_most = 0;
    let first = loop {
        world.auditor.round().await.unwrap();
        let status = world.status().await;
        due_most = due_most.max(status.due.get("iad").map_or(0, |due| due.count));
        match status.audit.and_then(|audit| audit.last) {
            Some(first) => break first.findings,
            None => world.work().await,
        }
    };
    assert_eq!((first.missing, first.pending, first.failed), (300, 0, 0));
    assert!(due_most < 50 + 64, "a page at most above what is queued at once: {due_most}");
    world.work().await;
    world.reclaim().await;
    assert_eq!(world.kept().await, [0, 0, 300], "whoever made the copies has moved the homes");
    assert!(world.status().await.due.is_empty());
}

/// A home moves by the hand of the region it moves to, which has the copy: nothing is read across by who leads.
#[tokio::test]
async fn a_home_is_moved_by_its_region_to_be() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    world.relocate("single:iad").await;
    let before = world.engines["iad"].reads();
    let findings = world.audit().await;
    let asked = world.engines["iad"].reads() - before;
    assert_eq!((findings.moved, findings.pending, asked), (0, 1, 1), "it is asked whether the copy is there");
    world.work().await;
    world.reclaim().await;
    assert_eq!((world.kept().await, world.status().await.due.len()), ([0, 0, 1], 0));
    assert_eq!((world.settle().await.findings.moved, world.get("ams", "k").await.unwrap()), (0, content(9000)));
}

/// A region in which nothing is made holds up a walk for a while only: the others have their copies made.
#[tokio::test]
async fn a_region_without_room_is_left_to_a_later_audit() {
    let mut world = World::new("global").await;
    world.auditor.due_max = 50;
    for n in 0..200 {
        world.put("fra", &format!("k{n:03}"), 5000).await;
    }
    world.engines["iad"].go_away(true);
    world.relocate("dual:ams,iad").await;
    let last = loop {
        world.auditor.round().await.unwrap();
        world.work().await;
        world.clock.advance(Duration::from_secs(10));
        if let Some(last) = world.status().await.audit.and_then(|audit| audit.last) {
            break last.findings;
        }
    };
    assert!(last.pending > 0 && world.status().await.due["iad"].count < 50 + 64, "{last:?}");
    world.work().await;
    world.reclaim().await;
    assert_eq!(world.kept().await, [200, 0, 0]);
    world.engines["iad"].go_away(false);
    for _ in 0..200 {
        world.auditor.round().await.unwrap();
        world.work().await;
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(world.kept().await, [200, 0, 200]);
}

/// Nothing is remembered of buckets that are gone.
#[tokio::test]
async fn destroyed_buckets_are_forgotten() {
    let mut world = World::new("global").await;
    world.auditor.due_max = 1;
    for key in ["a", "b"] {
        world.put("fra", key, 9000).await;
    }
    world.engines["iad"].go_away(true);
    world.relocate("single:iad").await;
    while world.auditor.room.lock().is_empty() {
        world.auditor.round().await.unwrap();
    }
    world.auditor.round().await.unwrap();
    world.catalog.destroy_bucket(&*world.bucket().await).await.unwrap();
    world.auditor.round().await.unwrap();
    assert_eq!((world.auditor.known.lock().len(), world.auditor.room.lock().len()), (0, 0));
}

/// What a location does not ask for any more is a copy like those that readers leave.
#[tokio::test]
async fn copies_that_had_to_be_there_are_let_go() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    let required = || async {
        let rows = world.meta.scan(Partition::ROOT, root::all_copies_range(), 10, Projection::Full).await.unwrap();
        rows.iter().map(|row| CopyRecord::decode(&row.body).unwrap().is_required).collect::<Vec<_>>()
    };
    assert_eq!(required().await, [true]);
    world.relocate("global").await;
    world.settle().await;
    assert_eq!((required().await, world.kept().await), (vec![false], [0, 1, 1]));
}

/// While a region is away it cannot be told what is there: nothing is taken for lost, and it is looked at again.
#[tokio::test]
async fn a_region_that_is_away_has_lost_nothing() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.work().await;
    world.engines["iad"].go_away(true);
    world.auditor.order(&*world.bucket().await).await.unwrap();
    while world.auditor.step(&world.bucket).await.unwrap() {}
    let audit = world.status().await.audit.unwrap();
    let last = audit.last.clone().unwrap();
    assert_eq!((last.findings.lost, last.findings.missing, last.findings.failed), (0, 0, 1));
    let due = audit.next_due(&Location::parse("dual:fra,iad").unwrap(), Some(DAY)).unwrap();
    assert!(due < world.clock.now().plus(Duration::from_secs(60)), "soon again");
    world.engines["iad"].go_away(false);
    assert!(world.settle().await.findings.is_settled());
    assert_eq!(world.kept().await, [0, 1, 1]);
}

/// A copy that was asked for by an earlier location is not made where it may not be any more.
#[tokio::test]
async fn copies_that_are_not_wanted_any_more_are_not_made() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "k", 9000).await;
    world.relocate("single:fra").await;
    world.work().await;
    assert_eq!((world.kept().await, world.engines["iad"].created()), ([0, 1, 0], 0));
    assert!(world.status().await.due.is_empty());
}

/// A writer that looked its bucket up before its location changed does not store by the old one. What stores nothing goes on.
#[tokio::test]
async fn a_write_by_an_old_location_is_refused() {
    let world = World::new("dual:fra,iad").await;
    world.put("fra", "l", 9000).await;
    let before = world.bucket().await;
    world.relocate("single:ams").await;
    let (native, key, get) = (&world.natives["fra"], object("l"), GetOptions::default());
    let put = native.put(&cx(), &before, &object("k"), Body::from_bytes(content(9000)), PutOptions::default()).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Unavailable);
    native.put_tags(&cx(), &before, &key, None, Tags::default()).await.unwrap();
    native.delete(&cx(), &before, &key, DeleteOptions::default()).await.unwrap();
    assert_eq!(native.head(&cx(), &before, &key, get).await.unwrap_err().kind(), ErrorKind::NotFound(Entity::Object));
}

#[tokio::test]
async fn audits_come_when_they_are_due() {
    let world = World::new("global").await;
    world.put("fra", "k", 9000).await;
    assert!(!world.auditor.step(&world.bucket).await.unwrap(), "nothing is due in a new bucket");
    assert_eq!(world.status().await.audit, None);
    world.put("iad", "l", 9000).await;
    world.relocate("single:fra").await;
    let last = world.settle().await;
    assert_eq!(last.location, Location::parse("single:fra").unwrap());
    let location = last.location.clone();
    let audit = world.status().await.audit.unwrap();
    let next = audit.next_due(&location, Some(DAY)).unwrap();
    assert!(next > last.ended && next < last.ended.plus(Duration::from_secs(3600)), "once more after a change");
    assert_eq!(audit.next_due(&Location::Global, Some(DAY)), Some(Timestamp::default()), "at once after another");
    world.clock.advance(Duration::from_secs(3600));
    while world.auditor.step(&world.bucket).await.unwrap() {}
    let audit = world.status().await.audit.unwrap();
    let ended = audit.last.clone().unwrap().ended;
    assert!(ended > last.ended);
    assert_eq!(audit.next_due(&location, Some(DAY)), Some(ended.plus(DAY)), "and then as ever");
    // A restart goes on where it was.
    world.auditor.order(&*world.bucket().await).await.unwrap();
    assert!(world.auditor.step(&world.bucket).await.unwrap());
    let row = world.meta.get(world.bucket().await.partition, &key::audit()).await.unwrap().unwrap();
    let under_way = crate::record::audit::decode(&row.body).unwrap();
    assert!(under_way.is_running() && !under_way.after.is_empty());
    // One whose record is of no use begins anew.
    let broken = Batch::new(world.bucket().await.partition).put(key::audit(), "", "broken");
    world.meta.commit(broken).await.unwrap();
    world.settle().await;
    let rows = world.meta.scan(world.bucket().await.partition, key::due_copies(), 10, Projection::Head).await.unwrap();
    assert!(rows.is_empty());
}

/// A step is bounded by contents too: an object may have thousands.
#[tokio::test]
async fn objects_of_many_contents_take_steps() {
    let world = World::new("single:fra").await;
    for key in ["a", "b", "c"] {
        world.put("fra", key, 5000).await;
    }
    let partition = world.bucket().await.partition;
    for row in world.meta.scan(partition, key::object_range(""), 10, Projection::Full).await.unwrap() {
        let mut object = crate::record::object::decode(&row).unwrap();
        object.size *= 600;
        object.content = crate::Pieces::Extents(vec![object.content.extents()[0].clone(); 600]);
        let (head, body) = crate::record::object::encode(&object);
        world.meta.commit(Batch::new(partition).put(row.key.to_vec(), head, body)).await.unwrap();
    }
    world.auditor.order(&*world.bucket().await).await.unwrap();
    let mut counted = Vec::new();
    while world.auditor.step(&world.bucket).await.unwrap() {
        let findings = world.status().await.audit.unwrap().findings;
        counted.push(findings.regions.get("fra").map_or(0, |used| used.homes));
    }
    counted.dedup();
    assert_eq!(counted, [0, 1200, 1800], "the third object is looked at in a step of its own");
}
