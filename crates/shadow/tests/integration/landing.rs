//! semantics.md: "A byte leaves the origin at most once, whatever the readers do": also for who comes while a transfer is about to end.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use umbra_core::{BodyStream, Entity, ErrorKind, HydratePolicy, RangeSpec};
use umbra_meta::key;
use umbra_shadow::{
    AttachRequest,
    origin::{OriginAttributes, memory::Fault},
};
use umbra_store::{GetOptions, Objects};

use crate::{
    held_meta::{Asked, HeldMeta, settles, touches_object},
    world::{World, content, k, kind},
};

const MIB: usize = 1024 * 1024;

/// A transfer that nobody needs any more looks once more at its key: who asks for it meanwhile goes on with what it brought.
#[tokio::test]
async fn a_transfer_that_only_has_to_land_leaves_its_pieces_to_the_next() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(false).await;
    let request = AttachRequest { hydrate: Some(HydratePolicy::Touched), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &*world.bucket().await, request).await.unwrap();
    world.origin.insert("k", content(5 * MIB), &OriginAttributes::default());
    let options = GetOptions { range: Some(RangeSpec::From { first: 0, last: Some(9) }), ..GetOptions::default() };
    let first = world.shadow.get(&world.cx, &*world.bucket().await, &k("k"), options).await.unwrap();
    let mut body = first.body.into_stream();
    while body.try_next().await.unwrap().is_some() {}
    world.eventually(async || (world.rows(key::all_pieces()).await == 2).then_some(())).await;
    let lands = meta.hold(0, |asked| asked.reads(b"w/"));
    drop(body);
    lands.arrived(&world).await;
    let looks = meta.hold(0, |asked| asked.reads(b"w/"));
    let reader = world.clone();
    let second = tokio::spawn(async move { reader.get_range("k", 0, 9).await });
    looks.arrived(&world).await;
    looks.release();
    // From its look to its transfer it waits for nothing.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    lands.release();
    assert_eq!(second.await.unwrap().unwrap(), content(10));
    assert_eq!(world.origin.bytes(), MIB as u64, "the piece left the origin once");
    assert_eq!(world.rows(key::all_pieces()).await, 2);
}

/// "All concurrent readers of a cold object share one transfer": also those who come while the key is written through, if the origin is yet to
/// be asked by then.
#[tokio::test]
async fn a_transfer_that_is_yet_to_ask_outlives_the_beginning_of_a_write() {
    let meta = Arc::new(HeldMeta::default());
    let world = Arc::new(World::bare_over(meta.clone()).await);
    world.attach(true).await;
    let get = || {
        tokio::spawn({
            let world = world.clone();
            async move { world.get("k").await }
        })
    };
    // Its reader looks, and then the transfer.
    let asks = meta.hold(1, |asked| asked.reads(b"w/"));
    let early = get();
    asks.arrived(&world).await;
    let lands = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if settles(batch)));
    let writer = tokio::spawn({
        let world = world.clone();
        async move { world.put("k", content(MIB)).await }
    });
    lands.arrived(&world).await;
    assert!(world.origin.content("k").is_some(), "the origin has it, and we do not");
    let looks = meta.hold(0, |asked| asked.reads(b"w/"));
    let late = get();
    looks.arrived(&world).await;
    looks.release();
    // From its looks to its transfer it waits for nothing.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    asks.release();
    for reader in [early, late] {
        assert!(reader.await.unwrap().unwrap() == content(MIB));
    }
    assert_eq!(world.origin.bytes(), MIB as u64, "it left the origin once");
    lands.release();
    writer.await.unwrap().unwrap();
    assert!(world.here("k").await.unwrap() == content(MIB));
}

/// "A newer PUT or DELETE always wins, and the copy is thrown away": not from under a transfer that takes it up while the sweep looks at it, whose
/// reader would be told that what is stored is damaged.
#[tokio::test(start_paused = true)]
async fn a_transfer_loses_no_pieces_to_the_sweep() {
    let meta = Arc::new(HeldMeta::default());
    let world = World::bare_over(meta.clone()).await;
    world.attach(false).await;
    world.origin.insert("k", content(9 * MIB), &OriginAttributes::default());
    for fault in std::iter::once(Fault::Truncate(5 * MIB)).chain([const { Fault::Truncate(0) }; 3]) {
        world.origin.fail_next("get", fault);
    }
    world.get("k").await.unwrap_err();
    assert!(world.rows(key::all_pieces()).await > 1, "pieces are kept");
    // It finds the key by a scan and a look, and looks at it once more by itself.
    let sweeps = meta.hold(2, |asked| asked.reads(b"h/"));
    let world = Arc::new(world.restarted().await);
    sweeps.arrived(&world).await;
    let gate = world.origin.hold("head");
    let reader = world.clone();
    let read = tokio::spawn(async move { reader.get("k").await });
    // One that did not wait would bring the rest by now, and ask for the headers of the whole before it reads the pieces.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    world.delete("k").await.unwrap();
    sweeps.release();
    world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
    gate.add_permits(1000);
    assert_eq!(kind(read.await.unwrap()), ErrorKind::NotFound(Entity::Object));
    assert!(world.blobs.is_empty());
}

/// A GET of "k" whose reader has had its first bytes: its body, and these.
async fn slow_reader(world: &World) -> (BodyStream, Vec<u8>) {
    let got = world.shadow.get(&world.cx, &*world.bucket().await, &k("k"), GetOptions::default()).await.unwrap();
    let mut body = got.body.into_stream();
    let first = body.try_next().await.unwrap().unwrap().to_vec();
    (body, first)
}

/// Reads the rest of a slow reader's body behind what it has `read`.
async fn rest(mut body: BodyStream, mut read: Vec<u8>) -> Vec<u8> {
    while let Some(bytes) = body.try_next().await.expect("it gets all of it") {
        read.extend_from_slice(&bytes);
    }
    read
}

/// "A newer PUT or DELETE always wins, and the copy is thrown away": whoever reads it reads on, also when the hourly sweep comes by.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_a_copy_that_came_too_late_loses_no_pieces_to_the_sweep() {
    let meta = Arc::new(HeldMeta::default());
    let world = World::bare_over(meta.clone()).await;
    world.attach(false).await;
    world.shadow.start().await.unwrap();
    world.origin.insert("k", content(9 * MIB), &OriginAttributes::default());
    let lands = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if touches_object(batch)));
    let (body, read) = slow_reader(&world).await;
    lands.arrived(&world).await;
    world.put("k", "newer").await.unwrap();
    let pieces = world.rows(key::all_pieces()).await - 1;
    assert!(pieces > 1);
    lands.release();
    world.eventually(async || (world.rows(key::all_pieces()).await == pieces).then_some(())).await;
    let sweeps = meta.hold(0, |asked| asked.reads(b"h/"));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    sweeps.arrived(&world).await;
    sweeps.release();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(rest(body, read).await == content(9 * MIB));
    world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
    assert_eq!(world.here("k").await.unwrap(), "newer");
}

/// "A newer PUT or DELETE always wins": nor does who reads a copy that waits for its origin to tell the rest of it.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_a_copy_that_waits_loses_no_pieces_to_the_sweep() {
    let world = World::bare_over(Arc::new(HeldMeta::default())).await;
    world.attach(false).await;
    world.shadow.start().await.unwrap();
    world.origin.insert("k", content(9 * MIB), &OriginAttributes::default());
    world.origin.fail_always("head", "k", Some(Fault::Unavailable));
    let (body, read) = slow_reader(&world).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(world.rows(key::all_pieces()).await > 1);
    world.put("k", "newer").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(rest(body, read).await == content(9 * MIB));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((world.rows(key::all_pieces()).await, world.blobs.len()), (0, 0));
}

/// Who reads slowly gets all of a copy that is overwritten meanwhile, also once it was the object.
#[tokio::test]
async fn a_slow_reader_of_a_copy_that_is_overwritten_gets_all_of_it() {
    let world = World::attached(false).await;
    world.origin.insert("k", content(9 * MIB), &OriginAttributes::default());
    let (body, read) = slow_reader(&world).await;
    world.hydrated("k").await;
    world.put("k", "newer").await.unwrap();
    world.reclaim().await;
    assert!(rest(body, read).await == content(9 * MIB));
    world
        .eventually(async || {
            world.reclaim().await;
            world.blobs.is_empty().then_some(())
        })
        .await;
}

/// Also who comes while the copy becomes the object.
#[tokio::test]
async fn who_joins_while_a_copy_is_published_gets_all_of_it() {
    let meta = Arc::new(HeldMeta::default());
    let world = World::bare_over(meta.clone()).await;
    world.attach(false).await;
    world.origin.insert("k", content(9 * MIB), &OriginAttributes::default());
    let lands = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if touches_object(batch)));
    assert_eq!(world.get_range("k", 0, 9).await.unwrap(), content(10));
    lands.arrived(&world).await;
    let (body, read) = slow_reader(&world).await;
    lands.release();
    world.hydrated("k").await;
    world.put("k", "newer").await.unwrap();
    world.reclaim().await;
    assert!(rest(body, read).await == content(9 * MIB));
}

/// Also who reads what another transfer has taken over, whether that makes it the object or comes too late.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_pieces_that_were_taken_over_gets_all_of_them() {
    for is_late in [false, true] {
        let meta = Arc::new(HeldMeta::default());
        let world = World::bare_over(meta.clone()).await;
        world.attach(false).await;
        world.origin.insert("k", content(9 * MIB), &OriginAttributes::default());
        world.origin.fail_always("head", "k", Some(Fault::Unavailable));
        let (body, read) = slow_reader(&world).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        world.origin.fail_always("head", "k", None);
        let lands = meta.hold(0, |asked| matches!(asked, Asked::Commit(batch) if touches_object(batch)));
        assert_eq!(world.get_range("k", 0, 9).await.unwrap(), content(10));
        lands.arrived(&world).await;
        if is_late {
            world.put("k", "newer").await.unwrap();
            lands.release();
            tokio::time::sleep(Duration::from_secs(600)).await;
        } else {
            lands.release();
            world.hydrated("k").await;
            world.put("k", "newer").await.unwrap();
            world.reclaim().await;
        }
        assert!(rest(body, read).await == content(9 * MIB), "{is_late}");
        tokio::time::sleep(Duration::from_secs(600)).await;
        world.reclaim().await;
        assert_eq!((world.rows(key::all_pieces()).await, world.blobs.len()), (0, 0), "{is_late}");
    }
}

/// Also who reads what another transfer finds to be of an object that the origin holds no more.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_pieces_that_were_found_outdated_gets_all_of_them() {
    let world = World::attached(false).await;
    world.origin.insert("k", content(9 * MIB), &OriginAttributes::default());
    world.origin.fail_always("head", "k", Some(Fault::Unavailable));
    let (body, read) = slow_reader(&world).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let pieces = world.rows(key::all_pieces()).await;
    assert!(pieces > 1);
    world.origin.fail_always("head", "k", None);
    world.origin.insert("k", "other", &OriginAttributes::default());
    assert_eq!(world.hydrated_by_reading("k").await, "other");
    assert!(rest(body, read).await == content(9 * MIB));
    world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
    assert_eq!(world.here("k").await.unwrap(), "other");
}
