//! semantics.md, "Reading".

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use tokio::{sync::Semaphore, task::JoinHandle};
use umbra_core::{
    Acl, Body, Entity, ErrorKind, Fault as S3Fault, Grant, Grantee, HydratePolicy, Matches, PartNumber, Permission, Preconditions,
    RangeSpec, ReadSource, RequestContext, Result, SystemHeaders, Tags, UserMetadata,
};
use umbra_meta::key;
use umbra_shadow::{
    AttachRequest,
    origin::{Origin, OriginAttributes, ShadowPath, memory::Fault},
};
use umbra_store::{AclChange, GetOptions, Objects};

use crate::world::{World, content, k, kind};

const MIB: usize = 1024 * 1024;
/// The size of an object that comes by many requests.
const LARGE: usize = 64 * MIB;

fn attributes() -> OriginAttributes {
    OriginAttributes {
        headers: SystemHeaders {
            content_type: Some("text/plain".into()),
            cache_control: Some("max-age=5".into()),
            content_disposition: Some("inline".into()),
            content_encoding: Some("gzip".into()),
            content_language: Some("de".into()),
            expires: Some("whenever".into()),
            ..SystemHeaders::default()
        },
        metadata: UserMetadata::new([("colour".into(), "blau-grün".into())]),
        tags: Tags::new([("team".into(), "a b".into())]),
    }
}

/// "GET: here first. On a miss: the origin, streamed to the client as it arrives while the same bytes are stored here."
#[tokio::test]
async fn a_cold_object_of_any_size_is_served_and_then_here() {
    for size in [0, 1, 4096, 4097, 100 * 1024, 8 * 1024 * 1024, 8 * 1024 * 1024 + 1, 21 * 1024 * 1024 + 77] {
        let world = World::attached(false).await;
        world.origin.insert("cold", content(size), &attributes());
        assert_eq!(world.get("cold").await.unwrap(), content(size), "{size}");
        assert_eq!(world.hydrated("cold").await, content(size), "{size}");
        let (gets, heads) = (world.origin.gets(), world.origin.heads());
        assert_eq!(world.get("cold").await.unwrap(), content(size), "{size}");
        assert_eq!((world.origin.gets(), world.origin.heads()), (gets, heads), "a hydrated object costs the origin nothing");
        assert_eq!(world.origin.bytes(), size as u64);
        match size {
            // It has no first byte.
            0 => assert_eq!(gets, 2),
            // A HEAD for the headers of the whole, and one that tells whose the tags are.
            _ if size <= 16 * MIB => assert_eq!((gets, heads), (1, 2)),
            _ => assert_eq!((gets, heads), (3, 2)),
        }
        assert_eq!(world.rows(key::all_pieces()).await, 0);
    }
}

/// "A client cannot tell a hydrated object from the original: ETag, length, system headers, user metadata, tags, checksums, Last-Modified …"
#[tokio::test]
async fn a_hydrated_object_looks_like_the_original() {
    let world = World::attached(false).await;
    world.origin.insert("k", content(70_000), &attributes());
    world.origin.set_etag("k", "d41d8cd98f00b204e9800998ecf8427e-3");
    let bucket = world.bucket().await;
    let cold = world.shadow.head(&world.cx, &bucket, &k("k"), GetOptions::default()).await.unwrap();
    assert_eq!(world.origin.gets(), 0, "HEAD moves no body");
    assert_eq!(cold.source, ReadSource::Origin);
    assert_eq!(world.shadow.tags(&world.cx, &bucket, &k("k"), None).await.unwrap().0, attributes().tags);
    world.get("k").await.unwrap();
    world.hydrated("k").await;
    let mut warm = world.shadow.head(&world.cx, &bucket, &k("k"), GetOptions::default()).await.unwrap();
    assert_eq!(warm.source, ReadSource::Local);
    assert!(!warm.checksums.is_empty(), "ours to add");
    warm.checksums.clear();
    warm.source = ReadSource::Origin;
    assert_eq!((warm.tags.take(), &cold.tags), (Some(attributes().tags), &None), "an origin is asked for them by themselves");
    assert_eq!(warm, cold);
    assert_eq!(world.shadow.tags(&world.cx, &bucket, &k("k"), None).await.unwrap().0, attributes().tags);
}

/// "All concurrent readers of a cold object share one transfer … A reader that leaves does not stop it; a reader that comes late reads what
/// has arrived and follows the rest."
#[tokio::test]
async fn readers_share_one_transfer_that_outlives_them() {
    let world = Arc::new(World::attached(false).await);
    let size = 15 * MIB;
    world.origin.insert("big", content(size), &attributes());
    let gate = world.origin.slow_down();
    world.begin_get("big").await.abort();
    let early: Vec<_> = (0..10)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.get("big").await.unwrap() })
        })
        .collect();
    gate.add_permits(200);
    world.eventually(async || (gate.available_permits() == 0).then_some(())).await;
    let late: Vec<_> = (0..10)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.get("big").await.unwrap() })
        })
        .collect();
    gate.add_permits(10_000);
    for body in join_all(early.into_iter().chain(late)).await {
        assert_eq!(body.unwrap(), content(size));
    }
    assert_eq!(world.hydrated("big").await, content(size));
    assert_eq!((world.origin.gets(), world.origin.bytes()), (1, size as u64));
}

/// "Range GET on a cold object: the wanted range comes first".
#[tokio::test]
async fn a_far_range_does_not_wait_for_the_beginning() {
    let world = Arc::new(World::attached(false).await);
    let size = LARGE;
    world.origin.insert("big", content(size), &attributes());
    let gate = world.origin.slow_down();
    // One chunk of the whole arrives, then the transfer stands still; the wanted range is within the first piece it asks for.
    let reader = world.begin_get("big").await;
    gate.add_permits(1);
    world.eventually(async || (gate.available_permits() == 0).then_some(())).await;
    let far = {
        let world = world.clone();
        tokio::spawn(async move { world.get_range("big", 60_000_000, 60_099_999).await })
    };
    while !far.is_finished() {
        // Those that wait take turns.
        gate.add_permits(1);
        world.eventually(async || (gate.available_permits() == 0 || far.is_finished()).then_some(())).await;
    }
    assert_eq!(far.await.unwrap().unwrap(), content(size).slice(60_000_000..60_100_000));
    let brought = world.origin.bytes();
    assert!(brought < size as u64 / 4, "{brought} bytes of the rest came first");
    assert_eq!(world.here("big").await, None, "the whole is still on its way");
    gate.add_permits(10_000);
    assert_eq!(reader.await.unwrap().unwrap(), content(size));
    world.hydrated("big").await;
    assert_eq!(world.origin.bytes(), size as u64);
    assert_eq!(world.get_range("big", 5, 9).await.unwrap(), content(size).slice(5..10));
    assert_eq!(kind(world.get_range("big", size as u64, size as u64 + 1).await), ErrorKind::Invalid(S3Fault::InvalidRange));
}

/// "A byte leaves the origin at most once, whatever the readers do": readers of the whole and of any range of it, in any order.
#[tokio::test]
async fn mixed_readers_cost_each_byte_once() {
    for size in [15 * MIB, 50 * MIB, LARGE] {
        let world = Arc::new(World::attached(false).await);
        let body = content(size);
        world.origin.insert("big", body.clone(), &attributes());
        let gate = world.origin.slow_down();
        let whole = world.begin_get("big").await;
        let readers: Vec<_> = (0..20_u64)
            .map(|reader| {
                let (world, body, first) = (world.clone(), body.clone(), reader * 7_919_357 % (size as u64 - MIB as u64));
                tokio::spawn(async move {
                    let got = world.get_range("big", first, first + MIB as u64 - 1).await.unwrap();
                    let first = usize::try_from(first).unwrap();
                    assert!(got == body.slice(first..first + MIB));
                })
            })
            .collect();
        let bucket = world.bucket().await;
        for _ in 0..5 {
            gate.add_permits(20);
            world.eventually(async || (gate.available_permits() == 0).then_some(())).await;
            // One that leaves at once.
            drop(world.shadow.get(&world.cx, &bucket, &k("big"), GetOptions::default()).await.unwrap());
        }
        gate.add_permits(10_000);
        assert!(whole.await.unwrap().unwrap() == body);
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(world.hydrated("big").await == body);
        assert_eq!(world.origin.bytes(), size as u64);
    }
}

/// "An origin that ignores Range … is handled": of one that is known to, nothing is asked besides the whole.
#[tokio::test]
async fn a_large_object_of_an_origin_that_ignores_ranges_comes_whole() {
    let world = Arc::new(World::attached(false).await);
    world.origin.insert("big", content(LARGE), &attributes());
    world.origin.ignore_ranges();
    let gate = world.origin.slow_down();
    let whole = world.begin_get("big").await;
    gate.add_permits(1);
    world.eventually(async || (gate.available_permits() == 0).then_some(())).await;
    let far = {
        let world = world.clone();
        tokio::spawn(async move { world.get_range("big", 60_000_000, 60_000_099).await })
    };
    gate.add_permits(10_000);
    assert!(whole.await.unwrap().unwrap() == content(LARGE));
    assert_eq!(far.await.unwrap().unwrap(), content(LARGE).slice(60_000_000..60_000_100));
    assert!(world.hydrated("big").await == content(LARGE));
    assert_eq!((world.origin.gets(), world.origin.bytes()), (1, LARGE as u64));
}

/// "An origin that … sends no length is handled."
#[tokio::test]
async fn an_origin_without_lengths_is_read_all_the_same() {
    let world = World::attached(false).await;
    world.origin.insert("k", content(300_000), &attributes());
    world.origin.hide_length();
    let bucket = world.bucket().await;
    let object = world.shadow.get(&world.cx, &bucket, &k("k"), GetOptions::default()).await.unwrap();
    assert_eq!((object.info.size, object.body.size()), (300_000, Some(300_000)));
    assert_eq!(object.body.collect(usize::MAX).await.unwrap(), content(300_000));
    assert_eq!(world.hydrated("k").await, content(300_000));
}

/// "404 only when here *and* the origin say so with authority; an origin that cannot answer, throttles, or refuses our credentials gives 503".
#[tokio::test]
async fn absence_is_never_guessed() {
    let world = World::attached(false).await;
    let bucket = world.bucket().await;
    world.origin.insert("k", content(10), &attributes());
    for (fault, expected) in [(Fault::Unavailable, ErrorKind::OriginUnavailable), (Fault::Refused, ErrorKind::OriginRefused)] {
        for key in ["k", "absent"] {
            world.origin.fail_next("get", fault.clone());
            assert_eq!(kind(world.get(key).await), expected);
            world.origin.fail_next("head", fault.clone());
            assert_eq!(kind(world.shadow.head(&world.cx, &bucket, &k(key), GetOptions::default()).await), expected);
            world.origin.fail_next("tags", fault.clone());
            assert_eq!(kind(world.shadow.tags(&world.cx, &bucket, &k(key), None).await), expected);
        }
    }
    assert_eq!(kind(world.get("absent").await), ErrorKind::NotFound(Entity::Object));
    assert_eq!(kind(world.shadow.head(&world.cx, &bucket, &k("absent"), GetOptions::default()).await), ErrorKind::NotFound(Entity::Object));
    assert_eq!(world.get("k").await.unwrap(), content(10));
}

/// A body that breaks off is asked for again, from where it broke off; an origin that goes on breaking off is an error for the reader, and
/// what has arrived is kept for the next.
#[tokio::test(start_paused = true)]
async fn a_broken_transfer_goes_on_where_it_broke_off() {
    for (size, keep) in [(1000, 999), (1000, 0), (9 * MIB, 9 * MIB - 1), (9 * MIB, 5 * MIB)] {
        let world = World::attached(false).await;
        world.origin.insert("k", content(size), &attributes());
        world.origin.fail_next("get", Fault::Truncate(keep));
        assert_eq!(world.get("k").await.unwrap(), content(size));
        assert_eq!(world.hydrated("k").await, content(size));
        assert_eq!((world.origin.gets(), world.origin.bytes()), (2, size as u64));
    }
    for (size, keep, kept) in [(9 * MIB, 9 * MIB - 1, 9 * MIB - 1), (9 * MIB, 5 * MIB, 5 * MIB), (9 * MIB, 1000, 0), (1000, 999, 0)] {
        let world = World::attached(false).await;
        world.origin.insert("k", content(size), &attributes());
        world.origin.fail_next("get", Fault::Truncate(keep));
        for _ in 0..3 {
            world.origin.fail_next("get", Fault::Truncate(0));
        }
        assert_eq!(kind(world.get("k").await), ErrorKind::OriginUnavailable);
        assert_eq!(world.here("k").await, None);
        let world = world.restarted().await;
        assert_eq!(world.get("k").await.unwrap(), content(size));
        assert_eq!(world.hydrated("k").await, content(size));
        assert_eq!(world.origin.bytes(), (keep + size - kept) as u64, "{size} {keep}");
        world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
    }
}

/// Bytes that do not match the origin's own ETag are not kept, and no reader takes them for whole.
#[tokio::test]
async fn damaged_bytes_are_refused() {
    let world = World::attached(false).await;
    world.origin.insert("k", content(200_000), &attributes());
    world.origin.set_etag("k", "00000000000000000000000000000000");
    assert_eq!(kind(world.get("k").await), ErrorKind::OriginUnavailable);
    world.eventually(async || world.blobs.is_empty().then_some(())).await;
    assert_eq!(world.here("k").await, None);
}

/// "Conditional GET and HEAD are judged against the origin's ETag and date for cold keys."
#[tokio::test]
async fn conditions_are_judged_without_moving_a_body() {
    let world = World::attached(false).await;
    world.origin.insert("k", content(10), &attributes());
    let etag = world.origin.etag("k").unwrap();
    let none_match = Preconditions { if_none_match: Some(Matches::ETags(vec![etag.clone()])), ..Preconditions::default() };
    let stale = Preconditions { if_match: Some(Matches::parse("\"other\"")), ..Preconditions::default() };
    let bucket = world.bucket().await;
    for (preconditions, expected) in [(none_match, ErrorKind::NotModified), (stale, ErrorKind::Precondition)] {
        let options = GetOptions { preconditions, ..GetOptions::default() };
        assert_eq!(kind(world.get_with("k", options.clone()).await), expected);
        assert_eq!(kind(world.shadow.head(&world.cx, &bucket, &k("k"), options).await), expected);
    }
    assert_eq!(world.origin.gets(), 0);
    let matching = Preconditions { if_match: Some(Matches::ETags(vec![etag])), ..Preconditions::default() };
    assert_eq!(world.get_with("k", GetOptions { preconditions: matching, ..GetOptions::default() }).await.unwrap(), content(10));
}

/// "A newer PUT or DELETE always wins, and the copy is thrown away."
#[tokio::test]
async fn a_newer_write_wins_over_a_slow_hydration() {
    for write_through in [false, true] {
        for size in [0_usize, 1, 100 * 1024, 9 * 1024 * 1024] {
            for deletes in [false, true] {
                let world = Arc::new(World::attached(write_through).await);
                world.origin.insert("k", content(size), &attributes());
                let gate = world.origin.slow_down();
                let slow = world.begin_get("k").await;
                if deletes {
                    world.delete("k").await.unwrap();
                } else {
                    world.put("k", "newer").await.unwrap();
                }
                gate.add_permits(10_000);
                assert_eq!(slow.await.unwrap().unwrap(), content(size), "a reader keeps what it began to read");
                world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
                if deletes {
                    assert_eq!(kind(world.get("k").await), ErrorKind::NotFound(Entity::Object), "{write_through} {size}");
                } else {
                    assert_eq!(world.get("k").await.unwrap(), "newer", "{write_through} {size}");
                }
                world.eventually(async || world.blobs.is_empty().then_some(())).await;
            }
        }
    }
}

/// Many readers and writers of one cold key: every read sees a value that was there at some moment of it, never a mixture.
#[tokio::test]
async fn racing_reads_and_writes_never_mix() {
    for write_through in [false, true] {
        let world = Arc::new(World::attached(write_through).await);
        world.origin.insert("k", content(600_000), &attributes());
        let mut tasks = Vec::new();
        for n in 0..20_u8 {
            let world = world.clone();
            tasks.push(tokio::spawn(async move {
                let value = world.get("k").await.unwrap();
                let distinct: HashSet<u8> = value.iter().copied().collect();
                assert!(value == content(600_000) || distinct.len() == 1, "a whole value");
                world.put("k", vec![n; 400_000]).await.unwrap();
                assert_ne!(world.get("k").await.unwrap(), content(600_000), "never back to the origin's");
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let last = world.get("k").await.unwrap();
        if write_through {
            assert_eq!(world.origin.content("k").unwrap(), last, "both sides hold the same last write");
        }
    }
}

/// Puts an object of parts of these sizes at the origin.
async fn insert_parts(world: &World, sizes: &[usize]) {
    let path = ShadowPath::default();
    let upload = world.origin.create_upload(&path, &k("k"), &OriginAttributes::default()).await.unwrap();
    let mut parts = Vec::new();
    for (number, size) in (1..).zip(sizes) {
        let number = PartNumber::new(number).unwrap();
        let body = Body::from_bytes(content(*size));
        parts.push((number, world.origin.put_part(&path, &k("k"), &upload, number, *size as u64, body).await.unwrap()));
    }
    world.origin.complete_upload(&path, &k("k"), &upload, &parts).await.unwrap();
}

fn part(number: i64) -> GetOptions {
    GetOptions { part_number: PartNumber::new(number).ok(), ..GetOptions::default() }
}

/// "`?partNumber=` and GetObjectAttributes work on hydrated multipart objects: part sizes are recovered from the origin where it can tell them."
#[tokio::test]
async fn part_boundaries_are_recovered() {
    for sizes in [[700_000, 700_000, 9], [700_000, 9, 700_000]] {
        let world = World::attached(false).await;
        insert_parts(&world, &sizes).await;
        world.get("k").await.unwrap();
        world.hydrated("k").await;
        for (number, size) in (1..).zip(sizes) {
            assert_eq!(world.get_with("k", part(number)).await.unwrap(), content(size), "{sizes:?} {number}");
        }
    }
}

/// The same while the key is cold; where the origin does not know of parts, the object is brought in first.
#[tokio::test]
async fn parts_of_a_cold_object_are_read() {
    for told in ["together", "one by one"] {
        for sizes in [[MIB, MIB, 9], [MIB, 9, MIB]] {
            let world = World::attached(false).await;
            insert_parts(&world, &sizes).await;
            if told == "one by one" {
                world.origin.hide_parts();
            }
            let bucket = world.bucket().await;
            let options = GetOptions { wants_parts: true, ..GetOptions::default() };
            let info = world.shadow.head(&world.cx, &bucket, &k("k"), options).await.unwrap();
            assert_eq!(info.parts.iter().map(|part| part.size as usize).collect::<Vec<_>>(), sizes, "{told}");
            assert_eq!(world.origin.gets(), 0);
            for (number, size) in [3, 2, 1].into_iter().zip(sizes.into_iter().rev()) {
                assert_eq!(world.get_with("k", part(number)).await.unwrap(), content(size), "{told} {sizes:?} {number}");
            }
            assert_eq!(kind(world.get_with("k", part(4)).await), ErrorKind::Invalid(S3Fault::InvalidPartNumber));
            world.hydrated("k").await;
            assert_eq!(world.origin.bytes(), sizes.iter().sum::<usize>() as u64, "{told}");
        }
    }
    let world = World::attached(false).await;
    world.origin.insert("k", content(1000), &attributes());
    assert_eq!(world.get_with("k", part(1)).await.unwrap(), content(1000));
    assert_eq!(kind(world.get_with("k", part(2)).await), ErrorKind::Invalid(S3Fault::InvalidPartNumber));
}

/// `hydrate = touched`: what readers touch is kept, the rest stays at the origin until they have touched it all.
#[tokio::test]
async fn only_what_is_touched_comes_in() {
    let world = World::attached(false).await;
    let request = AttachRequest { hydrate: Some(HydratePolicy::Touched), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &*world.bucket().await, request).await.unwrap();
    let size = 5 * MIB + 99;
    world.origin.insert("k", content(size), &attributes());
    let (first, last) = (2 * MIB as u64 + 5, 2 * MIB as u64 + 9);
    for _ in 0..3 {
        assert_eq!(world.get_range("k", first, last).await.unwrap(), content(size).slice(first as usize..=last as usize));
    }
    assert_eq!((world.origin.bytes(), world.here("k").await), (MIB as u64, None));
    world.eventually(async || (world.rows(key::all_pieces()).await == 2).then_some(())).await;
    let world = world.restarted().await;
    assert_eq!(world.get_range("k", first, last).await.unwrap().len(), 5);
    assert_eq!((world.origin.bytes(), world.rows(key::all_pieces()).await), (MIB as u64, 2), "kept over a restart");
    for first in (0..size as u64).step_by(MIB) {
        world.get_range("k", first, first).await.unwrap();
    }
    assert_eq!(world.hydrated("k").await, content(size));
    assert_eq!((world.origin.bytes(), world.rows(key::all_pieces()).await), (size as u64, 0));
}

/// "Ranges add up to the whole object piece by piece …, survive a restart, and the object is hydrated when the last piece lands."
#[tokio::test]
async fn what_has_arrived_survives_a_restart() {
    let world = Arc::new(World::attached(false).await);
    let size = 15 * MIB;
    world.origin.insert("k", content(size), &attributes());
    let gate = world.origin.slow_down();
    let reader = world.begin_get("k").await;
    gate.add_permits(200);
    world.eventually(async || (gate.available_permits() == 0 && world.rows(key::all_pieces()).await > 3).then_some(())).await;
    world.shadow.shutdown().await;
    assert_eq!(kind(reader.await.unwrap()), ErrorKind::Cancelled);
    assert_eq!(world.here("k").await, None);
    gate.add_permits(10_000);
    let world = world.restarted().await;
    assert_eq!(world.hydrated("k").await, content(size), "without anybody asking again");
    let excess = world.origin.bytes() - size as u64;
    assert!(excess <= 64 * 1024, "{excess} bytes more than the object: what was on its way");
    assert_eq!(world.rows(key::all_pieces()).await, 0);
    a_hydrated_object_is_whole(&world).await;
}

async fn a_hydrated_object_is_whole(world: &World) {
    let info = world.native.head(&world.cx, &*world.bucket().await, &k("k"), GetOptions::default()).await.unwrap();
    assert_eq!((info.headers, info.metadata), (attributes().headers, attributes().metadata));
    assert_eq!(world.shadow.tags(&world.cx, &*world.bucket().await, &k("k"), None).await.unwrap().0, attributes().tags);
    assert_eq!(Some(info.etag), world.origin.etag("k"));
}

/// "Abandoned pieces are reclaimed": those of a key that was written here or of an object that changed at the origin.
#[tokio::test(start_paused = true)]
async fn pieces_that_nobody_can_use_go() {
    let broken = || std::iter::once(Fault::Truncate(5 * MIB)).chain([const { Fault::Truncate(0) }; 3]);
    for overwritten in [true, false] {
        let world = World::attached(false).await;
        world.origin.insert("k", content(9 * MIB), &attributes());
        broken().for_each(|fault| world.origin.fail_next("get", fault));
        world.get("k").await.unwrap_err();
        assert!(world.rows(key::all_pieces()).await > 0 && !world.blobs.is_empty());
        if overwritten {
            world.put("k", "newer").await.unwrap();
        } else {
            world.origin.insert("k", vec![7; 3 * MIB], &attributes());
        }
        let world = world.restarted().await;
        world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
        if overwritten {
            world.eventually(async || world.blobs.is_empty().then_some(())).await;
            assert_eq!(world.get("k").await.unwrap(), "newer");
        } else {
            assert_eq!(world.get("k").await.unwrap(), vec![7; 3 * MIB]);
        }
    }
}

/// "Any mix of readers, whole or ranges, in any order, at once, … costs the origin each byte once".
#[tokio::test]
async fn ranges_in_any_order_cost_each_byte_once() {
    let size = 11 * MIB + 4321;
    let whole = content(size);
    for seed in 0..8_u64 {
        let world = Arc::new(World::attached(false).await);
        world.origin.insert("k", whole.clone(), &attributes());
        let random = umbra_core::SeededRandom::new(seed);
        let mut readers = Vec::new();
        for _ in 0..24 {
            let bytes: [u8; 8] = (&random as &dyn umbra_core::Random).array();
            let first = u64::from_le_bytes(bytes) % size as u64;
            let last = (first + u64::from(bytes[7]) * 9000).min(size as u64 - 1);
            let (world, expected) = (world.clone(), whole.slice(first as usize..=last as usize));
            readers.push(tokio::spawn(async move {
                assert!(world.get_range("k", first, last).await.unwrap() == expected, "{seed} {first}-{last}");
            }));
        }
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(world.hydrated("k").await == whole);
        assert_eq!(world.origin.bytes(), size as u64, "seed {seed}");
        a_hydrated_object_is_whole(&world).await;
    }
}

/// A reader whose request has passed shadows that the origin refuses does not make those fail who share the transfer with it.
#[tokio::test]
async fn a_path_that_is_refused_is_its_own_requests_alone() {
    let world = Arc::new(World::attached(false).await);
    world.origin.insert("k", "x", &OriginAttributes::default());
    world.origin.refuse_hop("elsewhere/photos");
    let (gate, bucket) = (world.origin.hold_gets(), world.bucket().await);
    let cx = RequestContext { shadow_path: vec!["elsewhere/photos".into()], ..RequestContext::default() };
    let refused = {
        let (world, bucket) = (world.clone(), bucket.clone());
        tokio::spawn(async move { world.shadow.get(&cx, &bucket, &k("k"), GetOptions::default()).await })
    };
    world.eventually(async || (world.origin.gets() == 1).then_some(())).await;
    let direct = {
        let world = world.clone();
        tokio::spawn(async move { world.get("k").await })
    };
    // Without a path a request joins, and asks nothing of its own.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.origin.gets(), 1);
    gate.add_permits(10);
    assert_eq!(kind(refused.await.unwrap()), ErrorKind::OriginRefused);
    assert_eq!(direct.await.unwrap().unwrap(), "x");
    assert_eq!((world.hydrated("k").await, world.origin.gets()), ("x".into(), 2));
}

/// A transfer of `k` that is under way and read, and what its origin's bytes wait for. Who reads `k` now begins a second transfer beside it.
async fn first_of_two(whole: &Bytes) -> (Arc<World>, Arc<Semaphore>, JoinHandle<Result<Bytes>>) {
    let world = Arc::new(World::attached(true).await);
    world.origin.insert("k", whole.clone(), &attributes());
    // Nothing of this ETag tells whether the content is right.
    world.origin.set_etag("k", "d41d8cd98f00b204e9800998ecf8427e-3");
    let gate = world.origin.slow_down();
    let first = world.begin_get("k").await;
    gate.add_permits(80);
    world.eventually(async || (world.rows(key::all_pieces()).await > 1).then_some(())).await;
    world.origin.fail_next("put", Fault::Refused);
    assert_eq!(kind(world.put("k", "new").await), ErrorKind::OriginRefused);
    (world, gate, first)
}

/// Waits until the blobs of `k` are all there are.
async fn no_bytes_stay_besides(world: &World) {
    let info = world.native.find(&*world.bucket().await, &k("k")).await.unwrap().unwrap();
    let held = info.object.content.extents().len();
    world.eventually(async || (world.blobs.len() == held).then_some(())).await;
}

/// A write-through that the origin refuses makes a reader begin a second transfer of a key beside the one that is under way: they keep apart,
/// also over a restart, and only one of them becomes the object.
#[tokio::test]
async fn two_transfers_of_a_key_keep_apart() {
    let whole = content(24 * MIB);
    for restarts in [false, true] {
        let (world, gate, first) = first_of_two(&whole).await;
        let second = world.begin_get("k").await;
        gate.add_permits(150);
        world.eventually(async || (gate.available_permits() == 0).then_some(())).await;
        if restarts {
            world.shadow.shutdown().await;
            first.abort();
            second.abort();
            gate.add_permits(10_000);
            let world = world.restarted().await;
            assert!(world.get("k").await.unwrap() == whole);
            assert!(world.hydrated("k").await == whole);
        } else {
            gate.add_permits(10_000);
            assert!(first.await.unwrap().unwrap() == whole);
            assert!(second.await.unwrap().unwrap() == whole);
            assert!(world.hydrated("k").await == whole);
            world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
            no_bytes_stay_besides(&world).await;
        }
    }
}

/// The second of two transfers of a key leaves no bytes behind where the origin does not tell the rest of the object at its end.
#[tokio::test]
async fn a_second_transfer_that_fails_at_its_end_leaves_nothing() {
    let whole = content(24 * MIB);
    let (world, gate, first) = first_of_two(&whole).await;
    world.origin.fail_always("head", "k", Some(Fault::Archived));
    let second = {
        let world = world.clone();
        tokio::spawn(async move { world.get_range("k", 0, 24 * MIB as u64 - 1).await })
    };
    gate.add_permits(10_000);
    assert!(first.await.unwrap().unwrap() == whole);
    assert_eq!(kind(second.await.unwrap()), ErrorKind::Invalid(S3Fault::InvalidObjectState));
    world.origin.fail_always("head", "k", None);
    assert!(world.hydrated_by_reading("k").await == whole);
    no_bytes_stay_besides(&world).await;
}

/// What was kept of an object is not shown once its origin holds another, or none.
#[tokio::test]
async fn pieces_of_an_object_that_changed_are_not_shown() {
    let world = World::attached(false).await;
    let request = AttachRequest { hydrate: Some(HydratePolicy::Touched), ..AttachRequest::default() };
    world.shadow.attach(&world.cx, &*world.bucket().await, request).await.unwrap();
    world.origin.insert("k", content(5 * MIB), &attributes());
    assert_eq!(world.get_range("k", 0, 9).await.unwrap(), content(10));
    world.eventually(async || (world.rows(key::all_pieces()).await == 2).then_some(())).await;
    world.origin.insert("k", vec![7; 5 * MIB], &attributes());
    // The transfer that brought it ends for want of readers; from then on the old is gone.
    world.eventually(async || (world.get_range("k", 0, 9).await.unwrap() == vec![7; 10]).then_some(())).await;
    world.origin.remove("k");
    world.eventually(async || world.get_range("k", 0, 9).await.is_err().then_some(())).await;
    assert_eq!(kind(world.get_range("k", 0, 9).await), ErrorKind::NotFound(Entity::Object));
    world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
}

/// A small copy that could not be kept, here because its tags could not be read, is not brought again.
#[tokio::test]
async fn a_small_copy_that_was_not_kept_is_not_brought_again() {
    let world = World::attached(false).await;
    world.origin.insert("k", content(MIB), &attributes());
    for _ in 0..2 {
        world.origin.fail_next("tags", Fault::Unavailable);
        assert_eq!(world.get("k").await.unwrap(), content(MIB));
        world.eventually(async || (world.rows(key::all_pieces()).await == 2).then_some(())).await;
    }
    world.eventually(async || (world.get("k").await.unwrap() == content(MIB) && world.here("k").await.is_some()).then_some(())).await;
    assert_eq!((world.origin.bytes(), world.rows(key::all_pieces()).await), (MIB as u64, 0));
    a_hydrated_object_is_whole(&world).await;
}

/// Numbers beyond every object are refused, whoever sends them.
#[tokio::test]
async fn numbers_beyond_every_object_are_refused() {
    let world = World::attached(false).await;
    world.origin.insert("k", content(1000), &attributes());
    for (first, last) in [(u64::MAX - 5, None), (u64::MAX - 5, Some(u64::MAX)), (1 << 50, None)] {
        let options = GetOptions { range: Some(RangeSpec::From { first, last }), ..GetOptions::default() };
        assert_eq!(kind(world.get_with("k", options).await), ErrorKind::Invalid(S3Fault::InvalidRange));
    }
}

/// "404 only when here *and* the origin say so": what the origin said to somebody before a read began says nothing to it.
#[tokio::test]
async fn an_absence_from_before_is_not_shared() {
    let world = Arc::new(World::attached(false).await);
    let gate = world.origin.hold("get");
    let early = world.begin_get("k").await;
    world.origin.insert("k", "x", &OriginAttributes::default());
    let late = {
        let world = world.clone();
        tokio::spawn(async move { world.get("k").await })
    };
    // It has joined once it has looked.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(10);
    assert_eq!(kind(early.await.unwrap()), ErrorKind::NotFound(Entity::Object));
    assert_eq!(late.await.unwrap().unwrap(), "x");
}

/// "nothing mixed is ever served or stored": nor the content of one version with the tags of the next.
#[tokio::test]
async fn tags_are_of_the_object_they_came_with() {
    let tagged = |tag: &str| OriginAttributes { tags: Tags::new([("version".to_owned(), tag.to_owned())]), ..OriginAttributes::default() };
    let world = Arc::new(World::attached(false).await);
    world.origin.insert("k", "first", &tagged("1"));
    let gate = world.origin.hold("tags");
    let requests = world.origin.requests();
    assert_eq!(world.get("k").await.unwrap(), "first");
    world.eventually(async || (world.origin.requests() == requests + 3).then_some(())).await;
    world.origin.insert("k", "second", &tagged("2"));
    gate.add_permits(10);
    world.eventually(async || (world.origin.requests() == requests + 4).then_some(())).await;
    world
        .eventually(async || {
            world.get("k").await.unwrap();
            world.here("k").await.filter(|here| here == "second")
        })
        .await;
    let tags = world.native.tags(&world.cx, &*world.bucket().await, &k("k"), None).await.unwrap().0;
    assert_eq!(tags, tagged("2").tags);
}

/// However late a reader joins, it gets every byte: of a small object that stays in memory as of one in pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_that_join_as_a_transfer_ends_get_everything() {
    let world = Arc::new(World::attached(false).await);
    for round in 0..60 {
        let (key, size) = (format!("k{round}"), [1, 100 * 1024, 5 * MIB / 4][round % 3]);
        world.origin.insert(&key, content(size), &OriginAttributes::default());
        let readers: Vec<_> = (0..6)
            .map(|reader| {
                let (world, key) = (world.clone(), key.clone());
                tokio::spawn(async move {
                    for _ in 0..reader * 20 {
                        tokio::task::yield_now().await;
                    }
                    match reader % 2 {
                        0 => assert_eq!(world.get(&key).await.unwrap(), content(size)),
                        _ => assert_eq!(world.get_range(&key, 0, size as u64 - 1).await.unwrap(), content(size)),
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

/// An ACL is ours alone: the origin is not asked for it, a cold object has none, and giving it one brings the object here and leaves the
/// origin as it is.
#[tokio::test]
async fn acls_are_ours_alone() {
    for write_through in [false, true] {
        let world = World::attached(write_through).await;
        world.origin.insert("k", content(70_000), &attributes());
        let (bucket, requests) = (world.bucket().await, world.origin.requests());
        assert_eq!(world.shadow.acl(&world.cx, &bucket, &k("k"), None).await.unwrap(), None);
        assert_eq!(world.shadow.acl(&world.cx, &bucket, &k("absent"), None).await.unwrap(), None);
        assert_eq!(world.origin.requests(), requests);
        let grants = vec![Grant { grantee: Grantee::Everyone, permission: Permission::Read }];
        let acl = Some(Acl { owner: "acme".to_owned(), grants });
        assert_eq!(
            kind(world.shadow.put_acl(&world.cx, &bucket, &k("absent"), None, AclChange::to(acl.clone())).await),
            ErrorKind::NotFound(Entity::Object)
        );
        world.shadow.put_acl(&world.cx, &bucket, &k("k"), None, AclChange::to(acl.clone())).await.unwrap();
        assert_eq!(world.here("k").await.unwrap(), content(70_000));
        assert_eq!(world.shadow.acl(&world.cx, &bucket, &k("k"), None).await.unwrap(), acl);
        assert_eq!((world.origin.bytes(), world.origin.writes()), (70_000, Vec::<String>::new()));
        assert_eq!(world.origin.tags_of("k"), attributes().tags);
    }
}
