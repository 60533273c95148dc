use proptest::prelude::*;
use umbra_core::{BucketName, ObjectKey, PartNumber, UploadId};

use super::*;
use crate::Partition;

fn contains(range: &KeyRange, key: &[u8]) -> bool {
    range.start.as_slice() <= key && range.end.as_ref().is_none_or(|end| key < end.as_slice())
}

fn object_key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

/// Keys among which separators and zero bytes are frequent.
fn keys() -> impl Strategy<Value = String> {
    "[a/p\u{0}\u{1}ÿ]{1,8}"
}

#[test]
fn bytes_are_as_documented() {
    let (key, id) = (object_key("a\0b"), UploadId::parse("u"));
    let cases: [(&str, Vec<u8>, &[u8]); 26] = [
        ("settings", settings(), b"b"),
        ("object", object(&key), b"o/a\0b"),
        ("tombstone", tombstone(&key), b"s/a\0b"),
        ("write intent", write_intent(&key), b"w/a\0b"),
        ("note", uncarried(&key), b"n/a\0b"),
        ("order", order(&key), b"a/a\0b"),
        ("inventory", inventory(&key), b"i/a\0b"),
        ("job", job::record(b'x'), b"q/x"),
        ("note", job::note(b'x', 258, &key), b"q/xn\0\0\0\0\0\0\x01\x02a\0b"),
        ("hydration", hydration(&key), b"h/a\0\xffb\0\x01"),
        ("piece", piece(&key, 7), b"h/a\0\xffb\0\x01\0\0\0\0\0\0\0\x07"),
        ("upload", upload(&id), b"m/u\0\x01"),
        ("part", part(&id, PartNumber::new(258).unwrap()), b"m/u\0\x01p\x01\x02"),
        ("upload index", upload_index(&key, &id), b"M/a\0\xffb\0\x01u"),
        ("origin upload", origin_upload(&id), b"u/u"),
        ("history", history(&key), b"v/a\0\xffb\0\x01"),
        ("version", version(&key, 258), b"v/a\0\xffb\0\x01\xff\xff\xff\xff\xff\xff\xfe\xfd"),
        ("counter", counter("objects"), b"c/objects"),
        ("reclaim", reclaim(0x0102, b"blob"), b"g/\0\0\0\0\0\0\x01\x02blob"),
        ("audit", audit(), b"p"),
        ("due copy", due_copy("fra", 258, b"\x04blob"), b"r/fra\0\x01\0\0\0\0\0\0\x01\x02\x04blob"),
        ("pointer", root::due_pointer("fra", Partition(258)), b"Q/fra\0\x01\0\0\0\0\0\0\x01\x02"),
        ("lease", root::due_lease("fra", Partition(258)), b"Q/fra\0\x01\0\0\0\0\0\0\x01\x02l"),
        ("destroying", root::destroying(Partition(258)), b"D/\0\0\0\0\0\0\x01\x02"),
        ("copy", root::copy(b"\x04blob", "fra"), b"C/\x05\x04blobfra"),
        ("claim", root::claim(b"\x04blob", "fra"), b"W/\x05\x04blobfra"),
    ];
    for (name, built, expected) in cases {
        assert_eq!(built, expected, "{name}");
    }
}

#[test]
fn root_keys_come_back() {
    let name = BucketName::parse("my-bucket").unwrap();
    assert_eq!(root::parse_bucket(&root::bucket(&name)), Some(name.clone()));
    assert!(contains(&root::bucket_range("my"), &root::bucket(&name)));
    assert_eq!(root::parse_destroying(&root::destroying(Partition(u64::MAX))), Some(Partition(u64::MAX)));
    assert!(contains(&root::destroying_range(), &root::destroying(Partition(u64::MAX))));
    assert_eq!(root::parse_copy(b"id", &root::copy(b"id", "fra")), Some("fra"));
    assert!(contains(&root::copies_range(b"id"), &root::copy(b"id", "fra")));
    assert!(contains(&root::all_copies_range(), &root::copy(b"", "fra")));
    assert_eq!(root::parse_any_copy(&root::copy(b"id", "fra")), Some((&b"id"[..], "fra")));
    assert_eq!(root::parse_any_copy(b"C/\x03id"), None);
    assert!(contains(&root::claims_range(), &root::claim(b"\xff", "fra")));
    assert_eq!(root::parse_claim(&root::claim(b"id", "fra")), Some((&b"id"[..], "fra")));
    assert!(!contains(&root::copies_range(b"id"), &root::copy(b"idf", "ra")));
    assert_eq!(root::parse_contents(&root::contents("fra")), Some("fra"));
    assert!(contains(&root::contents_range(), &root::contents("")));
    assert_eq!(root::parse_organization(&root::organization("acme")), Some("acme"));
    assert!(contains(&root::organization_range(""), &root::organization("acme")));
    assert_eq!(root::parse_access_key(&root::access_key("AKIA1")), Some("AKIA1"));
    assert!(contains(&root::access_key_range("AK"), &root::access_key("AKIA1")));
    assert_eq!(root::parse_bucket(&root::store()), None);
}

#[test]
fn reclamations_are_due_up_to_and_including_now() {
    let due = reclaim_due(1000);
    assert!(contains(&due, &reclaim(1000, &[0xff; 16])) && contains(&due, &reclaim(0, b"")));
    assert!(!contains(&due, &reclaim(1001, b"")));
    assert!(contains(&reclaim_due(u64::MAX), &reclaim(u64::MAX, &[0xff; 16])));
    assert_eq!(parse_reclaim(&reclaim(1000, b"blob")), Some((1000, &b"blob"[..])));
    assert_eq!(parse_reclaim(b"g/short"), None);
}

#[test]
fn copies_to_be_made_are_ordered_by_region_and_time() {
    let due = due_copy("fra", 1000, b"\0blob");
    assert_eq!(parse_due_copy(&due), Some(DueCopy { region: "fra".to_owned(), at_ms: 1000, blob: b"\0blob".to_vec() }));
    assert!(contains(&due_copies_of("fra"), &due) && contains(&due_copies(), &due));
    assert!(!contains(&due_copies_of("fr"), &due) && !contains(&due_copies_of("fra1"), &due));
    assert!(due < due_copy("fra", 1001, b""));
    assert_eq!(parse_due_copy(b"r/fra"), None);
    let (pointer, lease) = (root::due_pointer("fra", Partition(7)), root::due_lease("fra", Partition(7)));
    assert!(contains(&root::due_range("fra"), &pointer) && contains(&root::due_range("fra"), &lease));
    assert!(pointer < lease && lease < root::due_pointer("fra", Partition(8)));
    assert!([&root::node("n-1"), &root::leader(), &root::turnstile(), &lease].iter().all(|row| root::is_of_the_running(row)));
    assert!(![&pointer, &root::store(), &root::contents("")].iter().any(|row| root::is_of_the_running(row)));
    assert_eq!((root::parse_due(&pointer), root::parse_due(&lease)), (Some((Partition(7), false)), Some((Partition(7), true))));
    assert_eq!(root::parse_due(&[&lease[..], b"x"].concat()), None);
}

#[test]
fn keys_of_other_families_are_not_parsed() {
    let key = object_key("key");
    assert_eq!(parse_object(&tombstone(&key)), None);
    assert_eq!(parse_piece(&object(&key)), None);
    assert_eq!(parse_piece(&hydration(&key)), None);
    assert_eq!(parse_hydration(&piece(&key, 1)), None);
    assert_eq!(parse_upload(&part(&UploadId::parse("u"), PartNumber::new(1).unwrap())), None);
    assert_eq!(parse_part(&upload(&UploadId::parse("u"))), None);
    assert_eq!(parse_upload_index(b"M/unclosed"), None);
    assert_eq!(parse_object(b"o/\xff"), None);
}

proptest! {
    #[test]
    fn keys_come_back_from_every_family(text in keys(), id in keys(), number in 1_u16..=10_000, n: u64) {
        let (key, upload_id, number) = (object_key(&text), UploadId::parse(&id), PartNumber::new(number.into()).unwrap());
        prop_assert_eq!(parse_object(&object(&key)).map(str::to_owned), Some(text.clone()));
        prop_assert_eq!(parse_tombstone(&tombstone(&key)).map(str::to_owned), Some(text.clone()));
        prop_assert_eq!(parse_write_intent(&write_intent(&key)).map(str::to_owned), Some(text.clone()));
        prop_assert_eq!(parse_uncarried(&uncarried(&key)).map(str::to_owned), Some(text.clone()));
        prop_assert_eq!(parse_inventory(&inventory(&key)).map(str::to_owned), Some(text.clone()));
        let note = job::note(7, n, &key);
        prop_assert_eq!(job::parse_note(&note), Some((7, n, text.as_str())));
        prop_assert_eq!(parse_hydration(&hydration(&key)), Some(key.clone()));
        prop_assert_eq!(parse_piece(&piece(&key, n)), Some((key.clone(), n)));
        prop_assert_eq!(parse_upload(&upload(&upload_id)), Some(upload_id.clone()));
        prop_assert_eq!(parse_part(&part(&upload_id, number)), Some((upload_id.clone(), number)));
        prop_assert_eq!(parse_origin_upload(&origin_upload(&upload_id)), Some(upload_id.clone()));
        prop_assert_eq!(parse_history(&history(&key)), Some(key.clone()));
        prop_assert_eq!(parse_version(&version(&key, n)), Some((key.clone(), n)));
        prop_assert_eq!((parse_history(&version(&key, n)), parse_version(&history(&key))), (None, None));
        prop_assert_eq!(parse_order(&order(&key)), Some(key.clone()));
        prop_assert!(contains(&all_orders(), &order(&key)));
        prop_assert!(contains(&all_origin_uploads(), &origin_upload(&upload_id)));
        prop_assert_eq!(parse_upload_index(&upload_index(&key, &upload_id)), Some((key, upload_id)));
        prop_assert_eq!(parse_counter(&counter(&text)).map(str::to_owned), Some(text.clone()));
    }

    #[test]
    fn a_range_holds_the_rows_of_its_key_alone(a in keys(), b in keys(), id in keys(), n: u64) {
        let (key, id) = (object_key(&b), UploadId::parse(&id));
        prop_assert_eq!(contains(&piece_range(&object_key(&a)), &piece(&key, n)), a == b);
        prop_assert_eq!(contains(&upload_index_of(&a), &upload_index(&key, &id)), a == b);
        prop_assert_eq!(contains(&versions_of(&a), &version(&key, n)), a == b);
        prop_assert_eq!(contains(&part_range(&UploadId::parse(&a)), &part(&UploadId::parse(&b), PartNumber::new(1).unwrap())), a == b);
        prop_assert_eq!(contains(&upload_range(&UploadId::parse(&a)), &upload(&UploadId::parse(&b))), a == b);
        for (range, bytes) in [
            (object_range(&a), object(&key)),
            (tombstone_range(&a), tombstone(&key)),
            (write_intent_range(&a), write_intent(&key)),
            (uncarried_range(&a), uncarried(&key)),
            (inventory_range(&a), inventory(&key)),
            (job::note_range(7, n, &a), job::note(7, n, &key)),
            (upload_index_range(&a), upload_index(&key, &id)),
            (version_range(&a), version(&key, n)),
            (counter_range(&a), counter(&b)),
        ] {
            prop_assert_eq!(contains(&range, &bytes), b.starts_with(&a));
        }
        prop_assert!(contains(&all_pieces(), &piece(&key, n)) && contains(&all_uploads(), &upload(&id)));
        prop_assert!(contains(&all_ancestors(), &ancestor(&key)) && !contains(&all_ancestors(), &object(&key)));
    }

    #[test]
    fn notes_are_those_of_one_run(text in keys(), run: u64, other: u64) {
        let note = job::note(7, run, &object_key(&text));
        prop_assert_eq!(contains(&job::note_range(7, other, ""), &note), run == other);
        prop_assert_eq!(contains(&job::notes_before(7, other), &note), run < other);
        prop_assert!(contains(&job::all(), &note) && contains(&job::all(), &job::record(7)));
        prop_assert!(job::parse_note(&job::record(7)).is_none());
    }

    #[test]
    fn the_upload_index_is_ordered_by_key_then_upload(a in keys(), b in keys(), left in keys(), right in keys()) {
        let place = |key: &str, id: &str| upload_index(&object_key(key), &UploadId::parse(id));
        prop_assert_eq!(place(&a, &left).cmp(&place(&b, &right)), (a.as_bytes(), left.as_bytes()).cmp(&(b.as_bytes(), right.as_bytes())));
    }

    #[test]
    fn versions_are_ordered_by_key_and_the_newest_first(a in keys(), b in keys(), left: u64, right: u64) {
        let place = |key: &str, sequence| version(&object_key(key), sequence);
        prop_assert_eq!(place(&a, left).cmp(&place(&b, right)), (a.as_bytes(), !left).cmp(&(b.as_bytes(), !right)));
    }

    #[test]
    fn pieces_are_ordered_by_number(text in keys(), left: u64, right: u64) {
        let key = object_key(&text);
        prop_assert_eq!(piece(&key, left).cmp(&piece(&key, right)), left.cmp(&right));
    }
}
