//! Ranges and parts of objects that were put whole.

use umbra_core::{ByteRange, Fault, PartNumber, RangeSpec};

use super::fixture::{Fixture, NO_OBJECT, content, invalid, key, kind, number};
use crate::GetOptions;

pub(super) async fn run(fixture: &Fixture) {
    for size in [1, 4_096, 10_000, 1_048_577, 2_600_000] {
        ranges(fixture, size).await;
    }
    empty(fixture).await;
    part_numbers(fixture).await;
}

fn range(range: RangeSpec) -> GetOptions {
    GetOptions { range: Some(range), ..GetOptions::default() }
}

fn part(part_number: PartNumber) -> GetOptions {
    GetOptions { part_number: Some(part_number), ..GetOptions::default() }
}

async fn ranges(fixture: &Fixture, size: usize) {
    let content = content(size, 7);
    fixture.put("ranged", content.clone()).await;
    let size = size as u64;
    let from = |first, last| RangeSpec::From { first, last };
    let middle = size / 2;
    let wishes = [
        (from(0, None), 0..size),
        (from(0, Some(0)), 0..1),
        (from(size - 1, None), size - 1..size),
        (from(middle, Some(size + 10)), middle..size),
        (from(middle, Some(middle)), middle..middle + 1),
        (from(size / 3, Some(middle)), size / 3..middle + 1),
        (RangeSpec::Suffix { length: 1 }, size - 1..size),
        (RangeSpec::Suffix { length: size + 1 }, 0..size),
    ];
    for (wish, expected) in wishes {
        let got = fixture.try_get("ranged", range(wish)).await.expect("the range is read");
        assert_eq!(got.range, Some(ByteRange::new(expected.start, expected.end)), "{wish:?} of {size}");
        assert_eq!(got.info.size, size, "the size is the whole object's");
        let (_, bytes) = fixture.read("ranged", range(wish)).await.expect("the range is read");
        assert!(bytes == content.slice(expected.start as usize..expected.end as usize), "{wish:?} of {size}");
    }
    for wish in [from(size, None), from(1, Some(0)), RangeSpec::Suffix { length: 0 }] {
        assert_eq!(kind("range", fixture.try_get("ranged", range(wish)).await), invalid(Fault::InvalidRange), "{wish:?} of {size}");
    }
}

async fn empty(fixture: &Fixture) {
    fixture.put("empty", "").await;
    let wish = RangeSpec::From { first: 0, last: None };
    assert_eq!(kind("range", fixture.try_get("empty", range(wish)).await), invalid(Fault::InvalidRange));
    assert_eq!(kind("absent", fixture.try_get("absent", range(wish)).await), NO_OBJECT);
    assert!(fixture.get("empty").await.is_empty());
}

async fn part_numbers(fixture: &Fixture) {
    let content = content(10_000, 3);
    fixture.put("one", content.clone()).await;
    let (info, bytes) = fixture.read("one", part(number(1))).await.expect("part 1 is the whole");
    assert!(bytes == content && info.parts.is_empty());
    let one = key("one");
    let head = |options| fixture.objects.head(&fixture.cx, &fixture.bucket, &one, options);
    assert!(head(part(number(1))).await.is_ok());
    for missing in [2, 10_000] {
        assert_eq!(kind("part", fixture.try_get("one", part(number(missing))).await), invalid(Fault::InvalidPartNumber));
        assert_eq!(kind("part", head(part(number(missing))).await), invalid(Fault::InvalidPartNumber));
    }
    fixture.put("empty", "").await;
    let (_, bytes) = fixture.read("empty", part(number(1))).await.expect("part 1 is the whole");
    assert!(bytes.is_empty());
}
