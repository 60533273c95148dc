//! semantics.md, "Listing".

use std::collections::BTreeSet;

use proptest::prelude::*;
use umbra_core::{ErrorKind, Fault as S3Fault};
use umbra_shadow::origin::{
    ListOrder, OriginAttributes,
    memory::{Fault, Listing},
};
use umbra_store::{ListOptions, ListSource, ListStart, Objects};

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
