//! semantics.md, "Moving the rest": what the status tells, and what that costs.

use std::collections::BTreeSet;

use umbra_core::{BucketName, ErrorKind, Fault as S3Fault, Tags};
use umbra_meta::key;
use umbra_shadow::{
    HealthVerdict, ShadowStatus, UncarriedReason, metrics,
    origin::{OriginAttributes, Uncarried, memory::Fault},
};
use umbra_store::{BucketSettings, DeleteOptions, GetOptions, ListSource, Objects};

use crate::world::{World, content, k, kind, request};

async fn status(world: &World) -> ShadowStatus {
    world.shadow.status(&*world.bucket().await).await.unwrap().unwrap()
}

/// "Counts survive restarts."
#[tokio::test]
async fn counts_survive_restarts() {
    let mut world = World::attached(false).await;
    let (size, rounds) = (300 * 1024, 3);
    for round in 1..=rounds {
        let key = format!("cold-{round}");
        world.origin.insert(&key, content(size), &OriginAttributes::default());
        world.get(&key).await.unwrap();
        world.hydrated(&key).await;
        world.get(&key).await.unwrap();
        if round == 2 {
            // In the middle of a run too, what was saved is not counted again.
            world.shadow.save_counts().await;
            world.shadow.save_counts().await;
        }
        let before = status(&world).await.counts;
        world.shadow.shutdown().await;
        world = world.restarted().await;
        let counts = status(&world).await.counts;
        assert_eq!(counts, before, "round {round}");
        assert_eq!((counts.hydrated_objects, counts.hydrated_bytes, counts.moved_bytes), (round, round * size as u64, round * size as u64));
        assert_eq!((counts.origin_gets, counts.origin_bytes), (round, round * size as u64));
        assert_eq!((counts.local_reads, counts.local_bytes), (round, round * size as u64));
        assert_eq!((counts.cold_reads, counts.cold_bytes), (round, round * size as u64));
        assert_eq!((counts.egress_ratio(), counts.saved_bytes()), (Some(1.0), round * size as u64));
    }
}

/// What nobody does is not written either.
#[tokio::test]
async fn counts_that_do_not_change_are_not_written() {
    let world = World::attached(false).await;
    world.shadow.save_counts().await;
    let before = world.meta.commits();
    world.shadow.save_counts().await;
    assert_eq!(world.meta.commits(), before);
    world.get("absent").await.unwrap_err();
    world.shadow.save_counts().await;
    assert_eq!(world.meta.commits(), before + 1);
}

/// A generation begins at nothing, and what an earlier one counted is dropped.
#[tokio::test]
async fn a_generation_counts_for_itself() {
    let world = World::attached(false).await;
    world.origin.insert("a", content(1000), &OriginAttributes::default());
    world.get("a").await.unwrap();
    world.hydrated("a").await;
    world.origin.insert("frozen", "x", &OriginAttributes::default());
    world.origin.fail_next("get", Fault::Archived);
    world.get("frozen").await.unwrap_err();
    world.shadow.save_counts().await;
    let old = world.bucket().await;
    assert!(world.rows(key::counter_range("shadow/")).await > 0 && world.rows(key::uncarried_range("")).await == 1);
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.eventually(async || (world.rows(key::counter_range("shadow/")).await == 0).then_some(())).await;
    assert_eq!(world.rows(key::uncarried_range("")).await, 0);
    // A request that still works with the earlier generation counts for nobody.
    let late = async || drop(world.shadow.head(&world.cx, &old, &k("b"), GetOptions::default()).await);
    late().await;
    world.shadow.save_counts().await;
    let mut metrics = String::new();
    world.shadow.write_metrics(&mut metrics, true).await.unwrap();
    assert!(metrics.contains("umbra_shadow_buckets 0\n"), "{metrics}");
    assert_eq!(world.rows(key::counter_range("shadow/")).await, 0);
    world.attach(false).await;
    late().await;
    let status = status(&world).await;
    assert_eq!((status.generation, status.counts.origin_bytes, status.counts.hydrated_objects), (3, 0, 0));
    assert_eq!((status.counts.origin_heads, status.uncarried), (0, vec![]));
}

/// Readers that share a transfer are told apart from bytes that left the origin.
#[tokio::test]
async fn shared_reads_are_spared_the_origin() {
    let world = World::attached(false).await;
    let size = 200 * 1024;
    world.origin.insert("a", content(size), &OriginAttributes::default());
    let gate = world.origin.slow_down();
    let reads = async { futures::join!(world.get("a"), world.get("a"), world.get("a")) };
    let open = async {
        world.eventually(async || (world.origin.gets() == 1).then_some(())).await;
        gate.add_permits(1000);
    };
    let ((a, b, c), ()) = futures::join!(reads, open);
    assert!(a.unwrap() == b.unwrap() && c.is_ok());
    let counts = status(&world).await.counts;
    assert_eq!(counts.origin_bytes, size as u64);
    assert_eq!(counts.cold_bytes + counts.local_bytes, 3 * size as u64);
    assert_eq!(counts.saved_bytes(), 2 * size as u64);
}

/// Requests are counted by kind.
#[tokio::test]
async fn requests_are_counted_by_kind() {
    let world = World::attached(true).await;
    world.put("a", "content").await.unwrap();
    world.list("", "", 100, ListSource::Merged).await.unwrap();
    world.origin.insert("cold", "content", &OriginAttributes::default());
    world.shadow.head(&world.cx, &*world.bucket().await, &k("cold"), GetOptions::default()).await.unwrap();
    world.shadow.tags(&world.cx, &*world.bucket().await, &k("cold"), None).await.unwrap();
    world.get("cold").await.unwrap();
    world.hydrated("cold").await;
    world.shadow.delete(&world.cx, &*world.bucket().await, &k("a"), DeleteOptions::default()).await.unwrap();
    let counts = status(&world).await.counts;
    assert_eq!((counts.origin_puts, counts.origin_lists, counts.origin_tags, counts.origin_gets), (1, 1, 1, 1));
    assert_eq!((counts.origin_deletes, counts.origin_multiparts), (1, 0));
    assert!(counts.origin_heads >= 1);
}

/// "Archived origin objects answer InvalidObjectState; they show in the status."
#[tokio::test]
async fn archived_objects_are_listed_until_they_are_here() {
    let world = World::attached(false).await;
    let keys: Vec<_> = (0..5).map(|n| format!("frozen-{n}")).collect();
    for key in &keys {
        world.origin.insert(key, "ice", &OriginAttributes::default());
        for _ in 0..2 {
            world.origin.fail_next("get", Fault::Archived);
            assert_eq!(kind(world.get(key).await), ErrorKind::Invalid(S3Fault::InvalidObjectState));
        }
    }
    let world = world.restarted().await;
    let summary = status(&world).await.uncarried;
    assert_eq!(summary.len(), 1);
    assert_eq!((summary[0].reason, summary[0].objects, summary[0].keys.len()), (UncarriedReason::Archived, 5, 3));

    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = world.shadow.uncarried(&*world.bucket().await, after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2 && page.iter().all(|object| object.reasons == [UncarriedReason::Archived]));
        seen.extend(page.into_iter().map(|object| object.key.to_string()));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, keys);

    // Thawed and read, overwritten, deleted: what is here, or gone, is not missing any more.
    world.get("frozen-0").await.unwrap();
    world.hydrated("frozen-0").await;
    world.put("frozen-1", "new").await.unwrap();
    world.delete("frozen-2").await.unwrap();
    let summary = status(&world).await.uncarried;
    assert_eq!((summary[0].objects, summary[0].keys.clone()), (2, vec![k("frozen-3"), k("frozen-4")]));
    assert_eq!(world.rows(key::uncarried_range("")).await, 2);
}

/// What came along without a part of itself stays listed while it is the origin's object; whoever sees it first notes it.
#[tokio::test]
async fn what_was_left_behind_of_an_object_is_told() {
    let world = World::attached(false).await;
    for key in ["held", "seen"] {
        world.origin.insert(key, "content", &OriginAttributes::default());
    }
    world.origin.set_uncarried("seen", vec![Uncarried::LegalHold]);
    world.shadow.head(&world.cx, &*world.bucket().await, &k("seen"), GetOptions::default()).await.unwrap();
    world.origin.set_uncarried("held", vec![Uncarried::Acl, Uncarried::LegalHold, Uncarried::UnreadableHeader("x-amz-meta-a".into())]);
    world.get("held").await.unwrap();
    world.hydrated("held").await;
    // Not everything is seen each time: what was found once stands.
    world.shadow.note_uncarried(&*world.bucket().await, &k("held"), &[Uncarried::Retention]).await;
    world.shadow.note_uncarried(&*world.bucket().await, &k("held"), &[]).await;
    let told = status(&world).await.uncarried;
    let expected = [
        (UncarriedReason::Retention, 1),
        (UncarriedReason::LegalHold, 2),
        (UncarriedReason::Acl, 1),
        (UncarriedReason::UnreadableHeader, 1),
    ];
    assert_eq!(told.iter().map(|told| (told.reason, told.objects)).collect::<Vec<_>>(), expected);
    let (listed, _) = world.shadow.uncarried(&*world.bucket().await, None, 10).await.unwrap();
    assert_eq!(listed[0].reasons, expected.map(|(reason, _)| reason));
    assert_eq!(listed[0].headers, ["x-amz-meta-a"]);
    world.put("held", "new").await.unwrap();
    let told = status(&world).await.uncarried;
    assert_eq!(told.iter().map(|told| (told.reason, told.objects)).collect::<Vec<_>>(), [(UncarriedReason::LegalHold, 1)]);
}

/// Tags that the origin does not show are missed, not silently left out.
#[tokio::test]
async fn tags_that_the_origin_hides_are_told() {
    let world = World::attached(false).await;
    let tags = Tags::new([("a".to_owned(), "b".to_owned())]);
    world.origin.insert("k", "content", &OriginAttributes { tags, ..OriginAttributes::default() });
    world.origin.fail_always("tags", "k", Some(Fault::Refused));
    world.get("k").await.unwrap();
    world.hydrated("k").await;
    let told = status(&world).await.uncarried;
    assert_eq!(told.iter().map(|told| (told.reason, told.objects)).collect::<Vec<_>>(), [(UncarriedReason::HiddenTags, 1)]);
}

/// "Health": a verdict and why.
#[tokio::test]
async fn the_status_has_a_verdict() {
    let world = World::attached(false).await;
    let health = status(&world).await.health;
    assert_eq!(health.verdict, HealthVerdict::Ok, "{health:?}");
    for fault in [Fault::Refused, Fault::Unavailable] {
        // The first bytes are asked for, and the headers at the same time.
        world.origin.fail_next("get", fault.clone());
        world.origin.fail_next("head", fault);
        world.origin.insert("a", "content", &OriginAttributes::default());
        world.get("a").await.unwrap_err();
        let health =
            world.eventually(async || Some(status(&world).await.health).filter(|health| health.reason.contains("head failed"))).await;
        assert_eq!(health.verdict, HealthVerdict::Failing, "{health:?}");
        world.get("absent").await.unwrap_err();
        let health = status(&world).await.health;
        assert_eq!(health.verdict, HealthVerdict::Degraded, "an origin that says no such key answers: {health:?}");
    }
    world.get("a").await.unwrap();
    assert_eq!(status(&world).await.health.verdict, HealthVerdict::Degraded);
}

/// However many buckets there are, the metrics stay bounded.
#[tokio::test]
async fn a_hundred_buckets_have_series() {
    let world = World::attached(false).await;
    let names: Vec<_> = (0..metrics::BUCKETS_MAX).map(|n| BucketName::parse(&format!("a-{n:03}")).unwrap()).collect();
    for name in &names {
        let bucket = world.catalog.create_bucket(name, "org", BucketSettings::default()).await.unwrap();
        world.shadow.attach(&world.cx, &bucket, request(false)).await.unwrap();
    }
    world.catalog.create_bucket(&BucketName::parse("a-plain").unwrap(), "org", BucketSettings::default()).await.unwrap();
    // After a restart as before it, whoever was used first.
    let world = world.restarted().await;
    let mut text = String::new();
    world.shadow.write_metrics(&mut text, true).await.unwrap();
    assert!(text.contains(&format!("umbra_shadow_buckets {}\n", metrics::BUCKETS_MAX + 1)), "{text}");
    let shown: BTreeSet<_> = text.lines().filter_map(|line| line.split_once("bucket=\"")?.1.split('"').next()).collect();
    assert_eq!(shown, names.iter().map(BucketName::as_str).collect());
}
