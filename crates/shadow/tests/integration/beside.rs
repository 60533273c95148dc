//! semantics.md, "Placement": a node that does not keep buckets with an origin answers reads that its rows alone answer, as the node that does would, and
//! says of all others that they are for that one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use umbra_core::{
    ETag, Elsewhere, ErrorKind, HydratePolicy, ManualClock, Matches, ObjectInfo, PartNumber, Preconditions, RangeSpec, RequestContext,
    SystemClock, Timestamp, VersionId,
};
use umbra_meta::CommitFault;
use umbra_shadow::{AttachRequest, origin::OriginAttributes};
use umbra_store::{Bucket, BucketSettings, CreateUpload, GetOptions, Objects};

use crate::{
    held_meta::{HeldMeta, settles},
    versions::{delete, enable},
    world::{World, content, k, kind},
};

/// What a reader got, as far as it can be compared.
type Got = Result<(ObjectInfo, Option<Bytes>), ErrorKind>;

/// Reads `key` at `node`, of `bucket` as it knows it. `None` where it is said to be for another.
async fn read_of(node: &World, bucket: &Bucket, key: &str, options: &GetOptions) -> Option<(Got, Got)> {
    let cx = RequestContext { elsewhere: Elsewhere::watched(), ..RequestContext::default() };
    let got: Got = async {
        let object = node.shadow.get(&cx, bucket, &k(key), options.clone()).await?;
        Ok((object.info, Some(object.body.collect(usize::MAX).await?)))
    }
    .await
    .map_err(|error: umbra_core::Error| error.kind());
    let told = node.shadow.head(&cx, bucket, &k(key), options.clone()).await.map(|info| (info, None)).map_err(|error| error.kind());
    (!cx.elsewhere.is_said()).then_some((got, told))
}

async fn read(node: &World, key: &str, options: &GetOptions) -> Option<(Got, Got)> {
    read_of(node, &node.catalog.refresh(&crate::world::name()).await.unwrap(), key, options).await
}

/// Holds that `node` answers a read like `leader` does.
async fn same(leader: &World, node: &World, key: &str, options: &GetOptions) -> Got {
    let here = read(node, key, options).await.unwrap_or_else(|| panic!("{key} is not answered here: {options:?}"));
    assert_eq!(Some(&here), read(leader, key, options).await.as_ref(), "{key}: {options:?}");
    let bucket = leader.bucket().await;
    let (cx, version) = (RequestContext::default(), options.version);
    let tags = async |world: &World| world.shadow.tags(&cx, &bucket, &k(key), version).await.map_err(|error| error.kind());
    let acl = async |world: &World| world.shadow.acl(&cx, &bucket, &k(key), version).await.map_err(|error| error.kind());
    assert_eq!(tags(node).await, tags(leader).await);
    assert_eq!(acl(node).await, acl(leader).await);
    here.0
}

/// Holds that `node` leaves everything about `key` to the other.
async fn left(node: &World, key: &str) {
    let options = GetOptions::default();
    assert_eq!(read(node, key, &options).await, None, "{key}");
    let bucket = node.catalog.refresh(&crate::world::name()).await.unwrap();
    for what in ["get", "head", "tags", "acl"] {
        let cx = RequestContext { elsewhere: Elsewhere::watched(), ..RequestContext::default() };
        let kind = match what {
            "get" => kind(node.shadow.get(&cx, &bucket, &k(key), options.clone()).await),
            "head" => kind(node.shadow.head(&cx, &bucket, &k(key), options.clone()).await),
            "tags" => kind(node.shadow.tags(&cx, &bucket, &k(key), None).await),
            _ => kind(node.shadow.acl(&cx, &bucket, &k(key), None).await),
        };
        // Whoever does not look at the sign is told to come again.
        assert_eq!((kind, cx.elsewhere.is_said()), (ErrorKind::Unavailable, true), "{what} {key}");
    }
}

async fn pair(write_through: bool) -> (World, World) {
    let leader = World::attached(write_through).await;
    let follower = leader.follower(Arc::new(SystemClock)).await;
    (leader, follower)
}

async fn hydrate(world: &World, key: &str, bytes: impl Into<Bytes>) {
    world.origin.insert(key, bytes.into(), &OriginAttributes::default());
    world.hydrated_by_reading(key).await;
}

fn of_version(version: VersionId) -> GetOptions {
    GetOptions { version: Some(version), ..GetOptions::default() }
}

#[tokio::test]
async fn what_is_here_is_answered_whoever_is_asked() {
    let (leader, follower) = pair(false).await;
    hydrate(&leader, "hydrated", content(100_000)).await;
    leader.put("written", "inline").await.unwrap();
    leader.put("empty", "").await.unwrap();
    let requests = leader.origin.requests();
    let whole = GetOptions::default();
    for key in ["hydrated", "written", "empty"] {
        let (info, body) = same(&leader, &follower, key, &whole).await.unwrap();
        assert_eq!(body.unwrap().len() as u64, info.size);
        same(&leader, &follower, key, &of_version(VersionId::Null)).await.unwrap();
    }
    let etag = same(&leader, &follower, "hydrated", &whole).await.unwrap().0.etag;
    let range = |first, last| GetOptions { range: Some(RangeSpec::From { first, last }), ..GetOptions::default() };
    assert_eq!(same(&leader, &follower, "hydrated", &range(10, Some(19))).await.unwrap().1.unwrap().len(), 10);
    assert!(matches!(same(&leader, &follower, "hydrated", &range(100_000, None)).await, Err(ErrorKind::Invalid(_))));
    let conditions = |preconditions| GetOptions { preconditions, ..GetOptions::default() };
    let is = |etag: &ETag| Some(Matches::ETags(vec![etag.clone()]));
    let unmodified = conditions(Preconditions { if_none_match: is(&etag), ..Preconditions::default() });
    assert_eq!(same(&leader, &follower, "hydrated", &unmodified).await, Err(ErrorKind::NotModified));
    let other = conditions(Preconditions { if_match: is(&ETag::parse("other")), ..Preconditions::default() });
    assert_eq!(same(&leader, &follower, "hydrated", &other).await, Err(ErrorKind::Precondition));
    let part = |number| GetOptions { part_number: PartNumber::new(number).ok(), ..GetOptions::default() };
    same(&leader, &follower, "hydrated", &part(1)).await.unwrap();
    assert!(matches!(same(&leader, &follower, "hydrated", &part(2)).await, Err(ErrorKind::Invalid(_))));
    assert_eq!(leader.origin.requests(), requests, "nothing was asked of the origin");
}

#[tokio::test]
async fn what_is_not_here_is_left_to_the_other() {
    let (leader, follower) = pair(false).await;
    leader.origin.insert("cold", "cold", &OriginAttributes::default());
    hydrate(&leader, "gone", "gone").await;
    leader.delete("gone").await.unwrap();
    for key in ["cold", "gone", "nowhere"] {
        left(&follower, key).await;
    }
    // Part of it is here.
    let request = AttachRequest { hydrate: Some(HydratePolicy::Touched), ..AttachRequest::default() };
    let in_pieces = leader.in_pieces_of(1024).await;
    in_pieces.shadow.attach(&leader.cx, &*leader.bucket().await, request).await.unwrap();
    leader.origin.insert("parts", content(100_000), &OriginAttributes::default());
    in_pieces.get_range("parts", 0, 10).await.unwrap();
    left(&follower, "parts").await;
}

/// Alive or dead, and whatever it was to do.
#[tokio::test]
async fn a_key_with_an_intent_is_left_to_the_other() {
    for deletes in [false, true] {
        let meta = Arc::new(HeldMeta::default());
        let leader = World::bare_over(meta.clone()).await;
        leader.attach(true).await;
        let follower = leader.follower(Arc::new(SystemClock)).await;
        leader.put("k", "old").await.unwrap();
        same(&leader, &follower, "k", &GetOptions::default()).await.unwrap();
        leader.meta.set(|_, batch| if settles(batch) { CommitFault::Unavailable } else { CommitFault::None });
        assert!(if deletes { leader.delete("k").await.is_err() } else { leader.put("k", "half").await.is_err() });
        leader.meta.heal();
        assert_eq!(leader.intents().await, 1);
        left(&follower, "k").await;
        leader.shadow.start().await.unwrap();
        leader.eventually(async || (leader.intents().await == 0).then_some(())).await;
        if deletes {
            left(&follower, "k").await;
        } else {
            assert_eq!(same(&leader, &follower, "k", &GetOptions::default()).await.unwrap().1.unwrap(), "half");
        }
    }
}

#[tokio::test]
async fn what_may_be_due_for_revalidation_is_left_to_the_other() {
    const INTERVAL: Duration = Duration::from_secs(3600);
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000_000)));
    let leader = World::attached_by(clock.clone()).await;
    let follower = leader.follower(clock.clone()).await;
    let request = AttachRequest { revalidate: Some(INTERVAL), ..AttachRequest::default() };
    leader.shadow.attach(&leader.cx, &*leader.bucket().await, request).await.unwrap();
    hydrate(&leader, "copy", "first").await;
    leader.put("ours", "ours").await.unwrap();
    same(&leader, &follower, "copy", &GetOptions::default()).await.unwrap();
    // The clocks of nodes may be so far apart.
    clock.advance(INTERVAL - Duration::from_secs(301));
    same(&leader, &follower, "copy", &GetOptions::default()).await.unwrap();
    clock.advance(Duration::from_secs(1));
    left(&follower, "copy").await;
    clock.advance(INTERVAL);
    left(&follower, "copy").await;
    same(&leader, &follower, "ours", &GetOptions::default()).await.unwrap();
    // What was found to be outdated is replaced, and then it is young again.
    leader.origin.insert("copy", "second", &OriginAttributes::default());
    leader.eventually(async || (leader.get("copy").await.unwrap() == "second").then_some(())).await;
    leader.eventually(async || read(&follower, "copy", &GetOptions::default()).await.map(drop)).await;
    assert_eq!(same(&leader, &follower, "copy", &GetOptions::default()).await.unwrap().1.unwrap(), "second");
}

/// A request that was judged by settings that are no more is judged again by whoever knows the new ones.
#[tokio::test]
async fn a_bucket_that_changed_is_left_to_the_other() {
    let (leader, follower) = pair(false).await;
    leader.put("k", "k").await.unwrap();
    let then = leader.bucket().await;
    let change = &mut |settings: &mut BucketSettings| settings.set_public(true);
    leader.catalog.update_bucket(&then, change).await.unwrap();
    assert_eq!(read_of(&follower, &then, "k", &GetOptions::default()).await, None);
    same(&leader, &follower, "k", &GetOptions::default()).await.unwrap();
    let then = leader.bucket().await;
    leader.shadow.detach(&leader.cx, &then, true).await.unwrap();
    assert_eq!(read_of(&follower, &then, "k", &GetOptions::default()).await, None);
    same(&leader, &follower, "k", &GetOptions::default()).await.unwrap();
    let then = leader.bucket().await;
    leader.shadow.delete_bucket(&leader.cx, &then, true).await.unwrap();
    let then = Bucket { settings: BucketSettings { shadow: Some(shadowed().await), ..then.settings.clone() }, ..(*then).clone() };
    assert_eq!(read_of(&follower, &then, "k", &GetOptions::default()).await, None);
}

async fn shadowed() -> umbra_core::ShadowSettings {
    World::attached(false).await.bucket().await.settings.shadow.clone().unwrap()
}

/// Between the look at the rows and the opening the object is replaced: the reader gets the one that it looked at, or it is left to the other.
#[tokio::test]
async fn what_changes_while_it_is_served() {
    for is_reclaimed in [false, true] {
        let meta = Arc::new(HeldMeta::default());
        let leader = World::bare_over(meta.clone()).await;
        leader.attach(false).await;
        let follower = Arc::new(leader.follower(Arc::new(SystemClock)).await);
        leader.put("k", content(100_000)).await.unwrap();
        let bucket = leader.bucket().await;
        let stored = leader.native.find(&bucket, &k("k")).await.unwrap().unwrap();
        let looked = meta.hold(0, |asked| asked.reads(b"w/"));
        let (reader, then) = (follower.clone(), bucket.clone());
        let read = tokio::spawn(async move {
            let cx = RequestContext { elsewhere: Elsewhere::watched(), ..RequestContext::default() };
            let got = reader.shadow.get(&cx, &then, &k("k"), GetOptions::default()).await;
            (got.map(|object| object.info.size), cx.elsewhere.is_said())
        });
        looked.arrived(&leader).await;
        leader.put("k", content(70_000)).await.unwrap();
        if is_reclaimed {
            leader.native.blobs().delete(&stored.object.content.extents()[0].blob).await.unwrap();
        }
        looked.release();
        let (size, is_left) = read.await.unwrap();
        if is_reclaimed {
            assert_eq!((kind(size), is_left), (ErrorKind::Unavailable, true));
        } else {
            assert_eq!((size.unwrap(), is_left), (100_000, false));
        }
        assert_eq!(same(&leader, &follower, "k", &GetOptions::default()).await.unwrap().0.size, 70_000);
    }
}

#[tokio::test]
async fn versions_are_answered_by_their_names() {
    let (leader, follower) = pair(false).await;
    hydrate(&leader, "k", "null").await;
    enable(&leader).await;
    same(&leader, &follower, "k", &of_version(VersionId::Null)).await.unwrap();
    let first = leader.put("k", "first").await.unwrap().version;
    let second = leader.put("k", "second").await.unwrap().version;
    for (version, body) in [(first, "first"), (second, "second")] {
        assert_eq!(same(&leader, &follower, "k", &of_version(version)).await.unwrap().1.unwrap(), body);
    }
    assert_eq!(same(&leader, &follower, "k", &GetOptions::default()).await.unwrap().1.unwrap(), "second");
    assert_eq!(read(&follower, "k", &of_version(VersionId::Null)).await, None, "it is behind");
    let marker = delete(&leader, "k", None).await.unwrap().version.unwrap();
    left(&follower, "k").await;
    assert!(same(&leader, &follower, "k", &of_version(marker)).await.is_err());
    assert_eq!(same(&leader, &follower, "k", &of_version(first)).await.unwrap().1.unwrap(), "first");
    delete(&leader, "k", Some(first)).await.unwrap();
    assert!(same(&leader, &follower, "k", &of_version(first)).await.is_err());
}

/// What is counted at any node is counted once.
#[tokio::test]
async fn reads_that_were_answered_beside_are_counted() {
    let (leader, follower) = pair(false).await;
    leader.put("k", content(1000)).await.unwrap();
    let counts = async || leader.shadow.status(&*leader.bucket().await).await.unwrap().unwrap().counts;
    leader.get("k").await.unwrap();
    for _ in 0..3 {
        follower.get("k").await.unwrap();
    }
    follower.shadow.save_counts().await;
    assert_eq!((counts().await.local_reads, counts().await.local_bytes), (4, 4000));
    follower.get("k").await.unwrap();
    follower.shadow.serve_beside();
    leader.eventually(async || (counts().await.local_reads == 5).then_some(())).await;
    let mut metrics = String::new();
    follower.shadow.write_metrics(&mut metrics, true).await.unwrap();
    assert!(!metrics.contains("bucket=\""), "the node that keeps the bucket tells of it: {metrics}");
    // It keeps them itself from now on.
    follower.shadow.start().await.unwrap();
    follower.shadow.write_metrics(&mut metrics, true).await.unwrap();
    assert!(metrics.contains("bucket=\"bucket\""), "{metrics}");
}

/// Writes, listings and everything else never were this node's.
#[tokio::test]
async fn nothing_else_is_answered_beside() {
    let (_leader, follower) = pair(false).await;
    let (cx, bucket) = (RequestContext::default(), follower.bucket().await);
    assert_eq!(kind(follower.put("k", "k").await), ErrorKind::Unavailable);
    assert_eq!(kind(follower.delete("k").await), ErrorKind::Unavailable);
    assert_eq!(kind(follower.shadow.create_upload(&cx, &bucket, &k("k"), CreateUpload::default()).await), ErrorKind::Unavailable);
    assert_eq!(kind(follower.list("", "", 10, umbra_store::ListSource::Merged).await), ErrorKind::Unavailable);
}
