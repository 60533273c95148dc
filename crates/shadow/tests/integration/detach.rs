//! semantics.md, "Life of a shadow": detaching.

use std::sync::{Arc, OnceLock};

use umbra_core::{Entity, ErrorKind, Fault as S3Fault, Result, ShadowSettings, SystemClock};
use umbra_meta::{CommitFault, Write, key};
use umbra_shadow::{
    OriginFactory, Shadow, ShadowLimits, ShadowParts,
    origin::{Origin, OriginAttributes, memory::MemoryOrigin},
};
use umbra_store::{Bucket, CreateUpload, DeleteOptions, GetOptions, ListSource, Objects, Secret};

use crate::world::{World, content, k, kind};

/// "It refuses while cold objects remain or repairs are pending, naming how many, unless forced".
#[tokio::test]
async fn the_gate_counts_what_remains() {
    let world = World::attached(true).await;
    for n in 0..5 {
        world.origin.insert(&format!("cold{n}"), "x", &OriginAttributes::default());
    }
    world.get("cold0").await.unwrap();
    world.hydrated("cold0").await;
    world.delete("cold1").await.unwrap();
    let error = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid(S3Fault::InvalidRequest));
    assert!(error.message().starts_with("3 objects"), "{error}");
    for n in 2..5 {
        world.get(&format!("cold{n}")).await.unwrap();
        world.hydrated(&format!("cold{n}")).await;
    }
    world.meta.set(|_, batch| {
        let settles = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")));
        if settles { CommitFault::Unavailable } else { CommitFault::None }
    });
    world.put("half", "x").await.unwrap_err();
    world.meta.heal();
    let error = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
    assert!(error.message().contains("still only at the origin") || error.message().contains("1 repair"), "{error}");
    world.put("half", "x").await.unwrap();
    world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap();
    assert_eq!(world.bucket().await.settings.shadow, None);
}

/// "Detaching (`--clear-shadow`) is final for that generation: from then on no request reads from or writes to the origin."
#[tokio::test]
async fn after_detaching_the_origin_is_left_alone() {
    let world = World::attached(true).await;
    world.origin.insert("cold", "x", &OriginAttributes::default());
    world.put("here", "y").await.unwrap();
    world.delete("gone").await.unwrap();
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    let requests = world.origin.requests();
    assert_eq!(kind(world.get("cold").await), ErrorKind::NotFound(Entity::Object));
    world.put("new", "z").await.unwrap();
    world.delete("here").await.unwrap();
    assert_eq!(world.list("", "", 10, ListSource::Merged).await.unwrap(), ["new"]);
    assert_eq!(world.origin.requests(), requests);
    world.eventually(async || (world.rows(key::tombstone_range("")).await == 0).then_some(())).await;
    assert_eq!(world.rows(key::tombstone_range("")).await, 0);
}

/// "in-flight hydrations either finish before it or leave nothing behind."
#[tokio::test]
async fn hydrations_under_way_leave_nothing_behind() {
    let world = Arc::new(World::attached(false).await);
    world.origin.insert("k", content(12 * 1024 * 1024), &OriginAttributes::default());
    let gate = world.origin.slow_down();
    let reader = world.begin_get("k").await;
    gate.add_permits(150);
    world.eventually(async || (world.rows(key::all_pieces()).await > 0).then_some(())).await;
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    gate.add_permits(10_000);
    let error = reader.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "the server goes on");
    assert!(error.message().contains("shadow was cleared"), "{error}");
    world.eventually(async || world.blobs.is_empty().then_some(())).await;
    assert_eq!((world.here("k").await, world.rows(key::all_pieces()).await), (None, 0));
}

/// A new generation does not inherit the tombstones of the one before.
#[tokio::test]
async fn a_new_generation_begins_anew() {
    let world = World::attached(false).await;
    world.origin.insert("k", "x", &OriginAttributes::default());
    world.delete("k").await.unwrap();
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.attach(false).await;
    assert_eq!(world.list("", "", 10, ListSource::Merged).await.unwrap(), ["k"]);
    assert_eq!(world.get("k").await.unwrap(), "x");
    assert_eq!(world.hydrated("k").await, "x");
}

/// "from then on no request reads from or writes to the origin": nor one that was begun before and comes to it later.
#[tokio::test]
async fn a_request_from_before_does_not_go_there_afterwards() {
    let world = World::attached(true).await;
    world.origin.insert("cold", "x", &OriginAttributes::default());
    world.origin.insert("gone", "x", &OriginAttributes::default());
    let before = world.bucket().await;
    world.delete("gone").await.unwrap();
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.eventually(async || (world.rows(key::tombstone_range("")).await == 0).then_some(())).await;
    let requests = world.origin.requests();
    for key in ["cold", "gone"] {
        let head = world.shadow.head(&world.cx, &before, &k(key), GetOptions::default()).await;
        assert_eq!(kind(head), ErrorKind::Unavailable);
        let deleted = world.shadow.delete(&world.cx, &before, &k(key), DeleteOptions::default()).await;
        assert_eq!(kind(deleted), ErrorKind::Unavailable);
    }
    assert_eq!(world.origin.requests(), requests);
}

/// A listing that was under way does not show what a tombstone hid that the detach took away.
#[tokio::test]
async fn a_listing_under_way_ends_with_the_shadow() {
    let world = Arc::new(World::attached(false).await);
    world.origin.insert("gone", "x", &OriginAttributes::default());
    world.delete("gone").await.unwrap();
    let gate = world.origin.hold_lists();
    let listing = {
        let world = world.clone();
        tokio::spawn(async move { world.list("", "", 10, ListSource::Merged).await })
    };
    world.eventually(async || (world.origin.requests() > 2).then_some(())).await;
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.eventually(async || (world.rows(key::tombstone_range("")).await == 0).then_some(())).await;
    gate.add_permits(1);
    assert_eq!(kind(listing.await.unwrap()), ErrorKind::Unavailable);
}

/// Makes an origin, and finds the shadow cleared meanwhile.
#[derive(Debug)]
struct Overtaken {
    origin: Arc<MemoryOrigin>,
    clears: OnceLock<(Shadow, Arc<Bucket>)>,
}

impl OriginFactory for Overtaken {
    fn origin(&self, _: &ShadowSettings, _: &Secret) -> Result<Arc<dyn Origin>> {
        let (shadow, bucket) = self.clears.get().unwrap();
        shadow.forget(bucket);
        Ok(self.origin.clone())
    }
}

/// An origin that is being made while the shadow is cleared is not used either.
#[tokio::test]
async fn an_origin_made_meanwhile_is_not_used() {
    let world = World::attached(false).await;
    world.origin.insert("cold", "x", &OriginAttributes::default());
    let origins = Arc::new(Overtaken { origin: world.origin.clone(), clears: OnceLock::new() });
    let shadow = Shadow::new(ShadowParts {
        native: world.native.clone(),
        catalog: world.catalog.clone(),
        origins: origins.clone(),
        clock: Arc::new(SystemClock),
        settings: ShadowLimits::default(),
    });
    let (bucket, requests) = (world.bucket().await, world.origin.requests());
    origins.clears.set((shadow.clone(), bucket.clone())).unwrap();
    let head = shadow.head(&world.cx, &bucket, &k("cold"), GetOptions::default()).await;
    assert_eq!((kind(head), world.origin.requests()), (ErrorKind::Unavailable, requests));
}

/// What an origin has open for a bucket ends with the bucket, however that ends; and goes on if the bucket stays.
#[tokio::test]
async fn a_bucket_that_is_deleted_leaves_no_upload_at_the_origin() {
    for force in [false, true] {
        let world = World::attached(true).await;
        let bucket = world.bucket().await;
        world.shadow.create_upload(&world.cx, &bucket, &k("k"), CreateUpload::default()).await.unwrap();
        world.put("here", "x").await.unwrap();
        assert_eq!(world.origin.open_uploads(), 1);
        if !force {
            let refused = world.shadow.delete_bucket(&world.cx, &bucket, false).await;
            assert_eq!((kind(refused), world.origin.open_uploads()), (ErrorKind::Invalid(S3Fault::BucketNotEmpty), 1));
            world.delete("here").await.unwrap();
        }
        world.shadow.delete_bucket(&world.cx, &bucket, force).await.unwrap();
        assert_eq!(world.origin.open_uploads(), 0);
        let requests = world.origin.requests();
        assert_eq!(kind(world.shadow.head(&world.cx, &bucket, &k("cold"), GetOptions::default()).await), ErrorKind::Unavailable);
        assert_eq!(world.origin.requests(), requests, "the origin is left alone");
    }
}

/// Also when a write takes longer than the request can wait: its rows go once it has ended.
#[tokio::test(start_paused = true)]
async fn rows_go_though_a_write_takes_long() {
    let world = Arc::new(World::attached(true).await);
    world.delete("gone").await.unwrap();
    let gate = world.origin.hold_puts();
    let writer = {
        let world = world.clone();
        tokio::spawn(async move { world.put("k", "x").await })
    };
    world.eventually(async || (world.intents().await == 1).then_some(())).await;
    assert_eq!(kind(world.shadow.detach(&world.cx, &*world.bucket().await, true).await), ErrorKind::Unavailable);
    assert_eq!((world.intents().await, world.rows(key::tombstone_range("")).await), (1, 1), "a write in progress still needs them");
    gate.add_permits(1);
    let _ = writer.await.unwrap();
    world.eventually(async || (world.rows(key::tombstone_range("")).await == 0).then_some(())).await;
    assert_eq!(world.intents().await, 0);
}

/// What a cleared shadow left goes, though another one was attached before there was time for it.
#[tokio::test]
async fn rows_of_an_earlier_generation_go_all_the_same() {
    let world = World::attached(false).await;
    for key in ["a", "b"] {
        world.delete(key).await.unwrap();
    }
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.attach(false).await;
    world.delete("b").await.unwrap();
    world.eventually(async || (world.rows(key::tombstone_range("")).await == 1).then_some(())).await;
    // A crash came before: the next start looks for them.
    world.meta.set(|_, batch| {
        let drops = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"s/")));
        if drops { CommitFault::Unavailable } else { CommitFault::None }
    });
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.attach(false).await;
    world.meta.heal();
    world.delete("c").await.unwrap();
    let world = world.restarted().await;
    world.eventually(async || (world.rows(key::tombstone_range("")).await == 1).then_some(())).await;
}

/// "It refuses while … repairs are pending": also one of a write that was under way when it was asked.
#[tokio::test]
async fn a_write_that_ends_badly_meanwhile_is_counted() {
    let world = Arc::new(World::attached(true).await);
    let gate = world.origin.hold_puts();
    let put = {
        let world = world.clone();
        tokio::spawn(async move { world.put("k", "x").await })
    };
    world.eventually(async || (world.intents().await == 1).then_some(())).await;
    let detach = {
        let world = world.clone();
        tokio::spawn(async move { world.shadow.detach(&world.cx, &*world.bucket().await, false).await })
    };
    // Writes are held back from the moment on that the gate stands open.
    world.eventually(async || (kind_of(world.delete("other").await) == Some(ErrorKind::Unavailable)).then_some(())).await;
    world.meta.set(|_, batch| {
        let settles = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")));
        if settles { CommitFault::Unavailable } else { CommitFault::None }
    });
    gate.add_permits(1);
    put.await.unwrap().unwrap_err();
    world.meta.heal();
    let error = detach.await.unwrap().unwrap_err();
    assert!(error.message().starts_with("1 repair is pending"), "{error}");
    world.delete("other").await.unwrap();
}

fn kind_of<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}
