//! semantics.md, "Life of a shadow": attaching and changing.

use std::{sync::Arc, time::Duration};

use umbra_core::{Body, ErrorKind, Fault as S3Fault, HydratePolicy, Money, PartNumber};
use umbra_meta::{CommitFault, key};
use umbra_shadow::{
    AttachRequest, JobKind,
    origin::{
        OriginAttributes,
        memory::{Fault, MemoryOrigin},
    },
};
use umbra_store::{
    BucketSettings, CompleteUpload, CompletedPart, CreateUpload, GetOptions, Integrity, ListSource, Objects, PartAddress, PutOptions,
    Secret,
};

use crate::world::{World, content, k, kind, name, request};

/// "Attach at bucket creation or to an existing bucket, whether or not it holds objects: objects already here win over the origin's of the
/// same key."
#[tokio::test]
async fn objects_already_here_win() {
    let world = World::bare().await;
    world.put("both", "ours").await.unwrap();
    world.origin.insert("both", "theirs", &OriginAttributes::default());
    world.origin.insert("cold", "theirs", &OriginAttributes::default());
    world.attach(false).await;
    assert_eq!(world.get("both").await.unwrap(), "ours");
    assert_eq!(world.get("cold").await.unwrap(), "theirs");
}

/// "Attaching probes the origin (list, read; write and delete when write-through is asked for) and refuses, saying which right is missing".
#[tokio::test]
async fn a_missing_right_is_named() {
    for (doing, write_through, says) in
        [("list", false, "list"), ("head", false, "read"), ("put", true, "write"), ("delete", true, "delete")]
    {
        let world = World::bare().await;
        world.origin.fail_next(doing, Fault::Refused);
        let error = world.shadow.attach(&world.cx, &*world.bucket().await, request(write_through)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid(S3Fault::InvalidRequest));
        assert!(error.message().contains(says), "{error}");
        assert_eq!(world.bucket().await.settings.shadow, None);
    }
    let world = World::bare().await;
    world.origin.fail_next("list", Fault::Unavailable);
    assert_eq!(kind(world.shadow.attach(&world.cx, &*world.bucket().await, request(false)).await), ErrorKind::OriginUnavailable);
    assert_eq!(world.origin.writes(), Vec::<String>::new(), "without write-through the origin is never written");
}

/// "It refuses while cold objects remain": another bucket of the origin in place of this one would forget them without asking.
#[tokio::test]
async fn another_bucket_of_the_origin_needs_a_detach_first() {
    let world = World::attached(false).await;
    world.origin.insert("cold", "x", &OriginAttributes::default());
    let another = AttachRequest { bucket: Some("another".into()), ..AttachRequest::default() };
    let error = world.shadow.attach(&world.cx, &*world.bucket().await, another.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid(S3Fault::InvalidRequest));
    assert!(error.message().contains("clear that shadow before it shadows another"), "{error}");
    assert_eq!(world.get("cold").await.unwrap(), "x");
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.shadow.attach(&world.cx, &*world.bucket().await, AttachRequest { bucket: another.bucket, ..request(false) }).await.unwrap();
}

/// "Settings can change one at a time (credentials rotated alone, write-through toggled alone) without retyping the rest."
#[tokio::test]
async fn settings_change_one_at_a_time() {
    let world = World::attached(false).await;
    let before = world.bucket().await.settings.clone();
    let toggle = AttachRequest { write_through: Some(true), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &*world.bucket().await, toggle).await.unwrap();
    let rotate = AttachRequest { access_key: Some("key2".into()), secret_key: Some(Secret::new("secret2")), ..AttachRequest::default() };
    let after = world.shadow.attach(&world.cx, &*world.bucket().await, rotate).await.unwrap().settings.clone();
    let (before_shadow, after_shadow) = (before.shadow.unwrap(), after.shadow.unwrap());
    assert_eq!((after_shadow.access_key.as_str(), after_shadow.write_through), ("key2", true));
    assert_eq!((after_shadow.endpoint, after_shadow.bucket), (before_shadow.endpoint, before_shadow.bucket));
    assert_eq!(after.generation, before.generation, "the same shadow");
    world.origin.fail_next("list", Fault::Unavailable);
    let own = AttachRequest {
        hydrate: Some(HydratePolicy::Touched),
        revalidate: Some(Duration::from_secs(60)),
        price_per_gb: Some(Money { micros: 90_000 }),
        ..AttachRequest::default()
    };
    let own = world.shadow.attach(&world.cx, &*world.bucket().await, own).await.expect("what is ours alone is not asked of the origin");
    let own = own.settings.shadow.clone().unwrap();
    assert_eq!((own.hydrate, own.revalidate), (HydratePolicy::Touched, Some(Duration::from_secs(60))));
    assert_eq!((own.price_per_gb, own.access_key.as_str()), (Some(Money { micros: 90_000 }), "key2"));
    let off = AttachRequest { revalidate: Some(Duration::ZERO), price_per_gb: Some(Money::default()), ..AttachRequest::default() };
    let off = world.shadow.attach(&world.cx, &*world.bucket().await, off).await.unwrap().settings.shadow.clone().unwrap();
    assert_eq!((off.hydrate, off.revalidate, off.price_per_gb), (HydratePolicy::Touched, None, None));
    let world = World::bare().await;
    let toggle = AttachRequest { write_through: Some(true), ..AttachRequest::default() };
    assert_eq!(kind(world.shadow.attach(&world.cx, &*world.bucket().await, toggle).await), ErrorKind::Invalid(S3Fault::InvalidArgument));
}

/// What was allowed on a bucket is not done to another that has its name by the time the origin has answered.
#[tokio::test]
async fn a_slow_probe_does_not_attach_to_another_bucket_of_the_name() {
    let world = Arc::new(World::bare().await);
    let (before, gate, requests) = (world.bucket().await, world.origin.hold_lists(), world.origin.requests());
    let attaching = {
        let (world, bucket) = (world.clone(), before.clone());
        tokio::spawn(async move { world.shadow.attach(&world.cx, &bucket, request(false)).await })
    };
    world.eventually(async || (world.origin.requests() > requests).then_some(())).await;
    world.catalog.delete_bucket(&before).await.unwrap();
    world.catalog.ensure_organization("other").await.unwrap();
    world.catalog.create_bucket(&name(), "other", BucketSettings::default()).await.unwrap();
    gate.add_permits(10);
    assert_eq!(kind(attaching.await.unwrap()), ErrorKind::Conflict);
    assert_eq!(world.bucket().await.settings.shadow, None);
    for error in [
        world.shadow.attach(&world.cx, &before, request(false)).await.unwrap_err(),
        world.shadow.detach(&world.cx, &before, true).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
}

/// An origin changed for another in place: what was under way from the old one ends, and nothing begins there any more.
#[tokio::test]
async fn another_origin_ends_what_the_old_one_was_asked() {
    let world = Arc::new(World::attached(false).await);
    world.origin.insert("k", content(12 * 1024 * 1024), &OriginAttributes::default());
    let (before, gate) = (world.bucket().await, world.origin.slow_down());
    let reader = world.begin_get("k").await;
    gate.add_permits(150);
    world.eventually(async || (world.rows(key::all_pieces()).await > 0).then_some(())).await;
    let other = AttachRequest { endpoint: Some("https://other.example".into()), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &before, other).await.unwrap();
    world.origin.insert("k", "new", &OriginAttributes::default());
    gate.add_permits(10_000);
    assert_eq!(kind(reader.await.unwrap()), ErrorKind::Unavailable);
    world.eventually(async || world.blobs.is_empty().then_some(())).await;
    let requests = world.origin.requests();
    assert_eq!(kind(world.shadow.head(&world.cx, &before, &k("k"), GetOptions::default()).await), ErrorKind::Unavailable);
    assert_eq!(world.origin.requests(), requests, "a request from before does not go to the old origin");
    assert_eq!(world.get("k").await.unwrap(), "new");
}

/// What a probe left behind at the origin is nobody's object: it is in no listing, and detaching does not wait for it.
#[tokio::test]
async fn what_a_probe_left_is_hidden() {
    let world = World::bare().await;
    world.origin.fail_next("delete", Fault::Refused);
    world.shadow.attach(&world.cx, &*world.bucket().await, request(true)).await.unwrap_err();
    assert_eq!(world.origin.keys().len(), 1, "it is there");
    world.attach(false).await;
    for delimiter in ["", "/"] {
        assert_eq!(world.list("", delimiter, 10, ListSource::Merged).await.unwrap(), Vec::<String>::new());
    }
    world.run(JobKind::Inventory).await;
    assert_eq!(world.cold().await, (0, 0));
    world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap();
}

const ELSEWHERE: &str = "https://elsewhere.example";

fn moved(endpoint: &str) -> AttachRequest {
    AttachRequest { endpoint: Some(endpoint.into()), ..AttachRequest::default() }
}

/// Another endpoint in place has to lead to the same bucket, which both are asked to show.
#[tokio::test]
async fn an_endpoint_changes_only_for_one_of_the_same_bucket() {
    for write_through in [false, true] {
        let world = World::attached(write_through).await;
        world.origin.insert("k", "x", &OriginAttributes::default());
        let other = Arc::new(MemoryOrigin::default());
        world.origin.lead_elsewhere(ELSEWHERE, &other);
        for theirs in [None, Some("another"), Some("x")] {
            if let Some(theirs) = theirs {
                // A copy made later is no more the same bucket than any other.
                other.insert("k", theirs, &OriginAttributes::default());
                other.alter("k", |info| info.last_modified = info.last_modified.plus(Duration::from_secs(3600)));
            }
            let error = world.shadow.attach(&world.cx, &*world.bucket().await, moved(ELSEWHERE)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid(S3Fault::InvalidRequest));
            assert!(error.message().contains("is not the bucket") && error.message().contains("--clear-shadow"), "{error}");
        }
        assert_eq!((other.writes(), world.get("k").await.unwrap()), (Vec::new(), "x".into()));
        let bucket = world.shadow.attach(&world.cx, &*world.bucket().await, moved("https://same.example")).await.unwrap();
        assert_eq!(bucket.settings.shadow.as_ref().unwrap().endpoint, "https://same.example");
        assert_eq!(world.origin.keys(), ["k"], "nothing stays behind there");
    }
}

/// A bucket that holds the beginning of what the other does is another: what it lacks would be gone.
#[tokio::test]
async fn a_bucket_that_lacks_something_is_not_the_same() {
    let world = World::attached(false).await;
    let less = Arc::new(MemoryOrigin::default());
    let key = |n: usize| format!("k{n:04}");
    for n in 0..1100 {
        world.origin.insert(&key(n), "x", &OriginAttributes::default());
    }
    world.origin.lead_elsewhere(ELSEWHERE, &less);
    let attach = async || world.shadow.attach(&world.cx, &*world.bucket().await, moved(ELSEWHERE)).await;
    for n in 0..1099 {
        less.insert(&key(n), "x", &OriginAttributes::default());
        if [0, 500, 998].contains(&n) {
            assert!(attach().await.unwrap_err().message().contains("is not the bucket"), "{n}");
        }
    }
    // Beyond what both list first the inventory tells.
    world.run(JobKind::Inventory).await;
    assert!(attach().await.unwrap_err().message().contains("is not the bucket"));
    less.insert(&key(1099), "x", &OriginAttributes::default());
    attach().await.unwrap();
}

/// An endpoint that does not answer any more is replaced by one that holds what was listed.
#[tokio::test]
async fn an_endpoint_that_is_gone_is_replaced_by_what_was_listed() {
    for write_through in [false, true] {
        let world = World::attached(write_through).await;
        world.origin.insert("k", "x", &OriginAttributes::default());
        let attach = async || world.shadow.attach(&world.cx, &*world.bucket().await, moved(ELSEWHERE)).await;
        // At the new address the same objects, and at the old one nobody.
        let same = Arc::new(MemoryOrigin::default());
        same.insert("k", "x", &OriginAttributes::default());
        world.origin.lead_elsewhere(ELSEWHERE, &same);
        let gone =
            |times: usize| (0..times).for_each(|_| world.origin.fail_next(if write_through { "put" } else { "list" }, Fault::Unavailable));
        gone(1);
        let error = attach().await.unwrap_err();
        assert!(error.message().contains("https://old.example does not answer"), "{error}");
        world.run(JobKind::Inventory).await;
        same.insert("k", "changed", &OriginAttributes::default());
        gone(1);
        assert_eq!(kind(attach().await), ErrorKind::Invalid(S3Fault::InvalidRequest));
        same.insert("k", "x", &OriginAttributes::default());
        gone(1);
        attach().await.unwrap();
    }
}

/// A write that began to go to the old address ends, for nobody would know which one it reached.
#[tokio::test]
async fn writes_do_not_outlast_a_change_of_the_endpoint() {
    let world = Arc::new(World::attached(true).await);
    // One of which the origin has the whole, and one that is still being sent here.
    let gate = world.origin.hold_put("whole");
    let whole = tokio::spawn({
        let world = world.clone();
        async move { world.put("whole", "x").await }
    });
    world.eventually(async || (world.intents().await == 1).then_some(())).await;
    let (chunks, body) = tokio::sync::mpsc::channel(1);
    let sent = tokio::spawn({
        let world = world.clone();
        let body = Body::new(Some(2), futures::stream::unfold(body, async |mut body| Some((body.recv().await?, body))));
        async move { world.shadow.put(&world.cx, &*world.bucket().await, &k("sent"), body, PutOptions::default()).await }
    });
    chunks.send(Ok("a".into())).await.unwrap();
    let (bucket, change) = (world.bucket().await, moved("https://same.example"));
    let moving = tokio::spawn({
        let world = world.clone();
        async move { world.shadow.attach(&world.cx, &bucket, change).await }
    });
    world.eventually(async || world.put("late", "x").await.err()).await;
    assert_eq!(world.bucket().await.settings.shadow.as_ref().unwrap().endpoint, "https://old.example", "the write is waited for");
    gate.add_permits(1);
    moving.await.unwrap().unwrap();
    whole.await.unwrap().unwrap();
    assert_eq!((world.origin.content("whole").unwrap(), world.here("whole").await.unwrap()), ("x".into(), "x".into()));
    chunks.send(Ok("b".into())).await.unwrap();
    drop(chunks);
    assert_eq!(kind(sent.await.unwrap()), ErrorKind::Unavailable);
    assert_eq!((world.origin.content("sent"), world.here("sent").await, world.intents().await), (None, None, 0));
    world.put("sent", "again").await.unwrap();
    assert_eq!(world.origin.content("sent").unwrap(), "again");
}

/// Half-done writes and open uploads need no more than the same bucket: they go on at its new address, also when the old one is gone for good.
#[tokio::test]
async fn what_is_half_done_goes_on_at_another_endpoint() {
    let world = World::attached(true).await;
    let upload = world.shadow.create_upload(&world.cx, &*world.bucket().await, &k("parts"), CreateUpload::default()).await.unwrap();
    world.meta.fail_after(1, CommitFault::Unavailable);
    world.put("k", "there").await.unwrap_err();
    world.meta.heal();
    assert_eq!((world.here("k").await, world.origin.content("k").unwrap()), (None, "there".into()));
    world.shadow.attach(&world.cx, &*world.bucket().await, moved("https://same.example")).await.unwrap();
    let bucket = world.bucket().await;
    assert_eq!(world.get("k").await.unwrap(), "there");
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    assert_eq!(world.here("k").await.unwrap(), "there");
    let number = PartNumber::new(1).unwrap();
    let address = PartAddress { key: &k("parts"), upload: &upload, number };
    let stored = world.shadow.put_part(&world.cx, &bucket, address, Body::from_bytes("whole"), Integrity::default()).await.unwrap();
    let parts = vec![CompletedPart { number, etag: stored.etag, checksum: None }];
    let options = CompleteUpload { parts, ..CompleteUpload::default() };
    world.shadow.complete_upload(&world.cx, &bucket, &k("parts"), &upload, options).await.unwrap();
    assert_eq!((world.origin.content("parts"), world.here("parts").await), (Some("whole".into()), Some("whole".into())));
}
