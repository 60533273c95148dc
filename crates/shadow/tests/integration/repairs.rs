//! semantics.md: "The origin accepts but we fail: the client gets a 5xx, and a journal entry written before the origin was touched makes the
//! key read through the origin until repaired, across crashes. The repair queue is visible in status."

use std::sync::Arc;

use umbra_core::{Clock, Entity, ErrorKind, SystemClock, Tags};
use umbra_meta::{Batch, CommitFault, MetaStore, Projection, Write, key};
use umbra_shadow::{
    JobKind,
    origin::{OriginAttributes, memory::Fault},
};
use umbra_store::{GetOptions, ListOptions, ListSource, ListStart, Objects};

use crate::world::{World, content, k, kind};

/// The commit that applies a write here fails, the journal's does not.
fn fail_applying(world: &World, fault: CommitFault) {
    world.meta.set(move |_, batch| {
        let settles = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")));
        if settles { fault } else { CommitFault::None }
    });
}

#[tokio::test]
async fn a_write_that_only_the_origin_has_is_read_there_and_repaired_after_a_restart() {
    for (before, size) in [(None, 10), (Some("old"), 10), (None, 6 * 1024 * 1024), (Some("old"), 100_000)] {
        let world = World::attached(true).await;
        if let Some(before) = before {
            world.put("k", before).await.unwrap();
        }
        fail_applying(&world, CommitFault::Unavailable);
        assert_eq!(kind(world.put("k", content(size)).await), ErrorKind::Unavailable);
        assert_eq!(world.origin.content("k").unwrap(), content(size));
        assert_eq!(world.get("k").await.unwrap(), content(size), "read through the origin");
        let status = world.shadow.status(&*world.bucket().await).await.unwrap().unwrap();
        let queue: Vec<_> = status.pending_repairs.iter().map(|repair| (repair.key.clone(), repair.operation)).collect();
        assert_eq!(queue, [(k("k"), "put")]);
        let world = world.restarted().await;
        assert_eq!(world.get("k").await.unwrap(), content(size));
        assert_eq!(world.list("", "", 5, ListSource::Merged).await.unwrap(), ["k"]);
        world.meta.heal();
        let world = world.restarted().await;
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        assert_eq!(world.here("k").await.unwrap(), content(size), "repaired");
    }
}

#[tokio::test]
async fn a_delete_that_only_the_origin_did_is_repaired() {
    let world = World::attached(true).await;
    world.put("k", "old").await.unwrap();
    fail_applying(&world, CommitFault::Unavailable);
    assert_eq!(kind(world.delete("k").await), ErrorKind::Unavailable);
    assert_eq!(kind(world.get("k").await), ErrorKind::NotFound(Entity::Object), "the origin's word counts");
    assert_eq!(world.list("", "", 5, ListSource::Merged).await.unwrap(), Vec::<String>::new());
    world.meta.heal();
    let world = world.restarted().await;
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    assert_eq!(world.here("k").await, None);
    assert_eq!(world.rows(key::tombstone_range("")).await, 1);
}

/// Nobody knows whether the origin applied it: either way both sides end alike, and what was acknowledged before is not lost.
#[tokio::test]
async fn a_lost_answer_or_request_is_found_out() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        for doing in ["put", "delete"] {
            let world = World::attached(true).await;
            world.put("k", "old").await.unwrap();
            world.shadow.start().await.unwrap();
            world.origin.fail_next(doing, fault.clone());
            let result = if doing == "put" { world.put("k", "new").await.map(drop) } else { world.delete("k").await };
            assert_eq!(kind(result), ErrorKind::Unavailable);
            world.eventually(async || (world.intents().await == 0).then_some(())).await;
            assert_eq!(world.origin.content("k"), world.here("k").await, "{fault:?} {doing}");
        }
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_of_ours_is_found_out() {
    for fault in [CommitFault::LostAcknowledgement, CommitFault::Unavailable] {
        for nth in 0..2 {
            let world = World::attached(true).await;
            world.put("k", "old").await.unwrap();
            world.shadow.start().await.unwrap();
            world.meta.fail_after(nth, fault);
            let put = world.put("k", "new").await;
            world.meta.heal();
            world.eventually(async || (world.intents().await == 0).then_some(())).await;
            assert_eq!(world.origin.content("k"), world.here("k").await, "{fault:?} {nth}");
            if put.is_ok() {
                assert_eq!(world.get("k").await.unwrap(), "new");
            }
        }
    }
}

#[tokio::test]
async fn half_done_tags_are_repaired() {
    let world = World::attached(true).await;
    let bucket = world.bucket().await;
    world.put("k", "x").await.unwrap();
    fail_applying(&world, CommitFault::Unavailable);
    let tags = Tags::new([("a".into(), "b".into())]);
    assert_eq!(kind(world.shadow.put_tags(&world.cx, &bucket, &k("k"), None, tags.clone()).await), ErrorKind::Unavailable);
    world.meta.heal();
    let world = world.restarted().await;
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    assert_eq!(world.native.tags(&world.cx, &bucket, &k("k"), None).await.unwrap().0, tags);
}

/// A later write settles what an earlier one left.
#[tokio::test]
async fn the_next_write_settles_an_earlier_one() {
    let world = World::attached(true).await;
    fail_applying(&world, CommitFault::Unavailable);
    assert_eq!(kind(world.put("k", "half").await), ErrorKind::Unavailable);
    world.meta.heal();
    world.put("k", "whole").await.unwrap();
    assert_eq!((world.intents().await, world.here("k").await.unwrap()), (0, "whole".into()));
    assert_eq!(world.origin.content("k").unwrap(), "whole");
}

/// "An acknowledged write is never lost": what only we hold stands when the origin did not apply a later, unacknowledged write.
#[tokio::test]
async fn a_write_that_the_origin_did_not_apply_leaves_what_was_acknowledged() {
    for at_origin in [None, Some("older")] {
        for deleted in [false, true] {
            let world = World::attached(false).await;
            if let Some(older) = at_origin {
                world.origin.insert("k", older, &OriginAttributes::default());
            }
            world.put("k", "acknowledged").await.unwrap();
            if deleted {
                world.delete("k").await.unwrap();
            }
            world.attach(true).await;
            world.origin.fail_next("put", Fault::LoseRequest);
            assert_eq!(kind(world.put("k", "lost").await), ErrorKind::Unavailable);
            let expected = (!deleted).then(|| "acknowledged".into());
            assert_eq!(world.get("k").await.ok(), expected, "read while the intent is there");
            let listed = if deleted { vec![] } else { vec!["k".to_owned()] };
            assert_eq!(world.list("", "", 5, ListSource::Merged).await.unwrap(), listed);
            let world = world.restarted().await;
            world.eventually(async || (world.intents().await == 0).then_some(())).await;
            assert_eq!(world.get("k").await.ok(), expected, "{at_origin:?} {deleted}");
        }
    }
}

/// A later write that fails for certain gives the half-done one before it back to the repair.
#[tokio::test]
async fn a_failed_write_does_not_forget_a_half_done_one() {
    let world = World::attached(true).await;
    world.put("k", "old").await.unwrap();
    fail_applying(&world, CommitFault::Unavailable);
    world.put("k", "half").await.unwrap_err();
    world.meta.heal();
    world.origin.fail_next("put", Fault::Refused);
    assert_eq!(kind(world.put("k", "refused").await), ErrorKind::OriginRefused);
    assert_eq!(world.get("k").await.unwrap(), "half");
    let world = world.restarted().await;
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    assert_eq!((world.here("k").await.unwrap(), world.origin.content("k").unwrap()), ("half".into(), "half".into()));
}

/// An intent belongs to its generation: one left by a forced detach counts for nothing later.
#[tokio::test]
async fn an_intent_of_an_earlier_generation_counts_for_nothing() {
    let world = World::attached(true).await;
    world.origin.fail_next("put", Fault::LoseRequest);
    world.put("k", "lost").await.unwrap_err();
    world.meta.fail_after(1, CommitFault::Unavailable);
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.meta.heal();
    world.put("k", "kept").await.unwrap();
    world.attach(true).await;
    let world = world.restarted().await;
    let status = world.shadow.status(&*world.bucket().await).await.unwrap().unwrap();
    assert_eq!(status.pending_repairs, []);
    assert_eq!(world.get("k").await.unwrap(), "kept");
    world.put("k", "later").await.unwrap();
    assert_eq!((world.get("k").await.unwrap(), world.intents().await), ("later".into(), 0));
}

/// Leaves `key` half done: the origin has it, we do not.
async fn half_done(world: &World, key: &str) {
    fail_applying(world, CommitFault::Unavailable);
    assert_eq!(kind(world.put(key, format!("content of {key}")).await), ErrorKind::Unavailable);
    world.meta.heal();
}

async fn queue(world: &World) -> Vec<umbra_shadow::PendingRepair> {
    world.shadow.status(&*world.bucket().await).await.unwrap().unwrap().pending_repairs
}

/// "The repair queue is visible in status": with its age, the attempts and the last error of each key; one bad key blocks nobody and does not
/// spin.
#[tokio::test]
async fn a_key_that_cannot_be_repaired_blocks_no_other() {
    let world = World::attached(true).await;
    let before = SystemClock.now();
    half_done(&world, "bad").await;
    world.origin.fail_always("head", "bad", Some(Fault::Refused));
    world.shadow.start().await.unwrap();
    let bad = world.eventually(async || queue(&world).await.pop().filter(|repair| repair.attempts >= 2)).await;
    assert_eq!((bad.key, bad.operation), (k("bad"), "put"));
    assert!(bad.since >= before && bad.next_attempt.unwrap() > bad.since);
    assert!(bad.last_error.unwrap().contains("the origin refuses the request"));
    for n in 0..20 {
        half_done(&world, &format!("good/{n}")).await;
    }
    world.eventually(async || (world.intents().await == 1).then_some(())).await;
    for n in 0..20 {
        let key = format!("good/{n}");
        assert_eq!(world.here(&key).await, world.origin.content(&key));
    }
    // Every attempt asks once: there were no more attempts than the status tells.
    let (asked, attempts) = (world.origin.failed("head", "bad"), queue(&world).await[0].attempts);
    assert!(asked <= u64::from(attempts) + 1 && attempts < 10, "{asked} requests, {attempts} attempts");
    world.origin.fail_always("head", "bad", None);
    // Somebody asks for it: it need not wait for its turn.
    world
        .eventually(async || {
            world.get("bad").await.unwrap();
            (world.intents().await == 0).then_some(())
        })
        .await;
    assert_eq!(world.here("bad").await, world.origin.content("bad"));
}

/// Repairs that wait because the origin was away go on when it answers anybody again.
#[tokio::test]
async fn repairs_go_on_when_the_origin_is_back() {
    let world = World::attached(true).await;
    world.origin.insert("other", "x", &OriginAttributes::default());
    let keys: Vec<_> = (0..5).map(|n| format!("k{n}")).collect();
    for key in &keys {
        half_done(&world, key).await;
        world.origin.fail_always("head", key, Some(Fault::Unavailable));
    }
    world.shadow.start().await.unwrap();
    world.eventually(async || queue(&world).await.iter().all(|repair| repair.attempts >= 2).then_some(())).await;
    keys.iter().for_each(|key| world.origin.fail_always("head", key, None));
    assert_eq!(world.get("other").await.unwrap(), "x");
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    for key in &keys {
        assert_eq!(world.here(key).await, world.origin.content(key));
    }
}

/// A half-done write is not forgotten by a later one that dies before it reaches the origin.
#[tokio::test]
async fn a_write_that_died_does_not_forget_a_half_done_one() {
    for later in ["put", "delete"] {
        let world = World::attached(true).await;
        world.put("k", "old").await.unwrap();
        fail_applying(&world, CommitFault::Unavailable);
        world.put("k", "half").await.unwrap_err();
        world.meta.heal();
        // Its journal is written, and nobody is told.
        world.meta.fail_after(0, CommitFault::LostAcknowledgement);
        let died = if later == "put" { world.put("k", "lost").await.map(drop) } else { world.delete("k").await };
        assert_eq!(kind(died), ErrorKind::Unavailable);
        assert_eq!(world.get("k").await.unwrap(), "half", "{later}");
        let world = world.restarted().await;
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        assert_eq!((world.here("k").await.unwrap(), world.origin.content("k").unwrap()), ("half".into(), "half".into()), "{later}");
    }
}

/// Tags are written to what both sides hold: a half-done put is settled first, and what only we hold is tagged here.
#[tokio::test]
async fn tags_wait_for_a_repair() {
    let world = World::attached(false).await;
    world.put("ours", "x").await.unwrap();
    world.attach(true).await;
    let bucket = world.bucket().await;
    world.put("k", "old").await.unwrap();
    fail_applying(&world, CommitFault::Unavailable);
    world.put("k", "half").await.unwrap_err();
    world.meta.heal();
    let tags = Tags::new([("a".into(), "b".into())]);
    for key in ["k", "ours"] {
        world.shadow.put_tags(&world.cx, &bucket, &k(key), None, tags.clone()).await.unwrap();
        assert_eq!(world.native.tags(&world.cx, &bucket, &k(key), None).await.unwrap().0, tags);
    }
    assert_eq!((world.here("k").await.unwrap(), world.origin.content("k").unwrap()), ("half".into(), "half".into()));
}

/// Half-done tags do not make a listing show the origin's object in the place of ours.
#[tokio::test]
async fn half_done_tags_leave_our_object_in_the_listing() {
    let world = World::attached(false).await;
    world.origin.insert("k", "theirs", &OriginAttributes::default());
    let ours = world.put("k", "ours").await.unwrap();
    world.attach(true).await;
    let bucket = world.bucket().await;
    fail_applying(&world, CommitFault::Unavailable);
    let tags = Tags::new([("a".into(), "b".into())]);
    world.shadow.put_tags(&world.cx, &bucket, &k("k"), None, tags).await.unwrap_err();
    let options = ListOptions { prefix: "".into(), delimiter: "".into(), start: ListStart::First, limit: 5, source: ListSource::Merged };
    let page = world.shadow.list(&world.cx, &bucket, options).await.unwrap();
    assert_eq!(page.objects.iter().map(|object| &object.etag).collect::<Vec<_>>(), [&ours.etag]);
}

/// One damaged row keeps neither the server from starting, nor other keys from being repaired, nor other listings from being made.
#[tokio::test]
async fn a_damaged_row_stands_in_the_way_of_its_own_key_alone() {
    let world = World::attached(true).await;
    world.origin.insert("other/cold", "x", &OriginAttributes::default());
    world.run(JobKind::Verify).await;
    fail_applying(&world, CommitFault::Unavailable);
    world.put("half", "new").await.unwrap_err();
    world.meta.heal();
    let partition = world.bucket().await.partition;
    let jobs = world.meta.scan(partition, key::job::all(), 1, Projection::Head).await.unwrap();
    let damaged = |row: Vec<u8>| Batch::new(partition).put(row, "", vec![1, 0xff]);
    world.meta.commit(damaged(key::write_intent(&k("bad")))).await.unwrap();
    world.meta.commit(damaged(jobs[0].key.to_vec())).await.unwrap();
    let world = world.restarted().await;
    world.eventually(async || (world.here("half").await.as_deref() == Some(b"new")).then_some(())).await;
    world.eventually(async || (world.intents().await == 1).then_some(())).await;
    assert_eq!(world.list("other/", "", 10, ListSource::Merged).await.unwrap(), ["other/cold"]);
    assert_eq!(kind(world.get("bad").await), ErrorKind::Corrupt);
    world.hydrated_by_reading("other/cold").await;
    assert_eq!(
        kind(world.shadow.detach(&world.cx, &*world.bucket().await, false).await),
        ErrorKind::Corrupt,
        "nobody knows what is to be repaired"
    );
}

/// "makes the key read through the origin until repaired": also while another write of it is under way.
#[tokio::test]
async fn a_half_done_write_shows_while_the_next_is_under_way() {
    let world = Arc::new(World::attached(true).await);
    world.put("k", "first").await.unwrap();
    fail_applying(&world, CommitFault::Unavailable);
    world.put("k", "second").await.unwrap_err();
    world.delete("gone").await.unwrap_err();
    world.meta.heal();
    let gate = world.origin.hold_puts();
    let puts = ["k", "gone"].map(|key| {
        let world = world.clone();
        tokio::spawn(async move { world.put(key, "third").await })
    });
    let second = world.origin.etag("k").unwrap();
    let bucket = world.bucket().await;
    world.eventually(async || world.shadow.status(&bucket).await.unwrap().filter(|status| status.pending_repairs.is_empty())).await;
    assert_eq!(world.get("k").await.unwrap(), "second");
    let head = world.shadow.head(&world.cx, &bucket, &k("k"), GetOptions::default()).await.unwrap();
    assert_eq!(head.etag, second);
    let options =
        ListOptions { prefix: String::new(), delimiter: String::new(), start: ListStart::First, limit: 10, source: ListSource::Merged };
    let page = world.shadow.list(&world.cx, &bucket, options).await.unwrap();
    assert_eq!(page.objects.iter().map(|object| object.etag.clone()).collect::<Vec<_>>(), [second]);
    gate.add_permits(10);
    for put in puts {
        put.await.unwrap().unwrap();
    }
    assert_eq!(world.get("k").await.unwrap(), "third");
}
