//! semantics.md, "Writing".

use umbra_core::{Entity, ErrorKind, Fault as S3Fault, Matches, Preconditions, Tags};
use umbra_meta::key;
use umbra_shadow::origin::{OriginAttributes, memory::Fault};
use umbra_store::{CreateUpload, DeleteOptions, Integrity, ListSource, Objects, PutOptions};

use crate::world::{World, content, k, kind};

fn insert(world: &World, key: &str, size: usize) {
    world.origin.insert(key, content(size), &OriginAttributes::default());
}

/// "Without write-through: PUT, DELETE, copies and multipart uploads touch only us. DELETE leaves a tombstone, so a cold copy cannot come
/// back; a later PUT replaces the tombstone."
#[tokio::test]
async fn without_write_through_only_we_are_touched() {
    let world = World::attached(false).await;
    insert(&world, "k", 10);
    world.delete("k").await.unwrap();
    assert_eq!(kind(world.get("k").await), ErrorKind::NotFound(Entity::Object));
    assert_eq!(world.rows(key::tombstone_range("")).await, 1);
    let world = world.restarted().await;
    assert_eq!(kind(world.get("k").await), ErrorKind::NotFound(Entity::Object));
    assert_eq!(world.list("", "", 10, ListSource::Merged).await.unwrap(), Vec::<String>::new());
    world.put("k", "new").await.unwrap();
    assert_eq!(world.rows(key::tombstone_range("")).await, 0);
    assert_eq!(world.get("k").await.unwrap(), "new");
    assert_eq!(world.origin.writes(), Vec::<String>::new());
    assert_eq!(world.origin.content("k").unwrap(), content(10));
}

/// "With write-through: the origin first, then here, acknowledged when both hold it."
#[tokio::test]
async fn with_write_through_both_hold_it() {
    let world = World::attached(true).await;
    for size in [0, 1, 4097, 3 * 1024 * 1024] {
        let put = world.put("k", content(size)).await.unwrap();
        assert_eq!(world.origin.content("k").unwrap(), content(size));
        assert_eq!(world.here("k").await.unwrap(), content(size));
        assert_eq!(world.origin.etag("k").unwrap(), put.etag);
        assert_eq!(world.intents().await, 0);
    }
    world.delete("k").await.unwrap();
    assert_eq!((world.origin.content("k"), world.here("k").await), (None, None));
    assert_eq!(world.rows(key::tombstone_range("")).await, 1, "a transfer under way must not bring it back");
    let bucket = world.bucket().await;
    world.put("t", "x").await.unwrap();
    let tags = Tags::new([("a".into(), "b".into())]);
    world.shadow.put_tags(&world.cx, &bucket, &k("t"), None, tags.clone()).await.unwrap();
    assert_eq!(world.native.tags(&world.cx, &bucket, &k("t"), None).await.unwrap().0, tags);
    assert_eq!(world.origin.writes(), ["put k", "put k", "put k", "put k", "delete k", "put t"]);
    assert_eq!(world.intents().await, 0);
}

/// "The origin refuses or fails: the client gets that failure and nothing changes here."
#[tokio::test]
async fn what_the_origin_refuses_changes_nothing() {
    let world = World::attached(true).await;
    world.put("k", "old").await.unwrap();
    for (fault, expected) in [(Fault::Unavailable, ErrorKind::OriginUnavailable), (Fault::Refused, ErrorKind::OriginRefused)] {
        world.origin.fail_next("put", fault.clone());
        assert_eq!(kind(world.put("k", content(100_000)).await), expected);
        world.origin.fail_next("delete", fault);
        assert_eq!(kind(world.delete("k").await), expected);
        assert_eq!(world.get("k").await.unwrap(), "old");
        assert_eq!(world.intents().await, 0);
        assert!(world.blobs.is_empty());
    }
}

/// A body that contradicts its checksum or breaks off never becomes an object at the origin.
#[tokio::test]
async fn a_bad_body_reaches_neither_side() {
    let world = World::attached(true).await;
    for size in [0, 3, 300_000] {
        let integrity = Integrity { content_md5: Some([1; 16]), checksum: None, sealing: None };
        let put = world.put_with("k", content(size), PutOptions { integrity, ..PutOptions::default() }).await;
        assert_eq!(kind(put), ErrorKind::Invalid(S3Fault::BadDigest), "{size}");
        assert_eq!(world.origin.writes(), Vec::<String>::new(), "{size}");
        assert_eq!((world.here("k").await, world.intents().await), (None, 0));
    }
}

/// "Writes to one key are applied to the origin in the order in which they are applied here."
#[tokio::test]
async fn both_sides_end_with_the_same_write() {
    let world = std::sync::Arc::new(World::attached(true).await);
    let tasks: Vec<_> = (0..40_u8)
        .map(|n| {
            let world = world.clone();
            tokio::spawn(async move {
                if n % 5 == 4 {
                    world.delete("k").await.unwrap();
                } else {
                    world.put("k", vec![n; 10 + usize::from(n) * 1000]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.origin.content("k"), world.here("k").await);
    assert_eq!(world.origin.writes().len(), 40);
    assert_eq!(world.intents().await, 0);
}

/// "`If-None-Match: *` and `If-Match` on PUT see a cold object as existing."
#[tokio::test]
async fn conditional_writes_see_cold_objects() {
    for write_through in [false, true] {
        let world = World::attached(write_through).await;
        insert(&world, "cold", 10);
        let with = |preconditions| PutOptions { preconditions, ..PutOptions::default() };
        let absent = || Preconditions { if_none_match: Some(Matches::Any), ..Preconditions::default() };
        let matching = |etag: &str| Preconditions { if_match: Some(Matches::parse(etag)), ..Preconditions::default() };
        let etag = world.origin.etag("cold").unwrap();
        assert_eq!(kind(world.put_with("cold", "x", with(absent())).await), ErrorKind::Precondition);
        assert_eq!(kind(world.put_with("cold", "x", with(matching("other"))).await), ErrorKind::Precondition);
        assert_eq!(kind(world.put_with("none", "x", with(matching("other"))).await), ErrorKind::NotFound(Entity::Object));
        let bucket = world.bucket().await;
        let delete = world
            .shadow
            .delete(&world.cx, &bucket, &k("cold"), DeleteOptions { preconditions: matching("other"), ..DeleteOptions::default() })
            .await;
        assert_eq!(kind(delete), ErrorKind::Precondition);
        assert_eq!(world.origin.writes(), Vec::<String>::new());
        world.put_with("cold", "mine", with(matching(etag.as_str()))).await.unwrap();
        world.put_with("none", "x", with(absent())).await.unwrap();
        assert_eq!(world.get("cold").await.unwrap(), "mine");
        world.delete("cold").await.unwrap();
        world.put_with("cold", "again", with(absent())).await.unwrap();
        world.origin.fail_next("head", Fault::Unavailable);
        assert_eq!(kind(world.put_with("unknown", "x", with(absent())).await), ErrorKind::OriginUnavailable, "absence is never guessed");
    }
}

/// Where the origin judges conditions, a client of its own cannot come between: its 412 is the client's, and nothing changes.
#[tokio::test]
async fn conditions_are_judged_at_the_origin_too() {
    for key in ["cold", "none"] {
        let world = std::sync::Arc::new(World::attached(true).await);
        insert(&world, "cold", 10);
        let gate = world.origin.hold_puts();
        let preconditions = match world.origin.etag(key) {
            Some(etag) => Preconditions { if_match: Some(Matches::parse(etag.as_str())), ..Preconditions::default() },
            None => Preconditions { if_none_match: Some(Matches::Any), ..Preconditions::default() },
        };
        let put = {
            let (world, options) = (world.clone(), PutOptions { preconditions, ..PutOptions::default() });
            tokio::spawn(async move { world.put_with(key, "ours", options).await })
        };
        world.eventually(async || (world.intents().await == 1).then_some(())).await;
        world.origin.insert(key, "theirs", &OriginAttributes::default());
        gate.add_permits(1);
        assert_eq!(kind(put.await.unwrap()), ErrorKind::Precondition);
        assert_eq!((world.origin.content(key).unwrap(), world.here(key).await, world.intents().await), ("theirs".into(), None, 0));
        assert_eq!(world.get(key).await.unwrap(), "theirs");
    }
}

/// What is here counts more than what the origin holds: a write through is not refused because the two differ.
#[tokio::test]
async fn conditions_of_what_is_here_are_judged_here() {
    let world = World::attached(false).await;
    insert(&world, "k", 10);
    insert(&world, "gone", 10);
    let etag = world.put("k", "written before write-through").await.unwrap().etag;
    world.delete("gone").await.unwrap();
    world.attach(true).await;
    let matching = Preconditions { if_match: Some(Matches::ETags(vec![etag])), ..Preconditions::default() };
    let absent = Preconditions { if_none_match: Some(Matches::Any), ..Preconditions::default() };
    for (key, preconditions) in [("k", matching), ("gone", absent)] {
        world.put_with(key, "new", PutOptions { preconditions, ..PutOptions::default() }).await.unwrap();
        assert_eq!((world.here(key).await, world.origin.content(key)), (Some("new".into()), Some("new".into())));
    }
}

/// A write goes on to its end when the client that sent it is gone.
#[tokio::test]
async fn a_client_that_leaves_does_not_stop_a_write_between_the_sides() {
    let world = std::sync::Arc::new(World::attached(true).await);
    for n in 0..50 {
        let name = format!("k{n}");
        let task = {
            let (world, name) = (world.clone(), name.clone());
            tokio::spawn(async move { world.put(&name, content(5000)).await })
        };
        for _ in 0..n {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        assert_eq!(world.origin.content(&name), world.here(&name).await, "{name}");
    }
}

/// An origin that takes `a//b` for `a/b` would have the one replaced by the other.
#[tokio::test]
async fn what_would_reach_another_key_is_refused() {
    let world = World::attached(true).await;
    world.origin.insert("a/b", "theirs", &OriginAttributes::default());
    world.put("a//b", "ours").await.expect("where keys are keys");
    world.origin.fold_paths();
    let world = world.restarted().await;
    let bucket = world.bucket().await;
    let upload = world.shadow.create_upload(&world.cx, &bucket, &k("a//b"), CreateUpload::default()).await;
    for error in [world.put("a//b", "ours").await.map(drop), world.delete("a//b").await, upload.map(drop)] {
        let error = error.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Invalid(S3Fault::InvalidRequest) && error.message().contains("takes keys such as a//b"),
            "{error}"
        );
    }
    assert_eq!(world.origin.content("a/b").unwrap(), "theirs");
    world.put("a/./b", "ours").await.expect("it is not taken for another");
    assert_eq!((world.intents().await, world.origin.open_uploads()), (0, 0));
    assert_eq!(world.origin.keys(), ["a/./b", "a//b", "a/b"]);
}
