//! Stores held to a decision on where bytes are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use umbra_blob::{BlobStore, Result, StoredBlob, suite};
use umbra_core::{ErrorKind, Location, ManualClock, Narrowed, Region};
use umbra_meta::MemoryMetaStore;

use super::{all, engine::Engine, idle, named, of_a_bucket, topology};
use crate::{
    ReclaimHandle,
    placement::{DemandSettings, PlacedBlobStore, PlacementMetrics, PlacementParts, decide},
};

const REGIONS: [&str; 3] = ["ams", "fra", "iad"];

/// Three regions, and their contents seen from each.
struct World {
    meta: Arc<MemoryMetaStore>,
    engines: BTreeMap<&'static str, Engine>,
    seen_from: BTreeMap<&'static str, PlacedBlobStore>,
}

impl World {
    fn new() -> Self {
        let engines = BTreeMap::from(REGIONS.map(|name| (name, Engine::default())));
        let (meta, clock) = (Arc::new(MemoryMetaStore::new()), Arc::new(ManualClock::default()));
        let seen_from = REGIONS.map(|own| {
            let others = REGIONS.iter().filter(|name| **name != own);
            let parts = PlacementParts {
                topology: topology(own, REGIONS),
                own: Arc::new(engines[own].clone()),
                engine: Arc::new(engines[own].clone()),
                others: others.map(|name| (named(name), Arc::new(engines[name].clone()) as _)).collect(),
                first: None,
                meta: Arc::clone(&meta) as _,
                clock: Arc::clone(&clock) as _,
                reclaimer: ReclaimHandle::new(Duration::from_secs(60)),
                demand: DemandSettings::default(),
                metrics: PlacementMetrics::default(),
            };
            (own, PlacedBlobStore::new(parts))
        });
        Self { meta, engines, seen_from: seen_from.into() }
    }

    /// The contents seen from `own`, for objects of that location.
    fn of(&self, own: &str, location: &str, narrowed: Option<&str>, taken_in: Option<&str>) -> PlacedBlobStore {
        let store = &self.seen_from[own];
        let location = Location::parse(location).unwrap();
        let narrowed = narrowed.map(|narrowed| Narrowed::parse(narrowed).unwrap());
        let store = store.by(decide(&location, narrowed.as_ref(), taken_in.map(named).as_ref(), store.topology()));
        of_a_bucket(&self.meta, store, &location.to_string(), narrowed)
    }

    /// How many blobs there are in each region.
    fn kept(&self) -> [usize; 3] {
        REGIONS.map(|name| self.engines[name].len())
    }
}

async fn put(store: &PlacedBlobStore) -> Result<StoredBlob> {
    store.put(vec![Bytes::from_static(b"some"), Bytes::from_static(b" content")]).await
}

async fn stream(store: &PlacedBlobStore) -> Result<StoredBlob> {
    let mut writer = store.create().await?;
    writer.write(Bytes::from_static(b"some content")).await?;
    writer.finish().await
}

fn home(store: &PlacedBlobStore, blob: &StoredBlob) -> Region {
    store.home_of(&blob.id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_held_to_a_decision_is_a_store() {
    for (own, location) in [("iad", "single:fra"), ("iad", "dual:fra,ams"), ("fra", "multi:eur"), ("fra", "global")] {
        let world = World::new();
        suite::run(Arc::new(world.of(own, location, None, None))).await;
        for store in world.seen_from.values() {
            idle(store).await;
        }
        assert_eq!(world.kept(), [0, 0, 0], "{location}");
    }
}

#[tokio::test]
async fn bytes_go_where_their_bucket_wants_them() {
    for (own, location, narrowed, taken_in, expected) in [
        ("fra", "global", None, None, "fra"),
        ("fra", "global", None, Some("iad"), "iad"),
        ("iad", "single:fra", None, None, "fra"),
        ("iad", "multi:eur", None, None, "ams"),
        ("fra", "multi:eur", None, None, "fra"),
        ("fra", "dual:iad,ams", None, Some("ams"), "ams"),
        ("fra", "global", Some("iad,ams"), None, "iad"),
    ] {
        let world = World::new();
        let store = world.of(own, location, narrowed, taken_in);
        let blobs = [put(&store).await.unwrap(), stream(&store).await.unwrap()];
        assert_eq!((world.engines[expected].len(), world.kept().iter().sum()), (2, 2), "{own} {location} {narrowed:?} {taken_in:?}");
        for blob in blobs {
            assert_eq!(home(&store, &blob), named(expected));
            assert_eq!(all(&store, &blob).await.unwrap(), b"some content");
        }
    }
}

#[tokio::test]
async fn reads_keep_a_copy_only_where_one_may_be() {
    for (location, narrowed, kept) in [
        ("global", None, [1, 1, 1]),
        ("single:fra", None, [0, 1, 0]),
        ("dual:fra,iad", None, [0, 1, 1]),
        ("multi:eur", None, [1, 1, 0]),
        ("global", Some("fra"), [0, 1, 0]),
        ("global", Some("multi:eur"), [1, 1, 0]),
    ] {
        let world = World::new();
        let blob = put(&world.of("fra", location, narrowed, None)).await.unwrap();
        for _ in 0..2 {
            for own in REGIONS {
                let store = world.of(own, location, narrowed, None);
                assert_eq!(all(&store, &blob).await.unwrap(), b"some content");
                assert_eq!(suite::read(&store, &blob.id, umbra_core::ByteRange::new(5, 9)).await.unwrap(), b"cont");
                idle(&store).await;
            }
        }
        assert_eq!(world.kept(), kept, "{location} {narrowed:?}");
    }
}

/// What goes on to another region leaves its copy there, or nowhere.
#[tokio::test]
async fn what_is_read_for_another_region_leaves_no_copy_on_the_way() {
    for (region, kept) in [(None, [1, 1, 0]), (Some("ams"), [1, 1, 0]), (Some("iad"), [0, 1, 0])] {
        let world = World::new();
        let blob = put(&world.of("fra", "global", None, None)).await.unwrap();
        let store = world.of("ams", "global", None, region).for_region(region.map(named).as_ref());
        assert_eq!(all(&store, &blob).await.unwrap(), b"some content");
        idle(&store).await;
        assert_eq!(world.kept(), kept, "{region:?}");
        // What it writes is that region's.
        let blob = put(&store).await.unwrap();
        assert_eq!(home(&store, &blob), named(region.unwrap_or("ams")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_home_that_is_down_leaves_it_to_the_next() {
    let world = World::new();
    let store = world.of("fra", "multi:eur", None, None);
    world.engines["fra"].go_away(true);
    // One finds it out, the others know.
    for _ in 0..3 {
        let blob = put(&store).await.unwrap();
        assert_eq!(home(&store, &blob), named("ams"));
    }
    assert_eq!(world.engines["fra"].puts(), 1);
    let blob = stream(&store).await.unwrap();
    assert_eq!(home(&store, &blob), named("ams"));
    // Where there is no other, it is refused, and nothing goes where it may not be.
    let single = world.of("iad", "single:fra", None, None);
    assert_eq!(put(&single).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(stream(&single).await.unwrap_err().kind(), ErrorKind::Unavailable);
    world.engines["ams"].go_away(true);
    assert_eq!(put(&store).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(stream(&store).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.kept(), [4, 0, 0]);
    // It is back: found out without giving it anything.
    world.engines["fra"].go_away(false);
    tokio::time::advance(Duration::from_secs(10)).await;
    let blob = stream(&store).await.unwrap();
    assert_eq!(home(&store, &blob), named("fra"));
}

#[tokio::test]
async fn a_stream_goes_to_a_region_that_answers() {
    let world = World::new();
    let store = world.of("iad", "dual:fra,ams", None, None);
    world.engines["fra"].go_away(true);
    let blob = stream(&store).await.unwrap();
    assert_eq!((home(&store, &blob), world.engines["fra"].created()), (named("ams"), 0));
}

#[tokio::test]
async fn what_has_no_region_is_refused() {
    let world = World::new();
    let store = world.of("fra", "single:moon", None, None);
    assert_eq!(put(&store).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(stream(&store).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.kept(), [0, 0, 0]);
}
