//! semantics.md: "per bucket a revalidation interval can be set (a conditional request to the origin when an unmodified hydrated object is older
//! than that)".

use std::time::Duration;

use umbra_core::{Acl, ErrorKind, Grant, Grantee, HydratePolicy, ObjectInfo, Permission, ReadSource, Result, Tags};
use umbra_meta::key;
use umbra_shadow::{
    AttachRequest, ShadowCounts,
    origin::{OriginAttributes, memory::Fault},
};
use umbra_store::{AclChange, GetOptions, Objects};

use crate::world::{World, content, k, kind};

const HOUR: Duration = Duration::from_secs(3600);
/// So short that it is over whenever a test looks again.
const MOMENT: Duration = Duration::from_millis(1);

async fn world(interval: Duration) -> World {
    let world = World::attached(false).await;
    set(&world, interval).await;
    world
}

async fn set(world: &World, interval: Duration) {
    let request = AttachRequest { revalidate: Some(interval), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &*world.bucket().await, request).await.unwrap();
}

/// A world whose origin has changed an object that is here.
async fn changed(interval: Duration, then: &str) -> World {
    let world = world(interval).await;
    hydrate(&world, "a", "first").await;
    world.origin.insert("a", then.to_owned(), &OriginAttributes::default());
    world
}

async fn hydrate(world: &World, key: &str, content: &'static str) {
    world.origin.insert(key, content, &OriginAttributes::default());
    world.get(key).await.unwrap();
    world.hydrated(key).await;
    // The interval of a test that wants it to be over is over.
    tokio::time::sleep(10 * MOMENT).await;
}

async fn head(world: &World, key: &str) -> Result<ObjectInfo> {
    world.shadow.head(&world.cx, &*world.bucket().await, &k(key), GetOptions::default()).await
}

async fn counts(world: &World) -> ShadowCounts {
    world.shadow.status(&*world.bucket().await).await.unwrap().unwrap().counts
}

#[tokio::test]
async fn without_an_interval_or_within_it_nothing_is_asked() {
    let world = world(HOUR).await;
    hydrate(&world, "a", "first").await;
    let before = world.origin.requests();
    world.origin.insert("a", "second", &OriginAttributes::default());
    assert_eq!(world.get("a").await.unwrap(), "first");
    set(&world, Duration::ZERO).await;
    assert_eq!((world.get("a").await.unwrap(), head(&world, "a").await.unwrap().size), ("first".into(), 5));
    assert_eq!(world.origin.requests(), before);
}

#[tokio::test]
async fn what_is_unchanged_is_asked_once_in_an_interval() {
    let world = world(MOMENT).await;
    hydrate(&world, "a", "first").await;
    let gets = world.origin.gets();
    assert_eq!(world.get("a").await.unwrap(), "first");
    assert!(counts(&world).await.revalidations >= 1);
    set(&world, HOUR).await;
    let before = world.origin.requests();
    for _ in 0..3 {
        assert_eq!(world.get("a").await.unwrap(), "first");
        head(&world, "a").await.unwrap();
    }
    assert_eq!((world.origin.requests(), world.origin.gets()), (before, gets));
    assert_eq!(counts(&world).await.revalidated_changes, 0);
}

#[tokio::test]
async fn a_change_at_the_origin_is_seen_and_brought_here() {
    let world = changed(MOMENT, "second").await;
    assert_eq!(world.get("a").await.unwrap(), "second");
    world.eventually(async || world.here("a").await.filter(|here| here == "second")).await;
    let counts = counts(&world).await;
    assert_eq!((counts.revalidated_changes, counts.hydrated_objects), (1, 2));
    assert_eq!(counts.egress_ratio(), Some(1.0));
}

/// Who may read an object here is said here alone.
#[tokio::test]
async fn what_takes_the_place_of_a_copy_keeps_its_acl() {
    let world = world(MOMENT).await;
    hydrate(&world, "a", "first").await;
    let grants = vec![Grant { grantee: Grantee::Everyone, permission: Permission::Read }];
    let acl = Some(Acl { owner: "acme".to_owned(), grants });
    let bucket = world.bucket().await;
    world.shadow.put_acl(&world.cx, &bucket, &k("a"), None, AclChange::to(acl.clone())).await.unwrap();
    world.origin.insert("a", "second", &OriginAttributes::default());
    assert_eq!(world.get("a").await.unwrap(), "second");
    world.eventually(async || world.here("a").await.filter(|here| here == "second")).await;
    assert_eq!(world.shadow.acl(&world.cx, &bucket, &k("a"), None).await.unwrap(), acl);
}

#[tokio::test]
async fn a_head_tells_of_the_change_and_brings_it_here() {
    let world = changed(MOMENT, "the second").await;
    let told = head(&world, "a").await.unwrap();
    assert_eq!((told.size, &told.etag, told.source), (10, &world.origin.etag("a").unwrap(), ReadSource::Origin));
    world.eventually(async || world.here("a").await.filter(|here| here == "the second")).await;
}

#[tokio::test]
async fn readers_at_once_ask_once() {
    let world = changed(MOMENT, "second").await;
    set(&world, Duration::from_millis(500)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let reads = futures::future::join_all((0..20).map(|_| world.get("a"))).await;
    assert!(reads.into_iter().all(|read| read.unwrap() == "second"));
    world.eventually(async || world.here("a").await.filter(|here| here == "second")).await;
    let counts = counts(&world).await;
    assert_eq!((counts.revalidated_changes, world.origin.gets()), (1, 2));
}

#[tokio::test]
async fn a_write_here_always_wins() {
    let size = 300 * 1024;
    for deletes in [false, true] {
        let world = world(MOMENT).await;
        hydrate(&world, "a", "first").await;
        world.origin.insert("a", content(size), &OriginAttributes::default());
        let gate = world.origin.slow_down();
        let read = world.get("a");
        let write = async {
            world.eventually(async || (world.origin.gets() == 2).then_some(())).await;
            if deletes {
                world.delete("a").await.unwrap()
            } else {
                drop(world.put("a", "ours").await.unwrap())
            }
            gate.add_permits(1000);
        };
        let (read, ()) = futures::join!(read, write);
        assert_eq!(read.unwrap(), content(size), "whoever had begun gets what the origin held");
        world.eventually(async || (counts(&world).await.discarded_copies == 1).then_some(())).await;
        if deletes {
            assert!(matches!(kind(world.get("a").await), ErrorKind::NotFound(_)));
        } else {
            let before = world.origin.requests();
            tokio::time::sleep(10 * MOMENT).await;
            assert_eq!(world.get("a").await.unwrap(), "ours");
            assert_eq!(world.origin.requests(), before, "what was written here is not asked about");
        }
    }
}

#[tokio::test]
async fn what_is_gone_there_is_gone_here() {
    let world = world(MOMENT).await;
    hydrate(&world, "a", "first").await;
    world.origin.remove("a");
    assert!(matches!(kind(head(&world, "a").await), ErrorKind::NotFound(_)));
    assert!(matches!(kind(world.get("a").await), ErrorKind::NotFound(_)));
    assert_eq!(world.here("a").await, None);
    // It is the origin's again if the origin has it again.
    world.origin.insert("a", "third", &OriginAttributes::default());
    assert_eq!(world.get("a").await.unwrap(), "third");
}

#[tokio::test]
async fn an_origin_that_does_not_answer_changes_nothing() {
    let world = changed(MOMENT, "second").await;
    for fault in [Fault::Unavailable, Fault::Refused] {
        world.origin.fail_next("revalidate", fault);
        assert_eq!(world.get("a").await.unwrap(), "first");
        tokio::time::sleep(10 * MOMENT).await;
    }
    // It says that there is something new, and then cannot give it.
    world.origin.fail_next("get", Fault::Unavailable);
    assert_eq!(world.get("a").await.unwrap(), "first");
    tokio::time::sleep(10 * MOMENT).await;
    world.origin.fail_next("head", Fault::Refused);
    world.origin.fail_next("get", Fault::Unavailable);
    assert_eq!(head(&world, "a").await.unwrap().size, 5);
    assert_eq!(world.here("a").await.unwrap(), "first");
    world.eventually(async || (world.get("a").await.unwrap() == "second").then_some(())).await;
}

/// What was brought in the place of an outdated copy, and could not take it at once, does so after a restart without leaving the origin again.
#[tokio::test]
async fn what_was_brought_in_the_place_of_a_copy_survives_a_restart() {
    let world = world(MOMENT).await;
    hydrate(&world, "a", "first").await;
    let tags = Tags::new([("a".to_owned(), "b".to_owned())]);
    world.origin.insert("a", "second", &OriginAttributes { tags, ..OriginAttributes::default() });
    world.origin.fail_next("tags", Fault::Unavailable);
    assert_eq!(world.get("a").await.unwrap(), "second");
    world.eventually(async || (world.rows(key::all_pieces()).await == 2).then_some(())).await;
    let bytes = world.origin.bytes();
    let world = world.restarted().await;
    world.eventually(async || world.here("a").await.filter(|here| here == "second")).await;
    assert_eq!((world.origin.bytes(), world.rows(key::all_pieces()).await), (bytes, 0));
}

/// What was found out counts only while it is asked for, and for the shadow it was found out in: an object that is here stays readable.
#[tokio::test]
async fn what_is_known_to_be_outdated_is_forgotten_with_the_interval() {
    let world = world(MOMENT).await;
    let touched = AttachRequest { hydrate: Some(HydratePolicy::Touched), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &*world.bucket().await, touched).await.unwrap();
    hydrate(&world, "a", "first").await;
    world.origin.insert("a", "the second", &OriginAttributes::default());
    assert_eq!(head(&world, "a").await.unwrap().size, 10);
    let outdated = world.bucket().await;
    set(&world, Duration::ZERO).await;
    world.origin.remove("a");
    let requests = world.origin.requests();
    assert_eq!(world.get("a").await.unwrap(), "first");
    assert_eq!((head(&world, "a").await.unwrap().size, world.origin.requests()), (5, requests));
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.attach(false).await;
    assert_ne!(world.bucket().await.settings.generation, outdated.settings.generation);
    assert_eq!(world.get("a").await.unwrap(), "first");
}
