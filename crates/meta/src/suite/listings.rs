//! Listings with a delimiter.

use super::{LISTINGS, commit, keys};
use crate::{Batch, DelimPage, MetaStore, Partition, ScanDelim};

pub(super) async fn run(store: &dyn MetaStore) {
    keys_and_common_prefixes(store).await;
    delimiters_of_several_bytes(store).await;
    bytes_at_the_edges(store).await;
    large_common_prefixes(store).await;
}

/// What a listing is asked, and what it answers.
#[derive(Default)]
struct Case {
    prefix: &'static [u8],
    delimiter: &'static [u8],
    after: Option<&'static [u8]>,
    limit: usize,
    keys: &'static [&'static [u8]],
    common: &'static [&'static [u8]],
    truncated: bool,
}

const ALL: Case = Case { prefix: b"", delimiter: b"/", after: None, limit: 100, keys: &[], common: &[], truncated: false };

async fn fill(store: &dyn MetaStore, partition: Partition, keys: &[&[u8]]) {
    let batch = keys.iter().fold(Batch::new(partition), |batch, key| batch.put(*key, "head", "body"));
    commit(store, batch).await;
}

async fn list(store: &dyn MetaStore, partition: Partition, scan: ScanDelim) -> DelimPage {
    store.scan_delim(partition, scan).await.expect("the listing is read")
}

async fn check(store: &dyn MetaStore, partition: Partition, cases: &[(&str, Case)]) {
    for (name, case) in cases {
        let scan = ScanDelim {
            prefix: case.prefix.to_vec(),
            delimiter: case.delimiter.to_vec(),
            after: case.after.map(<[u8]>::to_vec),
            limit: case.limit,
        };
        let page = list(store, partition, scan).await;
        assert_eq!(keys(&page.entries), case.keys, "{name}: keys");
        assert_eq!(page.common_prefixes, case.common, "{name}: common prefixes");
        assert_eq!(page.truncated, case.truncated, "{name}: truncated");
        assert!(page.entries.iter().all(|entry| entry.head == "head" && entry.body.is_empty()), "{name}: heads only");
    }
}

async fn keys_and_common_prefixes(store: &dyn MetaStore) {
    let partition = Partition(LISTINGS.0);
    fill(store, partition, &[b"a", b"b/", b"b/1", b"b/2/x", b"b/2/y", b"b0", b"c/1", b"c/2", b"d"]).await;
    check(
        store,
        partition,
        &[
            ("all", Case { keys: &[b"a", b"b0", b"d"], common: &[b"b/", b"c/"], ..ALL }),
            ("a prefix that is a key", Case { prefix: b"b/", keys: &[b"b/", b"b/1"], common: &[b"b/2/"], ..ALL }),
            ("a prefix within a name", Case { prefix: b"b", keys: &[b"b0"], common: &[b"b/"], ..ALL }),
            ("a prefix of one key", Case { prefix: b"b/2/x", keys: &[b"b/2/x"], ..ALL }),
            ("nothing begins so", Case { prefix: b"zzz", ..ALL }),
            ("a delimiter that is nowhere", Case { prefix: b"c", delimiter: b"#", keys: &[b"c/1", b"c/2"], ..ALL }),
            ("after before everything", Case { after: Some(b""), keys: &[b"a", b"b0", b"d"], common: &[b"b/", b"c/"], ..ALL }),
            ("after a key", Case { after: Some(b"a"), keys: &[b"b0", b"d"], common: &[b"b/", b"c/"], ..ALL }),
            ("after at a common prefix", Case { after: Some(b"b/"), keys: &[b"b0", b"d"], common: &[b"c/"], ..ALL }),
            ("after inside a common prefix", Case { after: Some(b"b/1"), keys: &[b"b0", b"d"], common: &[b"c/"], ..ALL }),
            ("after behind a common prefix", Case { after: Some(b"b0"), keys: &[b"d"], common: &[b"c/"], ..ALL }),
            ("after just before a common prefix", Case { after: Some(b"b."), keys: &[b"b0", b"d"], common: &[b"b/", b"c/"], ..ALL }),
            ("after the last key", Case { after: Some(b"d"), ..ALL }),
            ("after before the prefix", Case { prefix: b"c/", after: Some(b"a"), keys: &[b"c/1", b"c/2"], ..ALL }),
            ("after behind the prefix", Case { prefix: b"b/", after: Some(b"c"), ..ALL }),
            ("after at the prefix", Case { prefix: b"b/", after: Some(b"b/"), keys: &[b"b/1"], common: &[b"b/2/"], ..ALL }),
            ("cut behind a key", Case { limit: 1, keys: &[b"a"], truncated: true, ..ALL }),
            ("cut behind a common prefix", Case { limit: 2, keys: &[b"a"], common: &[b"b/"], truncated: true, ..ALL }),
            ("exactly all", Case { limit: 5, keys: &[b"a", b"b0", b"d"], common: &[b"b/", b"c/"], ..ALL }),
            ("exactly up to a common prefix", Case { prefix: b"c", limit: 1, common: &[b"c/"], ..ALL }),
            ("one short of all", Case { limit: 4, keys: &[b"a", b"b0"], common: &[b"b/", b"c/"], truncated: true, ..ALL }),
            ("none asked for", Case { limit: 0, truncated: true, ..ALL }),
            ("none asked for, none there", Case { prefix: b"zzz", limit: 0, ..ALL }),
        ],
    )
    .await;
    check(store, Partition(LISTINGS.0 + 1), &[("nothing at all", Case { ..ALL })]).await;
}

async fn delimiters_of_several_bytes(store: &dyn MetaStore) {
    let partition = Partition(LISTINGS.0 + 2);
    fill(store, partition, &[b"a-", b"a--", b"a--1", b"a---2", b"a-b", b"ab--c", b"b\xc3\xa91", b"b\xc3\xa92", b"b\xc3\xa8"]).await;
    let dashes = || Case { delimiter: b"--", ..ALL };
    check(
        store,
        partition,
        &[
            ("two bytes", Case { prefix: b"a", keys: &[b"a-", b"a-b"], common: &[b"a--", b"ab--"], ..dashes() }),
            (
                "the prefix holds half of it",
                Case { prefix: b"a-", keys: &[b"a-", b"a--", b"a--1", b"a-b"], common: &[b"a---"], ..dashes() },
            ),
            ("the prefix ends with it", Case { prefix: b"a--", keys: &[b"a--", b"a---2", b"a--1"], ..dashes() }),
            (
                "a letter of two bytes",
                Case { prefix: b"b", delimiter: "é".as_bytes(), keys: &[b"b\xc3\xa8"], common: &[b"b\xc3\xa9"], ..ALL },
            ),
            ("longer than any key", Case { prefix: b"a--", delimiter: b"0123456789", keys: &[b"a--", b"a---2", b"a--1"], ..ALL }),
        ],
    )
    .await;
}

async fn bytes_at_the_edges(store: &dyn MetaStore) {
    let partition = Partition(LISTINGS.0 + 3);
    fill(store, partition, &[b"\0", b"\0\0", b"\0/x", b"k\0/1", b"k\xff/1", b"k\xff/2", b"k\xff\xff", b"\xff", b"\xff\xff", b"\xff\xff/z"])
        .await;
    check(
        store,
        partition,
        &[
            (
                "all",
                Case {
                    keys: &[b"\0", b"\0\0", b"k\xff\xff", b"\xff", b"\xff\xff"],
                    common: &[b"\0/", b"k\0/", b"k\xff/", b"\xff\xff/"],
                    ..ALL
                },
            ),
            ("a prefix without a successor", Case { prefix: b"\xff", keys: &[b"\xff", b"\xff\xff"], common: &[b"\xff\xff/"], ..ALL }),
            ("a delimiter of 0xff", Case { delimiter: b"\xff", prefix: b"\xff", keys: &[b"\xff"], common: &[b"\xff\xff"], ..ALL }),
            ("and after it", Case { delimiter: b"\xff", prefix: b"\xff", after: Some(b"\xff\xff"), ..ALL }),
            (
                "a delimiter of 0x00",
                Case { delimiter: b"\0", prefix: b"k", keys: &[b"k\xff/1", b"k\xff/2", b"k\xff\xff"], common: &[b"k\0"], ..ALL },
            ),
            ("after with 0xff", Case { prefix: b"k", after: Some(b"k\xff/1"), keys: &[b"k\xff\xff"], ..ALL }),
        ],
    )
    .await;
}

/// More keys behind one common prefix than an engine would step over, and pages that end among them.
async fn large_common_prefixes(store: &dyn MetaStore) {
    let partition = Partition(LISTINGS.0 + 4);
    let mut batch = Batch::new(partition);
    for common in 0..5 {
        for n in 0..150 {
            batch = batch.put(format!("{common}/{n:03}"), "head", "body");
        }
        batch = batch.put(format!("{common}~"), "head", "body");
    }
    commit(store, batch).await;
    for limit in 1..=10 {
        let mut seen: Vec<Vec<u8>> = Vec::new();
        loop {
            let after = seen.last().cloned();
            let page = list(store, partition, ScanDelim { prefix: Vec::new(), delimiter: b"/".to_vec(), after, limit }).await;
            let mut items: Vec<_> = page.entries.iter().map(|entry| entry.key.to_vec()).chain(page.common_prefixes).collect();
            items.sort();
            assert!(items.len() == limit || !page.truncated, "a page that is cut is full");
            seen.extend(items);
            if !page.truncated {
                break;
            }
        }
        let expected: Vec<_> = (0..5).flat_map(|n| [format!("{n}/").into_bytes(), format!("{n}~").into_bytes()]).collect();
        assert_eq!(seen, expected, "limit {limit}");
    }
}
