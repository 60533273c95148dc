//! semantics.md: "Ranges add up to the whole object piece by piece": what becomes of pieces whose records fail, and who waits for whom.

use std::sync::Arc;

use umbra_core::ErrorKind;
use umbra_meta::{Batch, CommitFault, Write, key};
use umbra_shadow::{
    JobKind,
    origin::{OriginAttributes, memory::Fault},
};

use crate::{
    held_meta::{Asked, HeldMeta, Hold},
    world::{World, content, kind},
};

/// Large enough that the first answer arrives in two chunks, each of which is stored by itself.
const PIECE: usize = 8 * 1024;
/// What the first request asks for.
const FIRST: usize = 16 * PIECE;

/// A bucket whose cold objects are cut small, with nothing in their ETags that says whether the content is right.
async fn cut_small(meta: Arc<HeldMeta>, keys: &[&'static str], size: usize) -> Arc<World> {
    let world = World::bare_over(meta).await;
    world.attach(false).await;
    for key in keys {
        world.origin.insert(key, content(size), &OriginAttributes::default());
        world.origin.set_etag(key, "opaque");
    }
    Arc::new(world.in_pieces_of(PIECE as u64).await)
}

/// Whether a batch puts the row of a piece, and whether it begins the hydration as well.
fn piece_of(batch: &Batch) -> Option<bool> {
    let puts = |of: fn(&[u8]) -> bool| batch.writes.iter().any(|write| matches!(write, Write::Put { key, .. } if of(key)));
    puts(|row| key::parse_piece(row).is_some()).then(|| puts(|row| key::parse_hydration(row).is_some()))
}

/// A lost answer to the commit of a row says nothing: what is there is looked up, and no byte of it, nor of the pieces behind it, is brought again.
#[tokio::test]
async fn a_row_that_may_be_there_is_looked_for() {
    let size = FIRST + 10 * PIECE;
    for lost in ["the first", "a later one", "all but the first", "all"] {
        let world = cut_small(Arc::default(), &["k"], size).await;
        let (mut pieces, mut is_repeated) = (0, false);
        world.meta.set(move |_, batch| {
            let Some(begins) = piece_of(batch) else { return CommitFault::None };
            // Of each piece the first answer alone.
            is_repeated = !is_repeated && pieces > 0 && lost.starts_with("all") && !begins;
            pieces += 1;
            let is_lost = match lost {
                "the first" => begins,
                "a later one" => pieces == 2,
                "all but the first" => !begins && !is_repeated,
                _ => begins || !is_repeated,
            };
            if is_lost { CommitFault::LostAcknowledgement } else { CommitFault::None }
        });
        assert!(world.get("k").await.unwrap() == content(size), "{lost}");
        assert!(world.hydrated("k").await == content(size), "{lost}");
        assert_eq!(world.origin.bytes(), size as u64, "{lost}");
        world.eventually(async || (world.rows(key::all_pieces()).await == 0).then_some(())).await;
    }
}

/// What may be there is not taken away when the commit that is to make sure fails for certain.
#[tokio::test]
async fn a_row_that_may_be_there_keeps_its_piece() {
    let size = FIRST + 10 * PIECE;
    for lost in [0, 1, 3] {
        let world = cut_small(Arc::default(), &["k"], size).await;
        let mut pieces = 0;
        world.meta.set(move |_, batch| {
            pieces += i32::from(piece_of(batch).is_some());
            match pieces - 1 {
                _ if piece_of(batch).is_none() => CommitFault::None,
                at if at == lost => CommitFault::LostAcknowledgement,
                at if at > lost => CommitFault::Unavailable,
                _ => CommitFault::None,
            }
        });
        assert_eq!(kind(world.get("k").await), ErrorKind::Unavailable, "{lost}");
        world.meta.heal();
        assert!(world.get("k").await.unwrap() == content(size), "{lost}");
        assert!(world.hydrated("k").await == content(size), "{lost}");
    }
}

/// Who is told of no outcome again and again gives up, and what is there all the same is not brought again.
#[tokio::test]
async fn rows_whose_outcome_stays_unknown_are_given_up() {
    let size = FIRST + 10 * PIECE;
    let world = cut_small(Arc::default(), &["k"], size).await;
    world.meta.set(|_, batch| if piece_of(batch).is_some() { CommitFault::LostAcknowledgement } else { CommitFault::None });
    assert_eq!(kind(world.get("k").await), ErrorKind::Unavailable);
    world.meta.heal();
    world.eventually(async || world.get("k").await.is_ok_and(|read| read == content(size)).then_some(())).await;
    assert!(world.hydrated("k").await == content(size));
}

/// Whoever hashes what others bring holds nothing that they need: the first answers of as many objects as there are permits for the background
/// are still being stored while the rest of each begins to come.
#[tokio::test]
async fn who_hashes_along_holds_up_nobody() {
    let (meta, keys, size) = (Arc::new(HeldMeta::default()), ["a", "b", "c", "d"], FIRST + 16 * PIECE);
    let world = cut_small(meta.clone(), &keys, size).await;
    let gate = world.origin.hold("get");
    for key in keys {
        // What a reader asks for does not come in the background.
        world.begin_get(key).await.abort();
    }
    world.eventually(async || (world.origin.waiting() == keys.len() as u64).then_some(())).await;
    // What comes in the background looks at its key first.
    let looks: Vec<_> = (0..4).map(|nth| meta.hold(nth, |asked| asked.reads(b"w/"))).collect();
    let is_later = |asked: &Asked<'_>| matches!(asked, Asked::Commit(batch) if piece_of(batch) == Some(false));
    let stores: Vec<_> = (0..keys.len()).map(|nth| meta.hold(nth, is_later)).collect();
    gate.add_permits(1000);
    for hold in looks.iter().chain(&stores) {
        hold.arrived(&world).await;
    }
    // From there to where a first answer waits to be stored there is nothing to wait for.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    looks.iter().for_each(|hold| Hold::release(hold));
    let all = (keys.len() * size) as u64;
    world.eventually(async || (world.origin.bytes() == all).then_some(())).await;
    stores.iter().for_each(|hold| Hold::release(hold));
    for key in keys {
        assert!(world.hydrated(key).await == content(size));
    }
    assert_eq!(world.origin.bytes(), all);
}

/// "An origin that ignores Range … is handled": also one of which that is seen only when what is left of an object is asked for.
#[tokio::test]
async fn the_rest_of_an_object_comes_from_an_origin_that_ignores_ranges() {
    let size = FIRST + 16 * PIECE;
    for kept in [FIRST / 2, 0] {
        let world = cut_small(Arc::default(), &["k"], size).await;
        if kept > 0 {
            world.origin.fail_next("get", Fault::Truncate(kept));
            (0..100).for_each(|_| world.origin.fail_next("get", Fault::Unavailable));
            assert_eq!(kind(world.get("k").await), ErrorKind::OriginUnavailable);
            world.eventually(async || (world.rows(key::all_pieces()).await > 1).then_some(())).await;
            world.origin.forgive();
        }
        world.origin.ignore_ranges_silently();
        let gets = world.origin.gets();
        world.run(JobKind::Backfill).await;
        assert!(world.here("k").await.unwrap() == content(size), "{kept}");
        assert!(world.origin.gets() <= gets + 2, "one request for the rest, and one beside it that was sent before its answer came");
    }
}
