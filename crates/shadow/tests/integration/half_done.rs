//! semantics.md: "a journal entry written before the origin was touched makes the key read through the origin until repaired", whatever other
//! writes of it begin, fail or end meanwhile. And "an acknowledged write is never lost, nor undone by a slower copy of something older".

use std::{sync::Arc, time::Duration};

use umbra_core::{Entity, ErrorKind, Matches, Preconditions, Tags, UserMetadata};
use umbra_meta::CommitFault;
use umbra_shadow::{
    JobKind, JobState,
    origin::{OriginAttributes, memory::Fault},
};
use umbra_store::{GetOptions, ListOptions, ListSource, ListStart, Objects, PutOptions};

use crate::{
    held_meta::{Asked, HeldMeta, journals, settles, touches_object},
    world::{World, k, kind},
};

/// With write-through, and of `k` the origin alone has the newest, `half`, because a write was left half done: here it is `old`, or deleted.
async fn half_done(is_deleted: bool) -> (Arc<World>, Arc<HeldMeta>) {
    let meta = Arc::new(HeldMeta::default());
    let world = World::bare_over(meta.clone()).await;
    world.attach(true).await;
    world.put("k", "old").await.unwrap();
    if is_deleted {
        world.delete("k").await.unwrap();
    }
    world.meta.set(|_, batch| if settles(batch) { CommitFault::Unavailable } else { CommitFault::None });
    assert_eq!(kind(world.put("k", "half").await), ErrorKind::Unavailable);
    world.meta.heal();
    (Arc::new(world), meta)
}

/// A write that the origin refuses puts back the intent whose place it took; from that moment on it is nobody's again.
#[tokio::test]
async fn it_shows_while_a_later_write_is_withdrawn() {
    let (world, meta) = half_done(true).await;
    let withdrawn = meta.hold(1, |asked| matches!(asked, Asked::Committed(batch) if journals(batch)));
    world.origin.fail_next("put", Fault::Unavailable);
    let writer = world.clone();
    let refused = tokio::spawn(async move { writer.put("k", "refused").await });
    withdrawn.arrived(&world).await;
    assert_eq!(world.get("k").await.unwrap(), "half");
    withdrawn.release();
    assert_eq!(kind(refused.await.unwrap()), ErrorKind::OriginUnavailable);
    assert_eq!(world.get("k").await.unwrap(), "half");
}

/// Where the origin holds nothing anyway, a delete that has only begun is not taken for one that it did, though it comes behind a write that was
/// left half done.
#[tokio::test]
async fn a_delete_that_the_origin_refuses_is_not_seen_of_what_it_never_held() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(false).await;
    world.put("k", "here").await.unwrap();
    world.attach(true).await;
    world.origin.fail_next("put", Fault::LoseRequest);
    assert_eq!(kind(world.put("k", "lost").await), ErrorKind::Unavailable);
    let begun = meta.hold(0, |asked| matches!(asked, Asked::Committed(batch) if journals(batch)));
    world.origin.fail_next("delete", Fault::Unavailable);
    let deleter = world.clone();
    let delete = tokio::spawn(async move { deleter.delete("k").await });
    begun.arrived(&world).await;
    assert_eq!(world.get("k").await.unwrap(), "here");
    begun.release();
    assert_eq!(kind(delete.await.unwrap()), ErrorKind::OriginUnavailable);
    assert_eq!(world.get("k").await.unwrap(), "here");
}

/// What was left half done keeps no key from being written or deleted, though the origin does not let it be judged.
#[tokio::test]
async fn what_cannot_be_judged_is_overwritten_and_deleted() {
    let tags = || Tags::new([("version".to_owned(), "new".to_owned())]);
    for doing in ["head", "tags"] {
        let world = World::attached(true).await;
        for deletes in [false, true] {
            world.put("k", "old").await.unwrap();
            if doing == "head" {
                world.origin.fail_next("put", Fault::LoseRequest);
                assert_eq!(kind(world.put("k", "lost").await), ErrorKind::Unavailable);
            } else {
                world.origin.fail_next("put_tags", Fault::LoseAnswer);
                let set = world.shadow.put_tags(&world.cx, &*world.bucket().await, &k("k"), None, tags()).await;
                assert_eq!(kind(set), ErrorKind::Unavailable);
            }
            world.origin.fail_always(doing, "k", Some(Fault::Refused));
            if deletes {
                world.delete("k").await.unwrap();
            } else {
                world.put("k", "new").await.unwrap();
            }
            assert_eq!(world.get("k").await.ok(), (!deletes).then(|| "new".into()), "{doing}");
            world.origin.fail_always(doing, "k", None);
        }
    }
}

/// Nor is a delete refused because a copy came in while the origin was asked about what was left half done.
#[tokio::test]
async fn a_delete_is_done_though_a_copy_comes_in() {
    let world = Arc::new(World::attached(true).await);
    world.origin.insert("k", "cold", &OriginAttributes::default());
    world.origin.fail_next("put", Fault::LoseRequest);
    assert_eq!(kind(world.put("k", "lost").await), ErrorKind::Unavailable);
    let gets = world.origin.hold_gets();
    let read = world.begin_get("k").await;
    let (heads, deleter) = (world.origin.hold("head"), world.clone());
    let delete = tokio::spawn(async move { deleter.delete("k").await });
    world.eventually(async || (world.origin.waiting() == 1).then_some(())).await;
    gets.add_permits(10);
    assert_eq!(read.await.unwrap().unwrap(), "cold");
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    heads.add_permits(10);
    delete.await.unwrap().unwrap();
    assert_eq!(kind(world.get("k").await), ErrorKind::NotFound(Entity::Object));
    assert_eq!(world.origin.content("k"), None);
}

/// Nor is a condition judged by a write that is still under way, where a cold object came in meanwhile.
#[tokio::test]
async fn no_condition_is_judged_by_a_write_under_way() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(true).await;
    world.origin.insert("k", "cold", &OriginAttributes::default());
    let preconditions =
        Preconditions { if_match: world.origin.etag("k").map(|etag| Matches::ETags(vec![etag])), ..Preconditions::default() };
    let (looked, reader) = (meta.hold(0, |asked| asked.reads(b"w/")), world.clone());
    let read = tokio::spawn(async move { reader.get_with("k", GetOptions { preconditions, ..GetOptions::default() }).await });
    looked.arrived(&world).await;
    assert_eq!(world.hydrated_by_reading("k").await, "cold");
    let applies = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if settles(batch)));
    let writer = world.clone();
    let put = tokio::spawn(async move { writer.put("k", "new").await });
    applies.arrived(&world).await;
    looked.release();
    assert_eq!(read.await.unwrap().unwrap(), "cold");
    applies.release();
    put.await.unwrap().unwrap();
}

/// Nor is a write that is still under way shown to who asked for a cold object that came in meanwhile: others are shown what came in.
#[tokio::test]
async fn a_write_under_way_is_not_seen_of_what_came_in_since() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(true).await;
    world.origin.insert("k", "cold", &OriginAttributes::default());
    let (gate, reader) = (world.origin.hold("tags"), world.clone());
    let read = tokio::spawn(async move { reader.shadow.tags(&reader.cx, &*reader.bucket().await, &k("k"), None).await });
    world.eventually(async || (world.origin.waiting() == 1).then_some(())).await;
    assert_eq!(world.hydrated_by_reading("k").await, "cold");
    let applies = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if settles(batch)));
    let writer = world.clone();
    let options = PutOptions { tags: Tags::new([("version".to_owned(), "new".to_owned())]), ..PutOptions::default() };
    let put = tokio::spawn(async move { writer.put_with("k", "new", options).await });
    applies.arrived(&world).await;
    assert_eq!(world.origin.content("k").unwrap(), "new");
    gate.add_permits(10);
    assert_eq!(read.await.unwrap().unwrap().0, Tags::default());
    assert_eq!(world.get("k").await.unwrap(), "cold");
    applies.release();
    put.await.unwrap().unwrap();
}

/// What a reader saw of a key before it was repaired is not taken for the intent of the write that begins after.
#[tokio::test]
async fn a_reader_of_before_the_repair_is_not_shown_what_was_here_before() {
    let (world, meta) = half_done(true).await;
    let looked = meta.hold(0, |asked| asked.reads(b"w/"));
    let reader = world.clone();
    let read = tokio::spawn(async move { reader.get("k").await });
    looked.arrived(&world).await;
    // Repaired first.
    let begins = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if journals(batch)));
    world.shadow.start().await.unwrap();
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    let writer = world.clone();
    let put = tokio::spawn(async move { writer.put("k", "new").await });
    begins.arrived(&world).await;
    looked.release();
    assert_eq!(read.await.unwrap().unwrap(), "half");
    begins.release();
    put.await.unwrap().unwrap();
    assert_eq!(world.get("k").await.unwrap(), "new");
}

/// A listing shows of a half-done key what it was when it was looked at, not what the origin has been given since and is not acknowledged.
#[tokio::test]
async fn a_listing_does_not_show_what_is_still_being_written() {
    for is_deleted in [false, true] {
        let (world, meta) = half_done(is_deleted).await;
        let half = world.origin.etag("k");
        // Once the half-done keys are judged, our own side is read once more; of those that are gone here, whether they are.
        let family: &[u8] = if is_deleted { b"s/" } else { b"o/" };
        let judged = meta.hold(1, move |asked| matches!(asked, Asked::Range(range) if range.start.starts_with(family)));
        let lister = world.clone();
        let list = tokio::spawn(async move {
            let options =
                ListOptions { prefix: "".into(), delimiter: "".into(), start: ListStart::First, limit: 9, source: ListSource::Merged };
            lister.shadow.list(&lister.cx, &*lister.bucket().await, options).await
        });
        judged.arrived(&world).await;
        world.shadow.start().await.unwrap();
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        let applies = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if settles(batch)));
        let writer = world.clone();
        let put = tokio::spawn(async move { writer.put("k", "new").await });
        applies.arrived(&world).await;
        assert_eq!(world.origin.content("k").unwrap(), "new");
        judged.release();
        let page = list.await.unwrap().unwrap();
        assert_eq!(page.objects.first().map(|object| object.etag.clone()), half, "deleted before: {is_deleted}");
        assert_eq!(world.get("k").await.unwrap(), "half");
        applies.release();
        put.await.unwrap().unwrap();
    }
}

/// Nor does it leave out what is still being deleted, though it came here after our own side was read, and has left the origin before that was.
#[tokio::test]
async fn a_listing_does_not_leave_out_what_is_still_being_deleted() {
    for (delimiter, expected) in [("", vec!["a", "d/k", "z"]), ("/", vec!["a", "d/", "z"])] {
        let meta = Arc::new(HeldMeta::default());
        let world = Arc::new(World::bare_over(meta.clone()).await);
        world.attach(true).await;
        for key in ["a", "z"] {
            world.put(key, "x").await.unwrap();
        }
        world.origin.insert("d/k", "cold", &OriginAttributes::default());
        let looked = meta.hold(0, |asked| matches!(asked, Asked::Range(range) if range.start.starts_with(b"o/")));
        let lister = world.clone();
        let list = tokio::spawn(async move { lister.list("", delimiter, 10, ListSource::Merged).await });
        looked.arrived(&world).await;
        world.hydrated_by_reading("d/k").await;
        let applies = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if settles(batch)));
        let writer = world.clone();
        let delete = tokio::spawn(async move { writer.delete("d/k").await });
        applies.arrived(&world).await;
        assert_eq!(world.origin.content("d/k"), None);
        looked.release();
        assert_eq!(list.await.unwrap().unwrap(), expected);
        assert_eq!(world.get("d/k").await.unwrap(), "cold");
        applies.release();
        delete.await.unwrap().unwrap();
        assert_eq!(world.list("", delimiter, 10, ListSource::Merged).await.unwrap(), ["a", "z"]);
    }
}

/// The origin happens to hold the content that a write was to bring: that does not tell that the write was applied.
#[tokio::test]
async fn what_the_origin_held_before_does_not_undo_what_was_acknowledged() {
    let of = |name: &str| UserMetadata::new([("write".to_owned(), name.to_owned()), ("größe".to_owned(), "groß".to_owned())]);
    for (fault, expected) in [(Fault::LoseRequest, ("ours", "ours")), (Fault::LoseAnswer, ("same", "new"))] {
        let world = World::attached(false).await;
        world.origin.insert("k", "same", &OriginAttributes { metadata: of("theirs"), ..OriginAttributes::default() });
        world.put_with("k", "ours", PutOptions { metadata: of("ours"), ..PutOptions::default() }).await.unwrap();
        world.attach(true).await;
        world.origin.fail_next("put", fault);
        let put = world.put_with("k", "same", PutOptions { metadata: of("new"), ..PutOptions::default() }).await;
        assert_eq!(kind(put), ErrorKind::Unavailable);
        world.shadow.start().await.unwrap();
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        assert_eq!(world.get("k").await.unwrap(), expected.0);
        let info = world.shadow.head(&world.cx, &*world.bucket().await, &k("k"), GetOptions::default()).await.unwrap();
        assert_eq!(info.metadata, of(expected.1));
    }
}

/// "From then on every write goes both ways": one that was to stay here and had begun before does not land behind a rollback's back.
#[tokio::test]
async fn what_was_to_stay_here_does_not_land_once_writes_go_through() {
    for is_delete in [false, true] {
        let meta = Arc::new(HeldMeta::default());
        let world = Arc::new(World::bare_over(meta.clone()).await);
        world.origin.insert("k", "old", &OriginAttributes::default());
        world.attach(false).await;
        world.hydrated_by_reading("k").await;
        let lands = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if touches_object(batch)));
        let writer = world.clone();
        let write = tokio::spawn(async move { if is_delete { writer.delete("k").await } else { writer.put("new", "x").await.map(drop) } });
        lands.arrived(&world).await;
        let job = world.run(JobKind::Rollback).await;
        assert_eq!((job.state, job.counts.objects_failed), (JobState::Done, 0));
        lands.release();
        assert_eq!(kind(write.await.unwrap()), ErrorKind::Unavailable);
        assert_eq!((world.get("k").await.unwrap(), world.here("new").await), ("old".into(), None));
        if is_delete {
            world.delete("k").await.unwrap()
        } else {
            drop(world.put("new", "x").await.unwrap())
        }
        assert_eq!((world.origin.content("k").is_none(), world.origin.content("new")), (is_delete, (!is_delete).then(|| "x".into())));
    }
}

/// Nor where names do not tell the two apart, if it is known by its date.
#[tokio::test]
async fn what_the_origin_is_known_to_have_held_is_no_write_of_ours() {
    for (fault, expected) in [(Fault::LoseRequest, "ours"), (Fault::LoseAnswer, "same")] {
        let world = World::attached(false).await;
        world.origin.insert("k", "same", &OriginAttributes::default());
        world.hydrated_by_reading("k").await;
        world.put("k", "ours").await.unwrap();
        world.attach(true).await;
        world.origin.fail_next("put", fault);
        assert_eq!(kind(world.put("k", "same").await), ErrorKind::Unavailable);
        if expected == "same" {
            world.origin.alter("k", |info| info.last_modified = info.last_modified.plus(Duration::from_secs(1)));
        }
        world.shadow.start().await.unwrap();
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        assert_eq!(world.get("k").await.unwrap(), expected);
    }
}
