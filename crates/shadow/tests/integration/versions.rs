//! semantics.md, "Writing": versions in a bucket with an origin.

use std::{sync::Arc, time::Duration};

use umbra_core::{ETag, Entity, ErrorKind, Fault, Matches, Preconditions, Result, RetentionMode, VersionId};
use umbra_shadow::{
    AttachRequest,
    origin::{OriginAttributes, memory},
};
use umbra_store::{
    BucketSettings, DefaultRetention, DeleteOptions, Deleted, GetOptions, ListSource, ListVersions, ObjectLockSettings, Objects,
    RetentionPeriod, Versioning,
};

use crate::{
    held_meta::HeldMeta,
    world::{World, content, k, kind},
};

pub(crate) async fn versioned(write_through: bool) -> World {
    let world = World::attached(write_through).await;
    enable(&world).await;
    world
}

pub(crate) async fn enable(world: &World) {
    let change = &mut |settings: &mut BucketSettings| {
        settings.versioning = Versioning::Enabled;
        Ok(())
    };
    world.catalog.update_bucket(&*world.bucket().await, change).await.unwrap();
}

/// Every version, as key, version, and whether it is a delete marker.
pub(crate) async fn versions(world: &World, limit: usize) -> Vec<(String, VersionId, bool)> {
    let (mut shown, mut options) = (Vec::new(), ListVersions { limit, ..ListVersions::default() });
    loop {
        let page = world.shadow.list_versions(&world.cx, &*world.bucket().await, options.clone()).await.unwrap();
        shown.extend(page.versions.iter().map(|listed| (listed.object.key.to_string(), listed.version, listed.is_marker)));
        let Some((key, version)) = page.next else { return shown };
        (options.key_marker, options.version_marker) = (Some(key), version);
    }
}

pub(crate) async fn delete(world: &World, key: &str, version: Option<VersionId>) -> Result<Deleted> {
    let options = DeleteOptions { version, ..DeleteOptions::default() };
    world.shadow.delete(&world.cx, &*world.bucket().await, &k(key), options).await
}

pub(crate) fn of(version: VersionId) -> GetOptions {
    GetOptions { version: Some(version), ..GetOptions::default() }
}

#[tokio::test]
async fn a_cold_object_is_the_null_version_until_it_is_overwritten() {
    let world = versioned(false).await;
    for key in ["a", "b", "c"] {
        world.origin.insert(key, content(10), &OriginAttributes::default());
    }
    let named = world.put("b", content(20)).await.unwrap().version;
    for limit in [1, 2, 1000] {
        let expected = [("a", VersionId::Null), ("b", named), ("c", VersionId::Null)];
        assert_eq!(versions(&world, limit).await, expected.map(|(key, version)| (key.to_owned(), version, false)));
    }
    assert_eq!(world.get_with("a", of(VersionId::Null)).await.unwrap(), content(10));
    assert_eq!(kind(world.get_with("b", of(VersionId::Null)).await), ErrorKind::NotFound(Entity::Version));
    assert_eq!(kind(world.get_with("a", of(named)).await), ErrorKind::NotFound(Entity::Version));
    world.hydrated("a").await;
    assert_eq!(versions(&world, 1000).await[0], ("a".to_owned(), VersionId::Null, false));
}

#[tokio::test]
async fn whatever_is_taken_away_does_not_come_back_from_the_origin() {
    let world = versioned(false).await;
    for key in ["marked", "named", "null"] {
        world.origin.insert(key, content(10), &OriginAttributes::default());
    }
    let marker = delete(&world, "marked", None).await.unwrap();
    assert!(marker.is_marker);
    delete(&world, "marked", marker.version).await.unwrap();
    let named = world.put("named", content(20)).await.unwrap().version;
    delete(&world, "named", Some(named)).await.unwrap();
    delete(&world, "null", Some(VersionId::Null)).await.unwrap();
    for key in ["marked", "named", "null"] {
        assert_eq!(kind(world.get(key).await), ErrorKind::NotFound(Entity::Object), "{key}");
    }
    assert!(versions(&world, 1000).await.is_empty());
    assert!(world.list("", "", 10, ListSource::Merged).await.unwrap().is_empty());
}

/// Also of a time before the shadow, which left no tombstone.
#[tokio::test]
async fn a_delete_marker_hides_what_the_origin_holds() {
    let world = World::bare().await;
    world.origin.insert("k", content(10), &OriginAttributes::default());
    enable(&world).await;
    world.put("k", content(20)).await.unwrap();
    let marker = delete(&world, "k", None).await.unwrap();
    world.attach(false).await;
    assert_eq!(kind(world.get("k").await), ErrorKind::NotFound(Entity::Object));
    assert!(world.list("", "", 10, ListSource::Merged).await.unwrap().is_empty());
    assert_eq!(versions(&world, 1000).await[0], ("k".to_owned(), marker.version.unwrap(), true));
    delete(&world, "k", marker.version).await.unwrap();
    assert_eq!(world.get("k").await.unwrap(), content(20));
}

#[tokio::test]
async fn with_write_through_no_named_version_changes_what_is_current() {
    let world = versioned(true).await;
    let first = world.put("k", content(10)).await.unwrap().version;
    let second = world.put("k", content(20)).await.unwrap().version;
    assert_eq!(kind(delete(&world, "k", Some(second)).await), ErrorKind::Invalid(Fault::InvalidRequest));
    assert_eq!(world.get("k").await.unwrap(), content(20));
    delete(&world, "k", Some(first)).await.unwrap();
    let marker = delete(&world, "k", None).await.unwrap();
    assert!(world.origin.content("k").is_none(), "a plain delete goes through");
    assert_eq!(kind(delete(&world, "k", marker.version).await), ErrorKind::Invalid(Fault::InvalidRequest));
    delete(&world, "k", Some(second)).await.unwrap();
    delete(&world, "k", marker.version).await.unwrap();
    assert!(versions(&world, 1000).await.is_empty());
    assert_eq!(kind(world.get("k").await), ErrorKind::NotFound(Entity::Object));
}

/// A write that the origin applied and nobody was told of, brought here by who reads it or by the repair.
async fn half_done(world: &World, reads: bool) -> VersionId {
    world.origin.fail_next("put", memory::Fault::LoseAnswer);
    assert_eq!(kind(world.put("k", content(30)).await), ErrorKind::Unavailable);
    assert_eq!(world.origin.content("k").unwrap(), content(30));
    if reads {
        assert_eq!(world.get("k").await.unwrap(), content(30));
    } else {
        world.shadow.start().await.unwrap();
    }
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    assert_eq!(world.here("k").await.unwrap(), content(30));
    let newest = versions(world, 1000).await[0].clone();
    assert!(matches!(newest.1, VersionId::Named { .. }) && !newest.2, "{newest:?}");
    newest.1
}

pub(crate) fn shown(versions: &[(VersionId, bool)]) -> Vec<(String, VersionId, bool)> {
    versions.iter().map(|(version, is_marker)| ("k".to_owned(), *version, *is_marker)).collect()
}

#[tokio::test]
async fn a_half_done_write_becomes_a_version_on_top() {
    for reads in [true, false] {
        let world = versioned(true).await;
        let kept = DefaultRetention { mode: RetentionMode::Compliance, period: RetentionPeriod::Days(1) };
        let change = &mut |settings: &mut BucketSettings| {
            Arc::make_mut(&mut settings.extras).object_lock = Some(ObjectLockSettings { default: Some(kept) });
            Ok(())
        };
        world.catalog.update_bucket(&*world.bucket().await, change).await.unwrap();
        let first = world.put("k", content(10)).await.unwrap().version;
        let second = half_done(&world, reads).await;
        assert_eq!(versions(&world, 1000).await, shown(&[(second, false), (first, false)]));
        assert_eq!(world.get_with("k", of(first)).await.unwrap(), content(10));
        assert_eq!(world.get_with("k", of(second)).await.unwrap(), content(30));
        for version in [first, second] {
            let told = world.shadow.head(&world.cx, &*world.bucket().await, &k("k"), of(version)).await.unwrap();
            assert_eq!(told.attributes.lock.retention.unwrap().mode, RetentionMode::Compliance);
        }
        let third = world.put("k", content(40)).await.unwrap().version;
        assert_eq!(versions(&world, 1000).await, shown(&[(third, false), (second, false), (first, false)]));
    }
}

#[tokio::test]
async fn a_half_done_write_over_a_delete_marker_or_a_copy_is_repaired() {
    for reads in [true, false] {
        let world = versioned(true).await;
        world.origin.insert("k", content(10), &OriginAttributes::default());
        world.hydrated_by_reading("k").await;
        let first = half_done(&world, reads).await;
        assert_eq!(versions(&world, 1000).await, shown(&[(first, false), (VersionId::Null, false)]));
        assert_eq!(world.get_with("k", of(VersionId::Null)).await.unwrap(), content(10));
        let marker = delete(&world, "k", None).await.unwrap().version.unwrap();
        let gets = world.origin.gets();
        let second = half_done(&world, reads).await;
        assert_eq!(world.origin.gets(), gets + 1, "it is brought here once");
        let expected = shown(&[(second, false), (marker, true), (first, false), (VersionId::Null, false)]);
        assert_eq!(versions(&world, 1000).await, expected);
    }
}

/// What a PUT has moved behind itself is not what the origin has no more.
#[tokio::test]
async fn a_copy_that_is_overwritten_while_the_origin_is_asked_stays_a_version() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    let request = AttachRequest { revalidate: Some(Duration::from_millis(1)), ..crate::world::request(false) };
    world.shadow.attach(&world.cx, &*world.bucket().await, request).await.unwrap();
    enable(&world).await;
    world.origin.insert("k", content(10), &OriginAttributes::default());
    world.hydrated_by_reading("k").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.origin.remove("k");
    let looked = meta.hold(0, |asked| asked.reads(b"w/"));
    let reader = world.clone();
    let read = tokio::spawn(async move { reader.get("k").await });
    looked.arrived(&world).await;
    let named = world.put("k", content(20)).await.unwrap().version;
    looked.release();
    assert_eq!(read.await.unwrap().unwrap(), content(20));
    assert_eq!(versions(&world, 1000).await, shown(&[(named, false), (VersionId::Null, false)]));
    assert_eq!(world.get_with("k", of(VersionId::Null)).await.unwrap(), content(10));
}

#[tokio::test]
async fn conditions_of_a_delete_are_judged_for_cold_keys_and_markers() {
    let world = versioned(false).await;
    for key in ["cold", "marked"] {
        world.origin.insert(key, content(10), &OriginAttributes::default());
    }
    delete(&world, "marked", None).await.unwrap();
    let other = Preconditions { if_match: Some(Matches::ETags(vec![ETag::parse("other")])), ..Preconditions::default() };
    for (key, version) in [("cold", Some(VersionId::Null)), ("marked", None)] {
        let options = DeleteOptions { version, preconditions: other.clone(), ..DeleteOptions::default() };
        let deleted = world.shadow.delete(&world.cx, &*world.bucket().await, &k(key), options).await;
        assert_eq!(kind(deleted), ErrorKind::Precondition, "{key}");
    }
    assert_eq!(world.get("cold").await.unwrap(), content(10));
}

#[tokio::test]
async fn a_version_that_goes_while_a_page_is_made_is_not_taken_for_the_origins() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.shadow.attach(&world.cx, &*world.bucket().await, crate::world::request(false)).await.unwrap();
    enable(&world).await;
    world.origin.insert("cold", content(10), &OriginAttributes::default());
    let named = world.put("gone", content(20)).await.unwrap().version;
    assert_eq!(versions(&world, 1000).await, [("cold".to_owned(), VersionId::Null, false), ("gone".to_owned(), named, false)]);
    // The current objects are looked at before the versions.
    let looked = meta.hold(0, |asked| asked.reads(b"o/"));
    let lister = world.clone();
    let page = tokio::spawn(async move { versions(&lister, 1000).await });
    looked.arrived(&world).await;
    delete(&world, "gone", Some(named)).await.unwrap();
    looked.release();
    assert_eq!(page.await.unwrap(), [("cold".to_owned(), VersionId::Null, false)]);
}
