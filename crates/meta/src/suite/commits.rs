//! Batches: what is checked, what is written, what is answered.

use bytes::Bytes;

use super::{COMMITS, COUNTERS, commit, conflict, entry, get, put};
use crate::{Batch, Error, Expect, MetaStore, Revision, counter_head, counter_value};

pub(super) async fn run(store: &dyn MetaStore) {
    writes_replace_and_remove(store).await;
    checks_hold_or_refuse(store).await;
    the_first_failing_check_is_told(store).await;
    a_refused_batch_writes_nothing(store).await;
    checks_see_the_state_before_the_batch(store).await;
    revisions_grow_and_are_never_reused(store).await;
    counters_add_up(store).await;
    counters_are_entries(store).await;
    what_is_no_counter_is_not_added_to(store).await;
    large_and_odd_values_come_back(store).await;
}

async fn writes_replace_and_remove(store: &dyn MetaStore) {
    let first = put(store, COMMITS, b"replace", "h1", "b1").await;
    assert_eq!(get(store, COMMITS, b"replace").await, Some(entry(b"replace", first, "h1", "b1")));
    let second = put(store, COMMITS, b"replace", "h2", "").await;
    assert_eq!(get(store, COMMITS, b"replace").await, Some(entry(b"replace", second, "h2", "")));
    commit(store, Batch::new(COMMITS).delete(*b"replace")).await;
    assert_eq!(get(store, COMMITS, b"replace").await, None);
    commit(store, Batch::new(COMMITS).delete(*b"replace")).await;
    assert_eq!(get(store, COMMITS, b"replace").await, None, "removing what is absent is no error");
}

async fn checks_hold_or_refuse(store: &dyn MetaStore) {
    let here = put(store, COMMITS, b"here", "head", "body").await;
    let current = Some(entry(b"here", here, "head", "body"));
    let other = Revision(here.0 + 1_000_000);
    let cases: [(&str, &[u8], Expect, Option<_>); 7] = [
        ("absent, and is", b"gone", Expect::Absent, None),
        ("absent, and is there", b"here", Expect::Absent, Some(current.clone())),
        ("exists, and does", b"here", Expect::Exists, None),
        ("exists, and is not there", b"gone", Expect::Exists, Some(None)),
        ("revision, and is that", b"here", Expect::Revision(here), None),
        ("revision, and is another", b"here", Expect::Revision(other), Some(current)),
        ("revision, and is not there", b"gone", Expect::Revision(here), Some(None)),
    ];
    for (name, key, expect, refusal) in cases {
        let batch = Batch::new(COMMITS).check(key, expect).put(*b"checked", name, "");
        let is_refused = refusal.is_some();
        match refusal {
            None => drop(commit(store, batch).await),
            Some(current) => assert_eq!(conflict(store, batch).await, (key.to_vec(), current), "{name}"),
        }
        let is_written = get(store, COMMITS, b"checked").await.is_some_and(|entry| entry.head == name.as_bytes());
        assert_eq!(is_written, !is_refused, "{name}");
    }
}

async fn the_first_failing_check_is_told(store: &dyn MetaStore) {
    put(store, COMMITS, b"z", "", "").await;
    let batch = Batch::new(COMMITS).check(*b"z", Expect::Exists).check(*b"y", Expect::Exists).check(*b"a", Expect::Exists);
    assert_eq!(conflict(store, batch).await, (b"y".to_vec(), None));
}

async fn a_refused_batch_writes_nothing(store: &dyn MetaStore) {
    let kept = put(store, COMMITS, b"kept", "kept", "").await;
    let batch = Batch::new(COMMITS)
        .check(*b"kept", Expect::Exists)
        .check(*b"missing", Expect::Exists)
        .put(*b"half", "", "")
        .delete(*b"kept")
        .add(*b"half-counter", 1);
    conflict(store, batch).await;
    assert_eq!(get(store, COMMITS, b"half").await, None);
    assert_eq!(get(store, COMMITS, b"half-counter").await, None);
    assert_eq!(get(store, COMMITS, b"kept").await, Some(entry(b"kept", kept, "kept", "")));
}

async fn checks_see_the_state_before_the_batch(store: &dyn MetaStore) {
    let batch = Batch::new(COMMITS).check(*b"before", Expect::Absent).put(*b"before", "1", "").check(*b"before", Expect::Absent);
    let revision = commit(store, batch).await;
    assert_eq!(get(store, COMMITS, b"before").await, Some(entry(b"before", revision, "1", "")));
}

async fn revisions_grow_and_are_never_reused(store: &dyn MetaStore) {
    let mut last = Revision(0);
    for _ in 0..4 {
        let made = put(store, COMMITS, b"again", "", "").await;
        assert!(made > last, "{made:?} comes after {last:?}");
        let removed = commit(store, Batch::new(COMMITS).delete(*b"again")).await;
        assert!(removed > made, "{removed:?} comes after {made:?}");
        last = removed;
        let stale = Batch::new(COMMITS).check(*b"again", Expect::Revision(made)).put(*b"again", "stale", "");
        conflict(store, stale).await;
    }
    let batch = Batch::new(COMMITS).put(*b"one", "", "").put(*b"two", "", "");
    let revision = commit(store, batch).await;
    for key in [b"one", b"two"] {
        assert_eq!(get(store, COMMITS, key).await.map(|entry| entry.revision), Some(revision), "one commit, one revision");
    }
    let empty = commit(store, Batch::new(COMMITS)).await;
    assert!(empty > revision, "every commit gets a higher one");
}

async fn counters_add_up(store: &dyn MetaStore) {
    let mut expected = 0_i64;
    for delta in [5, -8, 0, i64::from(i32::MAX), -1] {
        let revision = commit(store, Batch::new(COUNTERS).add(*b"sum", delta)).await;
        expected += delta;
        let entry = get(store, COUNTERS, b"sum").await.expect("a counter that was added to is there");
        assert_eq!((counter_value(&entry.head), entry.revision), (Some(expected), revision));
        assert!(entry.body.is_empty());
    }
    commit(store, Batch::new(COUNTERS).add(*b"left", 1).add(*b"right", 2).put(*b"beside", "", "")).await;
    for (key, value) in [(&b"left"[..], 1), (b"right", 2)] {
        assert_eq!(get(store, COUNTERS, key).await.and_then(|entry| counter_value(&entry.head)), Some(value));
    }
}

async fn counters_are_entries(store: &dyn MetaStore) {
    let value = async || get(store, COUNTERS, b"entry").await.and_then(|entry| counter_value(&entry.head));
    let first = commit(store, Batch::new(COUNTERS).check(*b"entry", Expect::Absent).add(*b"entry", 1)).await;
    let second = commit(store, Batch::new(COUNTERS).check(*b"entry", Expect::Revision(first)).add(*b"entry", 1)).await;
    let (key, current) = conflict(store, Batch::new(COUNTERS).check(*b"entry", Expect::Revision(first))).await;
    let current = current.expect("the counter is there");
    assert_eq!((&key[..], current.revision, counter_value(&current.head)), (&b"entry"[..], second, Some(2)));
    commit(store, Batch::new(COUNTERS).put(*b"entry", counter_head(40), "")).await;
    commit(store, Batch::new(COUNTERS).add(*b"entry", 2)).await;
    assert_eq!(value().await, Some(42), "a put sets a counter");
    commit(store, Batch::new(COUNTERS).delete(*b"entry")).await;
    commit(store, Batch::new(COUNTERS).add(*b"entry", 7)).await;
    assert_eq!(value().await, Some(7), "a deleted counter starts over");
}

async fn what_is_no_counter_is_not_added_to(store: &dyn MetaStore) {
    let revision = put(store, COUNTERS, b"text", "no counter", "").await;
    let result = store.commit(Batch::new(COUNTERS).put(*b"text-beside", "", "").add(*b"text", 1)).await;
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    assert_eq!(get(store, COUNTERS, b"text").await, Some(entry(b"text", revision, "no counter", "")));
    assert_eq!(get(store, COUNTERS, b"text-beside").await, None);
}

async fn large_and_odd_values_come_back(store: &dyn MetaStore) {
    let large = Bytes::from((0..300_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let long_key = vec![0xfe; 2200];
    for key in [&b""[..], b"\0", b"\xff\xff", b"a\0b", &long_key] {
        let batch = Batch::new(COMMITS).put(key, Bytes::from_static(b"\0\xff"), large.clone());
        let revision = commit(store, batch).await;
        let found = get(store, COMMITS, key).await.expect("what was put is there");
        assert_eq!((&found.key[..], found.revision, &found.head[..]), (key, revision, &b"\0\xff"[..]));
        assert_eq!(found.body, large, "the body of {key:?}");
    }
}
