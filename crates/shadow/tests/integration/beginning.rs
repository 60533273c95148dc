//! semantics.md, "A byte leaves the origin at most once": how an object begins to come in whose size nobody knows, with the first bytes and the
//! headers of the whole asked for at the same time.

use std::sync::Arc;

use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumHasher, ETag, Entity, ErrorKind, Fault as S3Fault, Matches, Preconditions};
use umbra_meta::key;
use umbra_shadow::{
    JobKind,
    origin::{OriginAttributes, memory::Fault},
};
use umbra_store::{GetOptions, Objects};

use crate::world::{World, content, k, kind};

const MIB: usize = 1024 * 1024;
/// Small enough to stay in memory; of one request; of many.
const SIZES: [usize; 3] = [MIB, 9 * MIB, 21 * MIB];

/// Puts an object there whose checksum the origin tells.
fn insert(world: &World, size: usize) -> Checksum {
    let mut hasher = ChecksumHasher::new(ChecksumAlgorithm::Crc32c);
    hasher.update(&content(size));
    let checksum = hasher.finish();
    world.origin.insert("k", content(size), &OriginAttributes::default());
    world.origin.alter("k", |info| info.checksums = vec![checksum.clone()]);
    checksum
}

async fn checksums_here(world: &World) -> Vec<Checksum> {
    world.native.head(&world.cx, &*world.bucket().await, &k("k"), GetOptions::default()).await.unwrap().checksums
}

/// The checksums that only the headers of the whole tell are those of the copy, and of the first answer.
#[tokio::test]
async fn the_headers_of_the_whole_come_with_the_first_bytes() {
    for size in SIZES {
        let world = World::attached(false).await;
        let checksum = insert(&world, size);
        let object = world.shadow.get(&world.cx, &*world.bucket().await, &k("k"), GetOptions::default()).await.unwrap();
        assert_eq!(object.info.checksums, std::slice::from_ref(&checksum), "{size}");
        assert!(object.body.collect(usize::MAX).await.unwrap() == content(size));
        assert!(world.hydrated("k").await == content(size));
        assert_eq!((checksums_here(&world).await, world.origin.heads()), (vec![checksum], 1), "{size}");
        assert_eq!(world.origin.bytes(), size as u64);
    }
}

/// A copy that does not match the checksum that the headers of the whole tell is not kept, and no reader takes it for whole.
#[tokio::test]
async fn what_contradicts_the_headers_of_the_whole_is_refused() {
    for size in SIZES {
        let world = World::attached(false).await;
        let checksum = insert(&world, size);
        world.origin.alter("k", |info| info.checksums = vec![Checksum { value: "AAAAAA==".into(), ..checksum.clone() }]);
        // Nothing of this ETag tells whether the content is right.
        world.origin.set_etag("k", "opaque");
        assert_eq!(kind(world.get("k").await), ErrorKind::OriginUnavailable, "{size}");
        world.eventually(async || world.blobs.is_empty().then_some(())).await;
        assert_eq!(world.here("k").await, None);
    }
}

/// The size that a listing told spares the request for the headers.
#[tokio::test]
async fn of_a_listed_object_nothing_is_asked_besides() {
    for size in SIZES {
        let world = World::attached(false).await;
        let checksum = insert(&world, size);
        world.run(JobKind::Inventory).await;
        assert!(world.get("k").await.unwrap() == content(size));
        assert!(world.hydrated("k").await == content(size));
        assert_eq!(checksums_here(&world).await, [checksum], "{size}");
        let (gets, heads) = (world.origin.gets(), world.origin.heads());
        assert!(if size <= 16 * MIB { (gets, heads) == (1, 0) } else { gets > 1 && heads == 1 }, "{size}: {gets} {heads}");
        assert_eq!(world.origin.bytes(), size as u64);
    }
}

/// A listing may be out of date: what the origin answers counts.
#[tokio::test]
async fn a_size_that_is_not_true_any_more_does_no_harm() {
    for (then, now) in [(MIB, 40 * MIB), (40 * MIB, MIB), (40 * MIB, 0), (MIB, 0)] {
        let world = World::attached(false).await;
        insert(&world, then);
        world.run(JobKind::Inventory).await;
        world.origin.insert("k", vec![7; now], &OriginAttributes::default());
        assert!(world.get("k").await.unwrap() == vec![7; now], "{then} {now}");
        assert!(world.hydrated("k").await == vec![7; now]);
        assert_eq!(world.origin.bytes(), now as u64, "{then} {now}");
    }
}

/// An origin that refuses to tell the headers, and gives the content: it is read, and kept with what came with it.
#[tokio::test]
async fn headers_that_are_refused_fail_nothing() {
    for size in SIZES {
        let world = World::attached(false).await;
        insert(&world, size);
        world.origin.fail_always("head", "k", Some(Fault::Refused));
        assert!(world.get("k").await.unwrap() == content(size), "{size}");
        assert!(world.hydrated("k").await == content(size));
        assert_eq!(
            (world.origin.failed("head", "k"), world.origin.bytes()),
            (2, size as u64),
            "{size}: asked with the first bytes and at the end"
        );
        let info = world.native.head(&world.cx, &*world.bucket().await, &k("k"), GetOptions::default()).await.unwrap();
        assert_eq!(Some(info.etag), world.origin.etag("k"));
    }
}

/// An origin that cannot tell the headers now: the object is read, and becomes ours once it can, without a byte more.
#[tokio::test]
async fn headers_that_cannot_be_had_now_are_waited_for() {
    for size in SIZES {
        let world = World::attached(false).await;
        let checksum = insert(&world, size);
        world.origin.fail_always("head", "k", Some(Fault::Unavailable));
        for _ in 0..2 {
            assert!(world.get("k").await.unwrap() == content(size), "{size}");
            world.eventually(async || (world.rows(key::all_pieces()).await > 1).then_some(())).await;
            assert_eq!(world.here("k").await, None, "nothing is kept of which the origin has not told all");
        }
        world.origin.fail_always("head", "k", None);
        world.eventually(async || (world.get("k").await.unwrap() == content(size) && world.here("k").await.is_some()).then_some(())).await;
        assert_eq!((checksums_here(&world).await, world.origin.bytes()), (vec![checksum], size as u64), "{size}");
        assert_eq!(world.rows(key::all_pieces()).await, 0);
    }
}

/// The headers are told once, by the second request for them.
#[tokio::test]
async fn headers_that_failed_once_are_asked_for_at_the_end() {
    for size in SIZES {
        for fault in [Fault::Unavailable, Fault::Refused] {
            let world = World::attached(false).await;
            let checksum = insert(&world, size);
            world.origin.fail_next("head", fault);
            assert!(world.get("k").await.unwrap() == content(size), "{size}");
            assert!(world.hydrated("k").await == content(size));
            assert_eq!((checksums_here(&world).await, world.origin.heads()), (vec![checksum], 2), "{size}");
        }
    }
}

/// An origin that leaves the request for the headers unanswered holds up nobody for ever.
#[tokio::test(start_paused = true)]
async fn headers_that_do_not_come_are_not_waited_for() {
    for size in SIZES {
        let world = World::attached(false).await;
        insert(&world, size);
        let gate = world.origin.hold("head");
        assert!(world.get("k").await.unwrap() == content(size), "{size}");
        gate.add_permits(1000);
        assert!(world.get("k").await.unwrap() == content(size));
        assert!(world.hydrated("k").await == content(size));
        assert_eq!(world.origin.bytes(), size as u64);
    }
}

/// "nothing mixed is ever served or stored": the object changes between the answers to the two requests that begin its transfer.
#[tokio::test]
async fn the_two_first_answers_are_of_one_object() {
    for size in SIZES {
        let world = Arc::new(World::attached(false).await);
        insert(&world, MIB);
        let (heads, gets) = (world.origin.hold("head"), world.origin.hold_gets());
        let reader = world.begin_get("k").await;
        world.eventually(async || (world.origin.waiting() == 1).then_some(())).await;
        // The headers are of the old one; the bytes will be of the new.
        let checksum = insert(&world, size);
        world.origin.set_etag("k", "new");
        gets.add_permits(1000);
        heads.add_permits(1000);
        assert!(reader.await.unwrap().unwrap() == content(size), "{size}");
        assert!(world.hydrated("k").await == content(size));
        assert_eq!((checksums_here(&world).await, world.origin.bytes()), (vec![checksum], size as u64));
    }
}

/// An origin whose HEAD never tells the ETag that its GET does: then one plain request tells everything.
#[tokio::test]
async fn an_origin_of_two_minds_is_asked_plainly() {
    for size in SIZES {
        let world = World::attached(false).await;
        let checksum = insert(&world, size);
        world.origin.alter_head("k", |info| info.etag = ETag::parse("another"));
        assert!(world.get("k").await.unwrap() == content(size), "{size}");
        assert!(world.hydrated("k").await == content(size));
        assert_eq!((checksums_here(&world).await, world.origin.gets()), (vec![checksum], 2));
        // Nothing of the first answer was taken.
        assert_eq!(world.origin.bytes(), size as u64);
    }
}

/// "or sends no length is handled": where the answer to a range does not tell the size, the headers of the whole do, or a plain request.
#[tokio::test]
async fn a_size_that_the_first_answer_does_not_tell() {
    for size in SIZES {
        for has_headers in [true, false] {
            let world = World::attached(false).await;
            insert(&world, size);
            world.origin.hide_length();
            if !has_headers {
                world.origin.fail_always("head", "k", Some(Fault::Refused));
            }
            assert!(world.get("k").await.unwrap() == content(size), "{size} {has_headers}");
            assert!(world.hydrated("k").await == content(size));
            assert_eq!(world.origin.bytes(), size as u64, "{size} {has_headers}");
        }
    }
}

/// The same of an answer that is the whole, which ends where it ends: the length that a HEAD tells may be of the content before it was
/// compressed on its way, or after.
#[tokio::test]
async fn an_answer_without_a_length_is_as_long_as_it_is() {
    for size in SIZES {
        for told in [size / 2, 2 * size] {
            let world = World::attached(false).await;
            insert(&world, size);
            world.origin.hide_length();
            world.origin.ignore_ranges_silently();
            world.origin.alter_head("k", |info| info.size = told as u64);
            assert!(world.get("k").await.unwrap() == content(size), "{size} {told}");
            assert!(world.hydrated("k").await == content(size), "{size} {told}");
            assert_eq!((world.origin.heads(), world.origin.bytes()), (1, size as u64), "{size} {told}");
        }
    }
}

/// What the GET says decides, whatever a HEAD says.
#[tokio::test]
async fn the_answer_to_the_get_decides() {
    let world = World::attached(false).await;
    world.origin.fail_next("head", Fault::Unavailable);
    assert_eq!(kind(world.get("absent").await), ErrorKind::NotFound(Entity::Object));
    insert(&world, MIB);
    for (fault, expected) in [
        (Fault::Archived, ErrorKind::Invalid(S3Fault::InvalidObjectState)),
        (Fault::Refused, ErrorKind::OriginRefused),
        (Fault::Unavailable, ErrorKind::OriginUnavailable),
    ] {
        world.origin.fail_next("get", fault);
        assert_eq!(kind(world.get("k").await), expected);
    }
    assert_eq!(world.get("k").await.unwrap(), content(MIB));
}

/// The condition was judged by headers that tell the size: they are not asked for again.
#[tokio::test]
async fn a_condition_that_holds_costs_one_head() {
    let world = World::attached(false).await;
    insert(&world, MIB);
    let matches = Matches::ETags(vec![world.origin.etag("k").unwrap()]);
    let preconditions = Preconditions { if_match: Some(matches), ..Preconditions::default() };
    assert_eq!(world.get_with("k", GetOptions { preconditions, ..GetOptions::default() }).await.unwrap(), content(MIB));
    assert_eq!((world.origin.gets(), world.origin.heads()), (1, 1));
}

/// A client that leaves before the origin has answered stops nothing and costs nothing more.
#[tokio::test]
async fn a_client_that_leaves_before_the_answer_costs_nothing() {
    for held in ["get", "head"] {
        let world = Arc::new(World::attached(false).await);
        insert(&world, 21 * MIB);
        let gate = world.origin.hold(held);
        let reader = world.begin_get("k").await;
        world.eventually(async || (world.origin.waiting() == 1).then_some(())).await;
        reader.abort();
        gate.add_permits(1000);
        assert!(world.hydrated("k").await == content(21 * MIB), "{held}");
        assert_eq!((world.origin.heads(), world.origin.bytes()), (1, 21 * MIB as u64));
    }
}

/// Both requests are counted, each by its kind.
#[tokio::test]
async fn both_requests_are_counted() {
    let world = World::attached(false).await;
    insert(&world, MIB);
    world.get("k").await.unwrap();
    world.hydrated("k").await;
    let counts = world.shadow.status(&*world.bucket().await).await.unwrap().unwrap().counts;
    assert_eq!((counts.origin_gets, counts.origin_heads, counts.origin_bytes), (1, 1, MIB as u64));
}

/// While the first answer comes in, others are under way behind it.
#[tokio::test]
async fn the_rest_does_not_wait_for_the_first_answer() {
    let world = Arc::new(World::attached(false).await);
    insert(&world, 64 * MIB);
    let gate = world.origin.slow_down();
    let reader = world.begin_get("k").await;
    gate.add_permits(1);
    world.eventually(async || (world.origin.gets() >= 3).then_some(())).await;
    gate.add_permits(10_000);
    assert!(reader.await.unwrap().unwrap() == content(64 * MIB));
    assert!(world.hydrated("k").await == content(64 * MIB));
    assert_eq!((world.origin.heads(), world.origin.bytes()), (1, 64 * MIB as u64));
}
