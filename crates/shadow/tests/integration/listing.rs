//! semantics.md, "Listing".

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;
use umbra_core::{ErrorKind, Fault as S3Fault};
use umbra_meta::{CommitFault, Write};
use umbra_shadow::origin::{
    ListOrder, OriginAttributes,
    memory::{Fault, Listing},
};
use umbra_store::{ListOptions, ListPage, ListSource, ListStart, Objects};

use crate::world::{World, kind};

/// What a listing of `keys` shows.
fn expected(keys: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    for key in keys {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => names.insert(format!("{prefix}{}", &rest[..at + delimiter.len()])),
            None => names.insert(key.clone()),
        };
    }
    names.into_iter().collect()
}

#[derive(Clone, Debug)]
enum Step {
    AtOrigin(String),
    Put(String),
    Delete(String),
    Read(String),
}

fn steps(key: fn() -> &'static str) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => key().prop_map(Step::AtOrigin),
        1 => key().prop_map(Step::Put),
        2 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::Read),
    ];
    proptest::collection::vec(step, 0..60)
}

fn known() -> impl Strategy<Value = ListOrder> {
    prop_oneof![Just(ListOrder::Unknown), Just(ListOrder::Bytes)]
}

async fn play(steps: Vec<Step>, listing: Listing) -> Result<(), TestCaseError> {
    let world = World::attached(false).await;
    world.origin.list_as(listing);
    let (mut origin, mut here, mut gone) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for step in &steps {
        if let Step::AtOrigin(key) = step {
            world.origin.insert(key, "x", &OriginAttributes::default());
            origin.insert(key.clone());
        }
    }
    for step in steps {
        match step {
            Step::AtOrigin(_) => {}
            Step::Put(key) => {
                world.put(&key, "y").await.unwrap();
                gone.remove(&key);
                here.insert(key);
            }
            Step::Delete(key) => {
                world.delete(&key).await.unwrap();
                here.remove(&key);
                gone.insert(key);
            }
            Step::Read(key) => {
                if world.get(&key).await.is_ok() {
                    world.hydrated(&key).await;
                    here.insert(key);
                }
            }
        }
    }
    let cold: BTreeSet<String> = origin.difference(&gone).cloned().collect();
    let merged: BTreeSet<String> = cold.union(&here).cloned().collect();
    for (source, keys) in [(ListSource::Merged, &merged), (ListSource::Local, &here), (ListSource::Origin, &cold)] {
        for (prefix, delimiter) in [("", ""), ("", "/"), ("a", "/"), ("a/", "/"), ("", "/a"), ("b", "")] {
            for limit in [1, 2, 3, 5, 1000] {
                let listed = world.list(prefix, delimiter, limit, source).await.unwrap();
                prop_assert_eq!(listed, expected(keys, prefix, delimiter), "{:?} {:?} {:?} {}", source, prefix, delimiter, limit);
            }
        }
    }
    for after in ["", "a", "a-", "a/", "a/b", "b.", "\u{1f600}"] {
        for delimiter in ["", "/"] {
            let listed = world.list_after(after, delimiter, 2).await.unwrap();
            let behind: Vec<_> = expected(&merged, "", delimiter).into_iter().filter(|name| name.as_str() > after).collect();
            prop_assert_eq!(listed, behind, "behind {:?} {:?}", after, delimiter);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// "ListObjects v1 and v2 show one bucket: here and origin merged in UTF-8 byte order, tombstones hidden, local entries winning, common
    /// prefixes counted once, pagination exact".
    #[test]
    fn a_merged_listing_is_exact_page_by_page(steps in steps(|| "[ab/\u{e000}\u{1f600}]{1,4}"), known in known()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps, Listing { known, ..Listing::default() }))?;
    }

    /// The same before an origin that lists by directories, in pages of any length, and of which nothing is known beforehand.
    #[test]
    fn a_merged_listing_is_exact_whatever_the_origins_order(
        steps in steps(|| "[ab/!.0-]{1,5}"),
        by_directories in any::<bool>(),
        passes_over in any::<bool>(),
        page_max in 1..8_usize,
    ) {
        let actual = if by_directories { ListOrder::Directories } else { ListOrder::Bytes };
        let listing = Listing { actual, known: ListOrder::Unknown, passes_over: passes_over && by_directories, page_max };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps, listing))?;
    }
}

/// "The origin cannot be listed: 503, not a shorter list."
#[tokio::test]
async fn an_origin_that_cannot_be_listed_is_not_left_out() {
    let world = World::attached(false).await;
    world.put("here", "x").await.unwrap();
    for (fault, expected) in [(Fault::Unavailable, ErrorKind::OriginUnavailable), (Fault::Refused, ErrorKind::OriginRefused)] {
        world.origin.fail_next("list", fault);
        assert_eq!(kind(world.list("", "", 10, ListSource::Merged).await), expected);
    }
    assert_eq!(world.list("", "", 10, ListSource::Local).await.unwrap(), ["here"]);
}

/// A continuation token carries the generation: it does not outlive the shadow it was made for.
#[tokio::test]
async fn a_token_of_another_generation_is_refused() {
    let world = World::attached(false).await;
    for key in ["a", "b", "c"] {
        world.origin.insert(key, "x", &OriginAttributes::default());
    }
    let options = |start| ListOptions { prefix: String::new(), delimiter: String::new(), start, limit: 1, source: ListSource::Merged };
    let page = world.shadow.list(&world.cx, &*world.bucket().await, options(ListStart::First)).await.unwrap();
    let token = page.next.unwrap();
    world.shadow.detach(&world.cx, &*world.bucket().await, true).await.unwrap();
    world.attach(false).await;
    for token in [token, "garbage".into(), String::new()] {
        let listed = world.shadow.list(&world.cx, &*world.bucket().await, options(ListStart::Continue(token))).await;
        assert_eq!(kind(listed), ErrorKind::Invalid(S3Fault::InvalidArgument));
    }
}

async fn page_after(world: &World, after: &str, limit: usize) -> ListPage {
    let start = ListStart::After(after.into());
    let options = ListOptions { prefix: String::new(), delimiter: String::new(), start, limit, source: ListSource::Merged };
    world.shadow.list(&world.cx, &*world.bucket().await, options).await.unwrap()
}

fn sizes(page: &ListPage) -> Vec<(&str, u64)> {
    page.objects.iter().map(|object| (object.key.as_str(), object.size)).collect()
}

/// What a page shows of a key was true at one moment of it: never the origin's object that a DELETE took away before.
#[tokio::test]
async fn writes_during_a_page_show_no_state_that_was_over_before() {
    let world = Arc::new(World::attached(false).await);
    for key in ["again", "cold", "deleted", "during", "later"] {
        world.origin.insert(key, "old", &OriginAttributes::default());
    }
    world.delete("again").await.unwrap();
    let gate = world.origin.hold_lists();
    let requests = world.origin.requests();
    let lister = world.clone();
    let listing = tokio::spawn(async move { page_after(&lister, "", 3).await });
    world.eventually(async || (world.origin.requests() > requests).then_some(())).await;
    // By now what is here was read, and what the origin has: there is nothing here, and it has the old ones.
    world.put("again", "newer").await.unwrap();
    world.delete("deleted").await.unwrap();
    world.delete("during").await.unwrap();
    world.put("during", "newer").await.unwrap();
    gate.add_permits(100);
    let page = listing.await.unwrap();
    assert_eq!(sizes(&page), [("again", 5), ("cold", 3), ("during", 5)]);
    assert!(page.next.is_some(), "the page is full, and there is more");
}

/// Half-done writes are shown as the origin has them. They cost a page a request for each about where it ends, and nothing where there are none.
#[tokio::test]
async fn half_done_writes_cost_a_page_what_it_shows_of_them() {
    let world = World::attached(true).await;
    for n in 0..60 {
        world.put(&format!("k{n:02}"), "old").await.unwrap();
    }
    for n in 50..60 {
        world.delete(&format!("k{n:02}")).await.unwrap();
    }
    page_after(&world, "", 1000).await;
    let requests = world.origin.requests();
    page_after(&world, "k40", 5).await;
    let usual = world.origin.requests() - requests;
    world.meta.set(|_, batch| {
        let settles = batch.writes.iter().any(|write| matches!(write, Write::Delete { key } if key.starts_with(b"w/")));
        if settles { CommitFault::Unavailable } else { CommitFault::None }
    });
    for n in 0..60 {
        let key = format!("k{n:02}");
        if n % 10 == 3 {
            world.delete(&key).await.unwrap_err()
        } else {
            world.put(&key, "newer").await.map(drop).unwrap_err()
        };
    }
    world.meta.heal();
    for (after, expected) in [("k40", ["k41", "k42", "k44", "k45", "k46"]), ("k49", ["k50", "k51", "k52", "k54", "k55"])] {
        let requests = world.origin.requests();
        let page = page_after(&world, after, 5).await;
        let cost = world.origin.requests() - requests - usual;
        assert_eq!(sizes(&page), expected.map(|key| (key, 5)), "behind {after}");
        assert!((5..=12).contains(&cost), "{cost} requests more than usual behind {after}");
    }
    let all: Vec<String> = (0..60).filter(|n| n % 10 != 3).map(|n| format!("k{n:02}")).collect();
    for limit in [1, 7, 1000] {
        assert_eq!(world.list("", "", limit, ListSource::Merged).await.unwrap(), all, "by {limit}");
        assert_eq!(world.list("", "5", limit, ListSource::Merged).await.unwrap().last().unwrap(), "k5");
    }
}

/// A page costs the origin so many pages and no more: then it is short, and tells where to go on.
#[tokio::test]
async fn what_is_gone_here_does_not_make_a_page_endless() {
    let world = World::attached(false).await;
    for n in 0..300 {
        world.origin.insert(&format!("gone{n:03}"), "x", &OriginAttributes::default());
        world.delete(&format!("gone{n:03}")).await.unwrap();
    }
    world.origin.insert("z", "x", &OriginAttributes::default());
    world.put("a", "x").await.unwrap();
    world.origin.list_as(Listing { known: ListOrder::Bytes, page_max: 1, ..Listing::default() });
    let (mut start, mut shown) = (ListStart::First, Vec::new());
    loop {
        let before = world.origin.requests();
        let options = ListOptions { prefix: String::new(), delimiter: String::new(), start, limit: 10, source: ListSource::Merged };
        let page = world.shadow.list(&world.cx, &*world.bucket().await, options).await.unwrap();
        assert!(world.origin.requests() - before <= 260);
        shown.push(page.objects.iter().map(|object| object.key.to_string()).collect::<Vec<_>>());
        let Some(next) = page.next else { break };
        start = ListStart::Continue(next);
    }
    assert_eq!(shown, [["a"], ["z"]]);
}

/// An origin of pages with nothing on them is one that does not answer.
#[tokio::test]
async fn an_origin_of_empty_pages_is_not_listed_for_ever() {
    for known in [ListOrder::Unknown, ListOrder::Bytes] {
        let world = World::attached(false).await;
        world.origin.insert("a/b", "x", &OriginAttributes::default());
        world.origin.list_as(Listing { known, page_max: 0, ..Listing::default() });
        for delimiter in ["", "/"] {
            assert_eq!(kind(world.list("", delimiter, 10, ListSource::Merged).await), ErrorKind::OriginUnavailable);
        }
    }
    // Nor is one whose pages have something on them at first, or lead round and round.
    for (order, tokens) in
        [(ListOrder::Bytes, u64::MAX), (ListOrder::Bytes, 1), (ListOrder::Directories, u64::MAX), (ListOrder::Directories, 3)]
    {
        let world = World::attached(false).await;
        ["a/b", "b", "c/d"].iter().for_each(|key| world.origin.insert(key, "x", &OriginAttributes::default()));
        world.origin.list_as(Listing { actual: order, known: order, ..Listing::default() });
        world.origin.stall_lists("b", tokens);
        for delimiter in ["", "/"] {
            let before = world.origin.requests();
            let start = ListStart::After("b".to_owned());
            let options =
                ListOptions { prefix: String::new(), delimiter: delimiter.to_owned(), start, limit: 10, source: ListSource::Merged };
            let page = world.shadow.list(&world.cx, &*world.bucket().await, options).await;
            assert_eq!(kind(page), ErrorKind::OriginUnavailable, "{order:?} {tokens}");
            assert!(world.origin.requests() - before < 600, "{order:?} {tokens}");
        }
    }
}
