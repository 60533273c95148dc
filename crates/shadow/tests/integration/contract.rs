//! Sentences of semantics.md that belong to no single seam: copies from cold sources, the order of a write, a read and a detach, and what a
//! shadow costs.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::Semaphore;
use umbra_core::{Body, ErrorKind, PartNumber, Tags, UserMetadata};
use umbra_meta::{CommitFault, Write, key};
use umbra_shadow::origin::{OriginAttributes, memory::Fault};
use umbra_store::{
    CopyOptions, CopyPartOptions, CreateUpload, DeleteOptions, GetOptions, ListOptions, ListSource, ListStart, Objects, PartAddress,
    PutOptions, copy, copy_part,
};

use crate::world::{World, content, k, kind};

const MIB: usize = 1024 * 1024;

fn attributes() -> OriginAttributes {
    OriginAttributes {
        metadata: UserMetadata::new([("colour".into(), "blue".into())]),
        tags: Tags::new([("team".into(), "a".into())]),
        ..OriginAttributes::default()
    }
}

/// A body of two chunks, the second of which waits for a permit.
fn halting(size: usize) -> (Body, Arc<Semaphore>) {
    let (gate, whole) = (Arc::new(Semaphore::new(0)), content(size));
    let chunks = [whole.slice(..size / 2), whole.slice(size / 2..)];
    let waiting = gate.clone();
    let stream = stream::iter(chunks.into_iter().enumerate()).then(move |(number, chunk)| {
        let gate = waiting.clone();
        async move {
            if number > 0 {
                gate.acquire().await.unwrap().forget();
            }
            Ok(chunk)
        }
    });
    (Body::new(Some(size as u64), stream), gate)
}

/// Begins to put `size` bytes to `k`, and waits until its intent is durable. The origin applies it once the gate has permits.
async fn begin_put(world: &Arc<World>, size: usize) -> (tokio::task::JoinHandle<umbra_core::Result<()>>, Arc<Semaphore>) {
    let gate = world.origin.hold_puts();
    let writer = {
        let world = world.clone();
        tokio::spawn(async move { world.put("k", content(size)).await.map(drop) })
    };
    world.eventually(async || (world.intents().await == 1).then_some(())).await;
    (writer, gate)
}

/// "`none → attached(generation) → detached`", and the generation "grows each time a bucket's shadow is set or cleared".
#[tokio::test]
async fn a_shadow_has_three_states_and_each_attachment_a_generation() {
    let world = World::bare().await;
    let mut generations = vec![world.bucket().await.settings.generation];
    for attached in [true, false, true, false] {
        if attached {
            world.attach(false).await;
        } else {
            world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap();
        }
        let settings = world.bucket().await.settings.clone();
        assert_eq!(settings.shadow.is_some(), attached);
        generations.push(settings.generation);
    }
    assert!(generations.is_sorted_by(|earlier, later| earlier < later), "{generations:?}");
}

/// "A bucket without a shadow pays nothing for the feature."
#[tokio::test]
async fn a_bucket_without_a_shadow_asks_no_origin_and_keeps_no_rows() {
    let world = World::bare().await;
    let (bucket, cx) = (world.bucket().await, &world.cx);
    let mut commits = Vec::new();
    for objects in [&world.native as &dyn Objects, &world.shadow] {
        let before = world.meta.commits();
        objects.put(cx, &bucket, &k("k"), Body::from_bytes("x"), PutOptions::default()).await.unwrap();
        objects.get(cx, &bucket, &k("k"), GetOptions::default()).await.unwrap();
        objects.put_tags(cx, &bucket, &k("k"), None, Tags::default()).await.unwrap();
        objects.delete(cx, &bucket, &k("k"), DeleteOptions::default()).await.unwrap();
        objects.head(cx, &bucket, &k("k"), GetOptions::default()).await.unwrap_err();
        let options =
            ListOptions { prefix: String::new(), delimiter: String::new(), start: ListStart::First, limit: 1, source: ListSource::Merged };
        assert!(objects.list(cx, &bucket, options).await.unwrap().objects.is_empty());
        commits.push(world.meta.commits() - before);
    }
    assert_eq!(commits[0], commits[1], "not one commit more than without the crate");
    assert_eq!(world.origin.requests(), 0);
    assert_eq!((world.rows(key::tombstone_range("")).await, world.intents().await), (0, 0));
}

/// "CopyObject … from a cold source hydrate it, or stream it, once."
#[tokio::test]
async fn a_copy_of_a_cold_object_moves_it_once() {
    for write_through in [false, true] {
        let world = World::attached(write_through).await;
        let size = 6 * MIB;
        world.origin.insert("source", content(size), &attributes());
        let bucket = world.bucket().await;
        copy(&world.shadow, &world.cx, (&bucket, &k("source")), (&bucket, &k("target")), CopyOptions::default()).await.unwrap();
        assert_eq!(world.here("target").await.unwrap(), content(size));
        let target = world.native.head(&world.cx, &bucket, &k("target"), GetOptions::default()).await.unwrap();
        assert_eq!((target.metadata, target.tag_count), (attributes().metadata, 1));
        assert_eq!(world.hydrated("source").await, content(size));
        assert_eq!((world.origin.gets(), world.origin.bytes()), (1, size as u64));
        assert_eq!(world.origin.content("target").is_some(), write_through);
    }
}

/// "… and UploadPartCopy from a cold source hydrate it, or stream it, once."
#[tokio::test]
async fn parts_copied_from_a_cold_object_move_it_once() {
    let world = World::attached(false).await;
    let size = 3 * MIB as u64;
    world.origin.insert("source", content(3 * MIB), &attributes());
    let (bucket, source, target) = (world.bucket().await, k("source"), k("target"));
    let upload = world.shadow.create_upload(&world.cx, &bucket, &target, CreateUpload::default()).await.unwrap();
    for (number, first, last) in [(1, 0, MIB as u64 - 1), (2, MIB as u64, size - 1)] {
        let address = PartAddress { key: &target, upload: &upload, number: PartNumber::new(number).unwrap() };
        let range = Some((first, last));
        let options = CopyPartOptions { range, ..CopyPartOptions::default() };
        let part = copy_part(&world.shadow, &world.cx, (&bucket, &source), &bucket, address, options).await.unwrap().target;
        assert_eq!(part.size, last - first + 1);
    }
    assert_eq!(world.hydrated("source").await, content(3 * MIB));
    assert_eq!(world.origin.bytes(), size);
}

/// "If the origin's object changes under a transfer, nothing mixed is ever served or stored", and "changes made directly at the origin after
/// hydration: not seen by default".
#[tokio::test]
async fn an_object_that_changes_under_a_transfer_is_never_mixed() {
    let world = Arc::new(World::attached(false).await);
    let (old, new) = (content(64 * MIB), vec![7; 64 * MIB]);
    world.origin.insert("k", old.clone(), &OriginAttributes::default());
    let gate = world.origin.slow_down();
    let reader = world.begin_get("k").await;
    gate.add_permits(1);
    world.eventually(async || (gate.available_permits() == 0).then_some(())).await;
    world.origin.insert("k", new.clone(), &OriginAttributes::default());
    let gets = world.origin.gets();
    // A far range asks the origin for bytes of its own, which are another object's by now.
    let far = {
        let world = world.clone();
        tokio::spawn(async move { world.get_range("k", 60_000_000, 60_000_099).await })
    };
    world.eventually(async || (world.origin.gets() > gets).then_some(())).await;
    gate.add_permits(10_000);
    assert_eq!(far.await.unwrap().unwrap(), new[60_000_000..60_000_100], "nothing of it had been answered: a clean restart");
    assert_eq!(kind(reader.await.unwrap()), ErrorKind::OriginUnavailable, "some of it had been answered");
    assert!(world.hydrated("k").await == new);
    world.origin.insert("k", old.clone(), &OriginAttributes::default());
    let gets = world.origin.gets();
    assert!(world.get("k").await.unwrap() == new, "changes made at the origin after hydration are not seen");
    assert_eq!(world.origin.gets(), gets);

    let world = World::attached(false).await;
    world.origin.insert("k", old, &OriginAttributes::default());
    world.origin.fail_next("get", Fault::Truncate(20 * MIB));
    let bucket = world.bucket().await;
    let broken = world.shadow.get(&world.cx, &bucket, &k("k"), GetOptions::default()).await.unwrap();
    world.origin.insert("k", new.clone(), &OriginAttributes::default());
    assert_eq!(kind(broken.body.collect(usize::MAX).await), ErrorKind::OriginUnavailable);
    world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
    assert!(world.get("k").await.unwrap() == new);
    assert!(world.hydrated("k").await == new);
}

/// "An acknowledged write is never lost, nor undone by a slower copy of something older": here a copy that begins and ends around the
/// moment at which a write-through lands.
#[tokio::test]
async fn a_read_during_a_write_through_does_not_undo_it() {
    for read_ends_first in [false, true] {
        let world = Arc::new(World::attached(true).await);
        let old = vec![7; 9 * MIB];
        world.origin.insert("k", old.clone(), &OriginAttributes::default());
        let (writer, rest_of_body) = begin_put(&world, MIB).await;
        let slow = world.origin.slow_down();
        let reader = world.begin_get("k").await;
        if read_ends_first {
            slow.add_permits(10_000);
            assert!(reader.await.unwrap().unwrap() == old, "the write is not acknowledged yet");
            rest_of_body.add_permits(100);
            writer.await.unwrap().unwrap();
        } else {
            rest_of_body.add_permits(100);
            writer.await.unwrap().unwrap();
            slow.add_permits(10_000);
            assert!(reader.await.unwrap().unwrap() == old, "a reader keeps what it began to read");
        }
        world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
        assert_eq!(world.get("k").await.unwrap(), content(MIB));
        assert_eq!((world.here("k").await, world.intents().await), (world.origin.content("k"), 0));
    }
}

/// "from then on no request reads from or writes to the origin": a write that had begun is over when the detach is acknowledged.
#[tokio::test]
async fn detaching_waits_for_writes_that_had_begun() {
    let world = Arc::new(World::attached(true).await);
    let (writer, rest_of_body) = begin_put(&world, MIB).await;
    let detach = {
        let world = world.clone();
        tokio::spawn(async move { world.shadow.detach(&world.cx, &*world.bucket().await, true).await.map(drop) })
    };
    world.eventually(async || world.bucket().await.settings.shadow.is_none().then_some(())).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!detach.is_finished(), "the origin may still be written to");
    rest_of_body.add_permits(1);
    let written = writer.await.unwrap();
    detach.await.unwrap().unwrap();
    let requests = world.origin.requests();
    match written {
        Ok(()) => assert_eq!(world.get("k").await.unwrap(), content(MIB)),
        Err(_) => assert_eq!(world.here("k").await, None, "not acknowledged, and the origin is none of ours any more"),
    }
    world.put("k", "later").await.unwrap();
    assert_eq!(world.get("k").await.unwrap(), "later");
    assert_eq!(world.origin.requests(), requests);
}

/// "It refuses while … repairs are pending, naming how many, unless forced": here with nothing cold that would keep it already.
#[tokio::test]
async fn pending_repairs_keep_a_shadow_unless_forced() {
    let world = World::attached(true).await;
    for key in ["a", "b"] {
        world.put(key, "old").await.unwrap();
    }
    world.meta.set(|_, batch| {
        let settles = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")));
        if settles { CommitFault::Unavailable } else { CommitFault::None }
    });
    for key in ["a", "b"] {
        world.put(key, "new").await.unwrap_err();
    }
    world.meta.heal();
    let refused = world.shadow.detach(&world.cx, &*world.bucket().await, false).await.unwrap_err();
    assert!(refused.message().starts_with("2 repairs"), "{refused}");
    assert!(world.bucket().await.settings.shadow.is_some());
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    assert_eq!(world.bucket().await.settings.shadow, None);
}

/// "*Status* shows … egress (`origin bytes / unique bytes moved`, aiming at 1.000), bytes served from here …, last errors of the origin".
#[tokio::test]
async fn the_status_counts_what_left_the_origin() {
    let world = World::attached(false).await;
    for (key, size) in [("a", 300_000), ("b", 5 * MIB)] {
        world.origin.insert(key, content(size), &OriginAttributes::default());
        world.get(key).await.unwrap();
        world.hydrated(key).await;
        for _ in 0..3 {
            world.get(key).await.unwrap();
        }
    }
    world.origin.fail_next("get", Fault::Refused);
    world.get("absent").await.unwrap_err();
    let status = world.shadow.status(&*world.bucket().await).await.unwrap().unwrap();
    let moved = 300_000 + 5 * MIB as u64;
    assert_eq!((status.counts.origin_bytes, status.counts.hydrated_bytes, status.counts.hydrated_objects), (moved, moved, 2));
    assert_eq!((status.counts.cold_reads, status.counts.local_reads), (2, 6));
    assert_eq!(status.last_errors.len(), 1);
    assert_eq!(world.origin.bytes(), moved);
}

/// A client whose body arrives slowly keeps nobody else from writing the key.
#[tokio::test]
async fn a_slow_body_does_not_hold_up_other_writers() {
    let world = Arc::new(World::attached(true).await);
    let (body, gate) = halting(MIB);
    let slow = {
        let world = world.clone();
        tokio::spawn(async move {
            let bucket = world.bucket().await;
            world.shadow.put(&world.cx, &bucket, &k("k"), body, PutOptions::default()).await.map(drop)
        })
    };
    world.put("k", "quick").await.unwrap();
    assert_eq!((world.get("k").await.unwrap(), world.origin.content("k").unwrap()), ("quick".into(), "quick".into()));
    gate.add_permits(1);
    slow.await.unwrap().unwrap();
    assert_eq!((world.here("k").await, world.origin.content("k")), (Some(content(MIB)), Some(content(MIB))));
    assert_eq!(world.intents().await, 0);
}
