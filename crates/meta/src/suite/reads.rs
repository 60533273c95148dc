//! Reading keys and ranges.

use super::{APART, READS, commit, entry, get, keys, put, scan};
use crate::{Batch, KeyRange, MetaStore, Projection};

pub(super) async fn run(store: &dyn MetaStore) {
    many_keys_come_back_in_the_order_asked(store).await;
    ranges_are_bounded_and_ordered(store).await;
    a_projection_leaves_bodies_out(store).await;
    partitions_are_apart(store).await;
}

async fn many_keys_come_back_in_the_order_asked(store: &dyn MetaStore) {
    let batch = Batch::new(READS).put(*b"m/1", "one", "1").put(*b"m/2", "two", "2");
    let revision = commit(store, batch).await;
    let (one, two) = (Some(entry(b"m/1", revision, "one", "1")), Some(entry(b"m/2", revision, "two", "2")));
    let asked: [&[u8]; 4] = [b"m/2", b"m/none", b"m/1", b"m/2"];
    let found = store.multi_get(READS, &asked).await.expect("the keys are read");
    assert_eq!(found, [two.clone(), None, one, two]);
    assert_eq!(store.multi_get(READS, &[]).await.expect("nothing is read"), []);
    assert_eq!(get(store, READS, b"m/").await, None, "a prefix of a key is another key");
}

async fn ranges_are_bounded_and_ordered(store: &dyn MetaStore) {
    let all: [&[u8]; 8] = [b"s", b"s\0", b"s\0\xff", b"s/", b"s/a", b"s\xff", b"s\xff\0", b"t"];
    let mut batch = Batch::new(READS);
    for key in all.iter().rev() {
        batch = batch.put(*key, "", "");
    }
    commit(store, batch).await;
    let range = |start: &[u8], end: Option<&[u8]>| KeyRange { start: start.to_vec(), end: end.map(<[u8]>::to_vec) };
    let cases = [
        ("from the first key", range(b"s", None), &all[..]),
        ("a prefix", KeyRange::prefix(b"s"), &all[..7]),
        ("a prefix of 0xff", KeyRange::prefix(b"s\xff"), &all[5..7]),
        ("the start is inside", range(b"s/", Some(b"t")), &all[3..7]),
        ("the end is not", range(b"s", Some(b"s/")), &all[..3]),
        ("the start need not exist", range(b"s\0\0", Some(b"s/aa")), &all[2..5]),
        ("nothing between", range(b"s/a\0", Some(b"s0")), &[]),
        ("an empty range", range(b"s/", Some(b"s/")), &[]),
        ("a range upside down", range(b"t", Some(b"s")), &[]),
        ("behind a key", KeyRange::prefix(b"s").after(b"s\0"), &all[2..7]),
        ("behind a key before the prefix", KeyRange::prefix(b"s/").after(b"a"), &all[3..5]),
        ("behind the last", range(b"t\0", None), &[]),
    ];
    for (name, range, expected) in cases {
        for limit in [0, 1, 2, expected.len(), expected.len() + 1, usize::MAX] {
            let found = scan(store, READS, range.clone(), limit).await;
            assert_eq!(keys(&found), &expected[..limit.min(expected.len())], "{name}, limit {limit}");
        }
    }
    let ranges = vec![(range(b"s/", Some(b"t")), 2), (range(b"t", Some(b"s")), 9), (range(b"s", Some(b"s/")), 9)];
    let found = store.multi_scan(READS, ranges, Projection::Full).await.expect("the ranges are scanned");
    let found: Vec<_> = found.iter().map(|found| keys(found)).collect();
    assert_eq!(found, [&all[3..5], &[], &all[..3]], "several ranges, each in its place");
    assert_eq!(store.multi_scan(READS, Vec::new(), Projection::Full).await.expect("nothing is scanned"), [[]; 0]);
}

async fn a_projection_leaves_bodies_out(store: &dyn MetaStore) {
    let revision = put(store, READS, b"p", "head", "body").await;
    let range = KeyRange::prefix(b"p");
    let found = store.scan(READS, range.clone(), 10, Projection::Head).await.expect("the range is scanned");
    assert_eq!(found, [entry(b"p", revision, "head", "")]);
    assert_eq!(scan(store, READS, range, 10).await, [entry(b"p", revision, "head", "body")]);
}

async fn partitions_are_apart(store: &dyn MetaStore) {
    for (partition, head) in APART.into_iter().zip(["root", "last", "middle"]) {
        put(store, partition, b"same", head, "").await;
    }
    for (partition, head) in APART.into_iter().zip(["root", "last", "middle"]) {
        let found = scan(store, partition, KeyRange { start: Vec::new(), end: None }, 10).await;
        assert_eq!(found.iter().map(|entry| &entry.head[..]).collect::<Vec<_>>(), [head.as_bytes()], "{partition:?}");
    }
    commit(store, Batch::new(APART[0]).delete(*b"same")).await;
    assert_eq!(get(store, APART[0], b"same").await, None);
    assert!(get(store, APART[1], b"same").await.is_some());
}
