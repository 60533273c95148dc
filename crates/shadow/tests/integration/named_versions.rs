//! semantics.md, "Writing": versions by their names, beside a write that is half done, and while others write.

use std::{sync::Arc, time::Duration};

use umbra_core::{Attributes, ETag, Entity, ErrorKind, Matches, ObjectLock, Preconditions, Tags, UploadId, VersionId};
use umbra_shadow::origin::{OriginAttributes, memory};
use umbra_store::{
    AclChange, BucketSettings, CompletedPart, CreateUpload, DeleteOptions, GetOptions, ListVersions, LockChange, Objects, PutOptions,
    Versioning,
};

use crate::{
    held_meta::{Asked, HeldMeta},
    uploads,
    versions::{delete, enable, of, shown, versioned, versions},
    world::{World, content, k, kind},
};

type Change = fn(&mut BucketSettings);

/// Changes the settings as another server would, of which this one knows nothing.
async fn change(world: &World, change: Change) {
    let change = &mut |settings: &mut BucketSettings| {
        change(settings);
        Ok(())
    };
    world.catalog.update_bucket(&*world.bucket().await, change).await.unwrap();
}

/// Switches write-through off, though a write is half done: no user can, but two servers might.
async fn write_here(world: &World) {
    change(world, NOT_THROUGH).await;
}

const NOT_THROUGH: Change = |settings| settings.shadow.as_mut().unwrap().write_through = false;
const CLEARED: Change = |settings| {
    settings.shadow = None;
    settings.generation += 1;
};

fn tags() -> Tags {
    Tags::new([("a".to_owned(), "b".to_owned())])
}

fn if_other() -> DeleteOptions {
    let if_match = Some(Matches::ETags(vec![ETag::parse("other")]));
    DeleteOptions { preconditions: Preconditions { if_match, ..Preconditions::default() }, ..DeleteOptions::default() }
}

#[tokio::test]
async fn a_version_is_deleted_beside_a_half_done_write() {
    // With a delete marker as the newest or without, and whether that is what is deleted, or the object behind it.
    for (is_marked, deletes_marker, write_through) in
        [(true, false, true), (true, false, false), (true, true, false), (false, false, false)]
    {
        let world = versioned(true).await;
        let first = world.put("k", content(10)).await.unwrap().version;
        let marker = if is_marked { delete(&world, "k", None).await.unwrap().version } else { None };
        world.origin.fail_next("put", memory::Fault::LoseAnswer);
        assert_eq!(kind(world.put("k", content(30)).await), ErrorKind::Unavailable);
        if !write_through {
            write_here(&world).await;
        }
        delete(&world, "k", Some(first).filter(|_| !deletes_marker).or(marker)).await.unwrap();
        assert_eq!(world.intents().await, 1);
        assert_eq!(world.get("k").await.unwrap(), content(30));
        world.eventually(async || (world.intents().await == 0).then_some(())).await;
        let left = versions(&world, 1000).await;
        let newest = left[0].1;
        let behind = if deletes_marker { Some((first, false)) } else { marker.map(|marker| (marker, true)) };
        assert_eq!(left, shown(&Vec::from_iter([(newest, false)].into_iter().chain(behind))));
        assert_eq!(world.get("k").await.unwrap(), content(30));
    }
}

/// With write-through, and a version of `k` on both sides.
async fn with_a_version(meta: Arc<HeldMeta>) -> (Arc<World>, VersionId) {
    let world = World::bare_over(meta).await;
    world.attach(true).await;
    enable(&world).await;
    let version = world.put("k", content(10)).await.unwrap().version;
    (Arc::new(world), version)
}

/// A write of `k`, with a tag, that the origin alone has.
async fn put_half(world: &World) {
    world.origin.fail_next("put", memory::Fault::LoseAnswer);
    let options = PutOptions { tags: tags(), ..PutOptions::default() };
    assert_eq!(kind(world.put_with("k", content(30), options).await), ErrorKind::Unavailable);
}

/// Whoever asks the origin at that moment is told of what is half done, and of nothing beneath it.
#[tokio::test]
async fn a_version_is_deleted_beneath_a_half_done_write_that_is_being_read() {
    for doing in ["head", "tags"] {
        let (world, beneath) = with_a_version(Arc::default()).await;
        delete(&world, "k", None).await.unwrap();
        put_half(&world).await;
        let (gate, heads) = (world.origin.hold(doing), world.origin.heads());
        let reader = world.clone();
        let read = tokio::spawn(async move {
            let bucket = reader.bucket().await;
            match doing {
                "head" => reader.shadow.head(&reader.cx, &bucket, &k("k"), GetOptions::default()).await.map(|info| info.tag_count),
                _ => reader.shadow.tags(&reader.cx, &bucket, &k("k"), None).await.map(|(tags, _)| tags.len()),
            }
        });
        if doing == "head" {
            // By the first it learns that the origin has the write.
            gate.add_permits(1);
        }
        let asks = if doing == "head" { 2 } else { 1 };
        let waits = async || (world.origin.heads() == heads + asks && world.origin.waiting() == 1).then_some(());
        world.eventually(waits).await;
        delete(&world, "k", Some(beneath)).await.unwrap();
        gate.add_permits(10);
        assert_eq!(read.await.unwrap().unwrap(), 1, "{doing}");
        assert_eq!(world.intents().await, 1);
    }
}

/// What is changed beneath it is not shown again once the key is deleted at the origin, though that is half done as well.
#[tokio::test]
async fn a_version_is_changed_beneath_a_half_done_delete_that_is_being_read() {
    let meta = Arc::new(HeldMeta::default());
    let (world, beneath) = with_a_version(meta.clone()).await;
    put_half(&world).await;
    let (origin, heads) = (world.origin.clone(), world.origin.heads());
    // Once it knows that the origin has the write, and has looked whether that is still so.
    let looked = meta.hold(1, move |asked| asked.reads(b"w/") && origin.heads() > heads);
    let reader = world.clone();
    let read = tokio::spawn(async move { reader.shadow.head(&reader.cx, &*reader.bucket().await, &k("k"), GetOptions::default()).await });
    looked.arrived(&world).await;
    world.origin.fail_next("delete", memory::Fault::LoseAnswer);
    assert_eq!(kind(delete(&world, "k", None).await), ErrorKind::Unavailable);
    let asked = world.origin.heads();
    let change = AclChange::to(None);
    world.shadow.put_acl(&world.cx, &*world.bucket().await, &k("k"), Some(beneath), change).await.unwrap();
    assert_eq!(world.origin.heads(), asked, "the origin is yet to tell of it");
    looked.release();
    assert_eq!(kind(read.await.unwrap()), ErrorKind::NotFound(Entity::Object));
}

/// The null version of a key that only the origin has, while it is half done, is what is half done.
#[tokio::test]
async fn the_origins_object_is_deleted_with_what_is_half_done_of_it() {
    let world = versioned(true).await;
    world.origin.insert("k", content(10), &OriginAttributes::default());
    world.origin.fail_next("put", memory::Fault::LoseAnswer);
    assert_eq!(kind(world.put("k", content(30)).await), ErrorKind::Unavailable);
    write_here(&world).await;
    delete(&world, "k", Some(VersionId::Null)).await.unwrap();
    assert_eq!(world.intents().await, 0);
    assert!(world.get("k").await.is_err());
    assert!(versions(&world, 1000).await.is_empty());
}

#[tokio::test]
async fn a_delete_marker_has_no_etag() {
    for write_through in [false, true] {
        let world = versioned(write_through).await;
        world.put("k", content(10)).await.unwrap();
        delete(&world, "k", None).await.unwrap();
        let before = versions(&world, 1000).await;
        let on = async |key: &str| world.shadow.delete(&world.cx, &*world.bucket().await, &k(key), if_other()).await;
        assert_eq!(kind(on("k").await), ErrorKind::Precondition);
        assert_eq!(on("absent").await.unwrap().version, None);
        assert_eq!(versions(&world, 1000).await, before);
    }
}

/// Over a delete marker a delete on an ETag is refused, and over what is put on it as well: it never finds nothing, wherever PUTs come between.
#[tokio::test]
async fn a_delete_marker_that_is_overwritten_meanwhile_is_not_taken_for_nothing() {
    for write_through in [false, true] {
        for nth in 0.. {
            let meta = Arc::new(HeldMeta::default());
            let world = Arc::new(World::bare_over(meta.clone()).await);
            world.attach(write_through).await;
            enable(&world).await;
            world.put("k", content(10)).await.unwrap();
            delete(&world, "k", None).await.unwrap();
            let looked = meta.hold(nth, |asked| matches!(asked, Asked::Rows(_) | Asked::Range(_)));
            let deleter = world.clone();
            let mut deleted =
                tokio::spawn(async move { deleter.shadow.delete(&deleter.cx, &*deleter.bucket().await, &k("k"), if_other()).await });
            tokio::select! {
                () = looked.arrived(&world) => {}
                deleted = &mut deleted => {
                    assert_eq!(kind(deleted.unwrap()), ErrorKind::Precondition);
                    break;
                }
            }
            let putter = world.clone();
            let mut puts = tokio::spawn(async move {
                for size in [20, 30] {
                    putter.put("k", content(size)).await.unwrap();
                }
            });
            // Unless they have to wait for the delete they are through by then.
            let early = tokio::time::timeout(Duration::from_millis(100), &mut puts).await;
            looked.release();
            assert_eq!(kind(deleted.await.unwrap()), ErrorKind::Precondition, "{nth}");
            if early.is_err() {
                puts.await.unwrap();
            }
        }
    }
}

/// What was never there was not deleted either: what its owner puts at the origin later shows.
#[tokio::test]
async fn a_delete_on_an_etag_that_finds_nothing_hides_nothing() {
    for (keeps_versions, write_through, version) in
        [(false, false, None), (false, true, None), (true, false, None), (true, true, None), (true, false, Some(VersionId::Null))]
    {
        let world = World::attached(write_through).await;
        if keeps_versions {
            enable(&world).await;
        }
        let options = DeleteOptions { version, ..if_other() };
        let deleted = world.shadow.delete(&world.cx, &*world.bucket().await, &k("k"), options).await.unwrap();
        assert_eq!((deleted.version, deleted.is_marker), (version, false));
        world.origin.insert("k", content(10), &OriginAttributes::default());
        assert_eq!(world.get("k").await.unwrap(), content(10), "{keeps_versions} {write_through} {version:?}");
    }
}

/// What is kept for the origin's sake is kept while there is an origin that is written to, and no longer.
#[tokio::test]
async fn a_version_is_refused_for_the_origin_only_while_writes_go_there() {
    for settings in [NOT_THROUGH, CLEARED] {
        let meta = Arc::new(HeldMeta::default());
        let world = Arc::new(World::bare_over(meta.clone()).await);
        world.attach(true).await;
        enable(&world).await;
        world.origin.insert("cold", content(10), &OriginAttributes::default());
        let current = world.put("k", content(10)).await.unwrap().version;
        let versions = [("cold", VersionId::Null), ("k", current)];
        let holds = versions.map(|(key, _)| {
            let row = umbra_meta::key::object(&k(key));
            // The last look at the key before it is refused.
            let is_cold = key == "cold";
            meta.hold(0, move |asked| matches!(asked, Asked::Rows(_)) && asked.reads(&row) && asked.reads(b"w/") == is_cold)
        });
        let deletes = versions.map(|(key, version)| {
            let deleter = world.clone();
            tokio::spawn(async move { delete(&deleter, key, Some(version)).await })
        });
        for hold in &holds {
            hold.arrived(&world).await;
        }
        change(&world, settings).await;
        for (hold, deleted) in holds.iter().zip(deletes) {
            hold.release();
            assert_eq!(kind(deleted.await.unwrap()), ErrorKind::Unavailable);
        }
        for (key, version) in versions {
            delete(&world, key, Some(version)).await.unwrap();
        }
    }
}

/// In a bucket that gets versions meanwhile, a delete marker is something, and is judged.
#[tokio::test]
async fn a_marker_is_not_taken_for_nothing_by_settings_of_before() {
    for (write_through, expected) in [(true, ErrorKind::Precondition), (false, ErrorKind::Unavailable)] {
        let world = World::attached(write_through).await;
        let old = world.bucket().await;
        let conditional = async |key: &str| world.shadow.delete(&world.cx, &old, &k(key), if_other()).await;
        assert_eq!(conditional("k").await.unwrap().version, None);
        enable(&world).await;
        assert!(delete(&world, "k", None).await.unwrap().is_marker);
        assert_eq!(kind(conditional("k").await), expected);
    }
}

/// What is asked of the only version there was is not answered with one of several that there are by then.
#[tokio::test]
async fn the_null_version_is_meant_though_versions_are_switched_on_meanwhile() {
    for (write_through, is_marked) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = World::attached(write_through).await;
        world.put("k", content(10)).await.unwrap();
        let (old, key, null) = (world.bucket().await, k("k"), Some(VersionId::Null));
        enable(&world).await;
        match is_marked {
            true => drop(delete(&world, "k", None).await.unwrap()),
            false => drop(world.put("k", content(20)).await.unwrap()),
        }
        let before = versions(&world, 1000).await;
        let read = world.shadow.get(&world.cx, &old, &key, of(VersionId::Null)).await.unwrap();
        assert_eq!(read.body.collect(usize::MAX).await.unwrap(), content(10));
        assert_eq!(world.shadow.head(&world.cx, &old, &key, of(VersionId::Null)).await.unwrap().size, 10);
        assert_eq!(world.shadow.tags(&world.cx, &old, &key, null).await.unwrap(), (Tags::default(), VersionId::Null));
        let tagged = kind(world.shadow.put_tags(&world.cx, &old, &key, null, tags()).await);
        assert!(matches!(tagged, ErrorKind::Conflict | ErrorKind::Unavailable), "{tagged:?}");
        let hold = LockChange::LegalHold(true);
        assert_eq!(kind(world.shadow.put_lock(&world.cx, &old, &key, null, hold).await), ErrorKind::Unavailable);
        let options = DeleteOptions { version: null, ..DeleteOptions::default() };
        assert_eq!(kind(world.shadow.delete(&world.cx, &old, &key, options).await), ErrorKind::Unavailable);
        assert_eq!((versions(&world, 1000).await, world.intents().await), (before, 0));
    }
}

#[tokio::test]
async fn a_version_that_moves_behind_a_delete_marker_is_changed_there() {
    for write_through in [false, true] {
        let meta = Arc::new(HeldMeta::default());
        let world = Arc::new(World::bare_over(meta.clone()).await);
        world.attach(write_through).await;
        enable(&world).await;
        world.origin.insert("cold", content(10), &OriginAttributes::default());
        let named = world.put("k", content(10)).await.unwrap().version;
        // The one was the newest when it was looked for, the other the origin's.
        let looked = meta.hold(0, |asked| matches!(asked, Asked::Rows([row]) if row == &&*umbra_meta::key::object(&k("k"))));
        let tagger = world.clone();
        let tagged =
            tokio::spawn(async move { tagger.shadow.put_tags(&tagger.cx, &*tagger.bucket().await, &k("k"), Some(named), tags()).await });
        looked.arrived(&world).await;
        let seen_cold = meta.hold(0, |asked| asked.reads(&umbra_meta::key::write_intent(&k("cold"))));
        let keeper = world.clone();
        let kept = tokio::spawn(async move {
            let (bucket, null, hold) = (keeper.bucket().await, Some(VersionId::Null), LockChange::LegalHold(true));
            keeper.shadow.put_lock(&keeper.cx, &bucket, &k("cold"), null, hold).await
        });
        seen_cold.arrived(&world).await;
        world.hydrated_by_reading("cold").await;
        for key in ["cold", "k"] {
            assert!(delete(&world, key, None).await.unwrap().is_marker);
        }
        looked.release();
        seen_cold.release();
        assert_eq!(tagged.await.unwrap().unwrap(), named);
        assert_eq!(world.shadow.tags(&world.cx, &*world.bucket().await, &k("k"), Some(named)).await.unwrap(), (tags(), named));
        kept.await.unwrap().unwrap();
        assert_eq!(kind(delete(&world, "cold", Some(VersionId::Null)).await), ErrorKind::Denied);
    }
}

#[tokio::test]
async fn the_null_version_of_a_cold_key_is_found_though_it_is_overwritten_meanwhile() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(false).await;
    enable(&world).await;
    world.origin.insert("k", content(10), &OriginAttributes::default());
    let looked = meta.hold(0, |asked| asked.reads(b"w/"));
    let reader = world.clone();
    let read = tokio::spawn(async move { reader.get_with("k", of(VersionId::Null)).await });
    looked.arrived(&world).await;
    world.hydrated_by_reading("k").await;
    let named = world.put("k", content(20)).await.unwrap().version;
    looked.release();
    assert_eq!(read.await.unwrap().unwrap(), content(10));
    assert_eq!(versions(&world, 1000).await, shown(&[(named, false), (VersionId::Null, false)]));
}

/// A delete marker takes the place of the null version while it is read, and another null version that of the marker.
#[tokio::test]
async fn a_null_version_that_comes_back_while_it_is_read_is_found() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(false).await;
    enable(&world).await;
    change(&world, |settings| settings.versioning = Versioning::Suspended).await;
    world.origin.insert("k", content(10), &OriginAttributes::default());
    let is_cold = meta.hold(0, |asked| asked.reads(b"w/"));
    let reader = world.clone();
    let read = tokio::spawn(async move { reader.get_with("k", of(VersionId::Null)).await });
    is_cold.arrived(&world).await;
    delete(&world, "k", None).await.unwrap();
    let is_marked = meta.hold(0, |asked| asked.reads(b"w/"));
    is_cold.release();
    is_marked.arrived(&world).await;
    world.put("k", content(20)).await.unwrap();
    is_marked.release();
    assert_eq!(read.await.unwrap().unwrap(), content(20));
}

/// The same while it is brought here for something that is kept with it.
#[tokio::test]
async fn a_null_version_that_comes_back_while_it_is_brought_here_is_changed() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(false).await;
    enable(&world).await;
    change(&world, |settings| settings.versioning = Versioning::Suspended).await;
    world.origin.insert("k", content(10), &OriginAttributes::default());
    let is_cold = meta.hold(0, |asked| asked.reads(b"w/"));
    let writer = world.clone();
    let written = tokio::spawn(async move {
        let bucket = writer.bucket().await;
        writer.shadow.put_acl(&writer.cx, &bucket, &k("k"), Some(VersionId::Null), AclChange::to(None)).await
    });
    is_cold.arrived(&world).await;
    delete(&world, "k", None).await.unwrap();
    let is_marked = meta.hold(0, |asked| asked.reads(b"w/"));
    is_cold.release();
    is_marked.arrived(&world).await;
    world.put("k", content(20)).await.unwrap();
    is_marked.release();
    written.await.unwrap().unwrap();
}

/// It is behind another while that is read, and on top again when it is looked for. What the other is answered with is no answer for it.
#[tokio::test]
async fn a_null_version_that_is_laid_bare_while_it_is_read_is_found() {
    // Also on a condition that holds for it alone, and by settings of a time without versions.
    let reads = ["get", "get if", "head", "head if", "tags"];
    for (doing, is_of_before) in reads.into_iter().flat_map(|doing| [(doing, false), (doing, true)]) {
        let meta = Arc::new(HeldMeta::default());
        let world = Arc::new(World::bare_over(meta.clone()).await);
        world.attach(false).await;
        let old = world.bucket().await;
        enable(&world).await;
        world.origin.insert("k", content(10), &OriginAttributes::default());
        let of_null = GetOptions { preconditions: same(&world, doing.ends_with("if")).await, ..of(VersionId::Null) };
        let mut bucket = world.bucket().await;
        if is_of_before {
            // Nobody asks of those settings whether it is cold.
            world.hydrated_by_reading("k").await;
            bucket = old;
        }
        let is_on_top = meta.hold(0, |asked| asked.reads(b"w/"));
        let reader = world.clone();
        let read = tokio::spawn(async move {
            let (shadow, cx, key) = (&reader.shadow, &reader.cx, k("k"));
            match doing {
                "tags" => shadow.tags(cx, &bucket, &key, of_null.version).await.map(|(_, version)| version),
                "head" | "head if" => shadow.head(cx, &bucket, &key, of_null).await.map(|info| info.version),
                _ => shadow.get(cx, &bucket, &key, of_null).await.map(|object| object.info.version),
            }
        });
        is_on_top.arrived(&world).await;
        world.hydrated_by_reading("k").await;
        let above = world.put("k", content(20)).await.unwrap().version;
        let is_above = meta.hold(0, |asked| matches!(asked, Asked::Rows([row]) if row == &&*umbra_meta::key::object(&k("k"))));
        is_on_top.release();
        is_above.arrived(&world).await;
        delete(&world, "k", Some(above)).await.unwrap();
        is_above.release();
        assert_eq!(read.await.unwrap().unwrap(), VersionId::Null, "{doing} {is_of_before}");
    }
}

/// The condition that `k` is what it is now, if it `is_meant` to be.
async fn same(world: &World, is_meant: bool) -> Preconditions {
    let etag = world.shadow.head(&world.cx, &*world.bucket().await, &k("k"), GetOptions::default()).await.unwrap().etag;
    Preconditions { if_match: is_meant.then(|| Matches::ETags(vec![etag])), ..Preconditions::default() }
}

#[tokio::test]
async fn a_version_that_moves_while_it_is_listed_is_listed_once() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    enable(&world).await;
    let first = world.put("k", content(10)).await.unwrap().version;
    let looked = meta.hold(0, |asked| matches!(asked, Asked::Range(_)) && asked.reads(b"o/"));
    let lister = world.clone();
    let listed = tokio::spawn(async move { versions(&lister, 1000).await });
    looked.arrived(&world).await;
    world.put("k", content(20)).await.unwrap();
    looked.release();
    assert_eq!(listed.await.unwrap(), shown(&[(first, false)]));
}

/// Completes an upload of one part at the origin alone, and has what it holds brought here by a repair.
async fn half_complete(world: &World, upload: &UploadId) -> [CompletedPart; 1] {
    let parts = [uploads::part(world, upload, 1, 10).await.unwrap()];
    world.origin.fail_next("complete", memory::Fault::LoseAnswer);
    assert_eq!(kind(uploads::complete(world, upload, &parts).await), ErrorKind::Unavailable);
    assert_eq!(world.get("k").await.unwrap(), content(10));
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    parts
}

#[tokio::test]
async fn an_upload_is_completed_to_one_version_though_its_answer_was_lost() {
    let world = versioned(true).await;
    let upload = uploads::begin(&world).await;
    let parts = half_complete(&world, &upload).await;
    let brought = versions(&world, 1000).await;
    assert_eq!(uploads::complete(&world, &upload, &parts).await.unwrap().version, brought[0].1);
    assert_eq!(versions(&world, 1000).await, brought);
    assert_eq!((world.rows(umbra_meta::key::all_uploads()).await, world.rows(umbra_meta::key::all_origin_uploads()).await), (0, 0));
}

/// Tags that were left half set say nothing of which version that is.
#[tokio::test]
async fn an_upload_is_completed_to_one_version_though_its_tags_are_half_set() {
    let world = versioned(true).await;
    let upload = uploads::begin(&world).await;
    let parts = half_complete(&world, &upload).await;
    let brought = versions(&world, 1000).await;
    world.origin.fail_next("put_tags", memory::Fault::LoseAnswer);
    assert_eq!(kind(world.shadow.put_tags(&world.cx, &*world.bucket().await, &k("k"), None, tags()).await), ErrorKind::Unavailable);
    assert_eq!(uploads::complete(&world, &upload, &parts).await.unwrap().version, brought[0].1);
    assert_eq!(versions(&world, 1000).await, brought);
    world.shadow.start().await.unwrap();
    world.eventually(async || (world.intents().await == 0).then_some(())).await;
    assert_eq!(world.shadow.tags(&world.cx, &*world.bucket().await, &k("k"), None).await.unwrap().0, tags());
}

/// A repair knows nothing of a lock: a version without it is not the one that the upload was begun for.
#[tokio::test]
async fn an_upload_with_a_lock_is_not_completed_to_a_version_without_it() {
    let world = versioned(true).await;
    let lock = ObjectLock { legal_hold: Some(true), ..ObjectLock::default() };
    let options = CreateUpload { attributes: Attributes { lock, ..Attributes::default() }, ..CreateUpload::default() };
    let upload = world.shadow.create_upload(&world.cx, &*world.bucket().await, &k("k"), options).await.unwrap();
    let parts = half_complete(&world, &upload).await;
    let repaired = versions(&world, 1000).await[0].1;
    let completed = uploads::complete(&world, &upload, &parts).await.unwrap().version;
    assert_ne!(completed, repaired);
    let info = world.shadow.head(&world.cx, &*world.bucket().await, &k("k"), GetOptions::default()).await.unwrap();
    assert_eq!((info.version, info.attributes.lock), (completed, lock));
}

#[tokio::test]
async fn a_cold_object_that_comes_in_between_two_pages_is_listed_once() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(false).await;
    enable(&world).await;
    world.origin.insert("a", content(10), &OriginAttributes::default());
    world.origin.insert("b", content(10), &OriginAttributes::default());
    let page = ListVersions { limit: 1, ..ListVersions::default() };
    let (key, version) = world.shadow.list_versions(&world.cx, &*world.bucket().await, page).await.unwrap().next.unwrap();
    assert_eq!((key.as_str(), version), ("a", Some(VersionId::Null)));
    // The next page looks for where this one ended.
    let looked = meta.hold(0, |asked| matches!(asked, Asked::Rows(rows) if rows.len() == 2) && asked.reads(b"o/a"));
    let lister = world.clone();
    let listed = tokio::spawn(async move {
        let page = ListVersions { key_marker: Some(key), version_marker: version, limit: 10, ..ListVersions::default() };
        lister.shadow.list_versions(&lister.cx, &*lister.bucket().await, page).await.unwrap().versions
    });
    looked.arrived(&world).await;
    world.hydrated_by_reading("a").await;
    looked.release();
    assert_eq!(listed.await.unwrap().iter().map(|listed| listed.object.key.as_str()).collect::<Vec<_>>(), ["b"]);
}
