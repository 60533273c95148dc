use super::Coordinates;
use crate::{RegionAddress, RegionMap, RegionMapError};

const FRA: (f64, f64) = (50.1, 8.7);
const IAD: (f64, f64) = (38.9, -77.4);
const SIN: (f64, f64) = (1.4, 104.0);

fn at((latitude, longitude): (f64, f64)) -> Coordinates {
    Coordinates { latitude, longitude }
}

fn regions() -> Vec<RegionAddress> {
    let region = |(name, place)| RegionAddress::parse(name, "https://a.test", Some(at(place))).unwrap();
    [("fra", FRA), ("iad", IAD), ("sin", SIN)].into_iter().map(region).collect()
}

/// A text or a map of MaxMind's form, up to 28 bytes or entries.
fn sized(kind: u8, length: usize) -> Vec<u8> {
    vec![(kind << 5) | u8::try_from(length).unwrap()]
}

fn text(text: &str) -> Vec<u8> {
    [sized(2, text.len()), text.as_bytes().to_vec()].concat()
}

fn double(value: f64) -> Vec<u8> {
    [sized(3, 8), value.to_be_bytes().to_vec()].concat()
}

fn number(kind: u8, value: u16) -> Vec<u8> {
    [sized(kind, 2), value.to_be_bytes().to_vec()].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    entries.iter().fold(sized(7, entries.len()), |bytes, (name, value)| [bytes, text(name), value.clone()].concat())
}

/// A database of addresses of version 4 that tells the first half of them to be at one place, and has nothing of the others.
fn database(place: Option<(f64, f64)>) -> Vec<u8> {
    let record = match place {
        Some((latitude, longitude)) => map(&[("location", map(&[("latitude", double(latitude)), ("longitude", double(longitude))]))]),
        None => map(&[("country", map(&[("iso_code", text("DE"))]))]),
    };
    // One node: its left record is the first of the data, which begin 16 bytes behind the tree, and its right one is no data.
    let tree = [0, 0, 17, 0, 0, 1];
    let metadata = map(&[
        ("binary_format_major_version", number(5, 2)),
        ("binary_format_minor_version", number(5, 0)),
        ("build_epoch", [vec![0x02, 0x02], vec![0, 1]].concat()),
        ("database_type", text("Test-City")),
        ("description", map(&[])),
        ("ip_version", number(5, 4)),
        ("languages", vec![0x00, 0x04]),
        ("node_count", [sized(6, 2), vec![0, 1]].concat()),
        ("record_size", number(5, 24)),
    ]);
    [&tree[..], &[0; 16], &record, b"\xab\xcd\xefMaxMind.com", &metadata].concat()
}

fn nearest(map: &RegionMap, client: &str, live: &[&str]) -> Option<String> {
    map.nearest(client.parse().unwrap(), |region| live.contains(&region)).map(str::to_owned)
}

#[test]
fn the_region_at_the_least_distance_is_the_nearest() {
    for (place, expected, next) in [((52.5, 13.4), "fra", "iad"), ((45.5, -73.6), "iad", "fra"), ((-6.2, 106.8), "sin", "fra")] {
        let map = RegionMap::parse(database(Some(place)), &regions()).unwrap();
        let live: Vec<_> = ["fra", "iad", "sin"].into_iter().filter(|name| *name != expected).collect();
        assert_eq!(nearest(&map, "1.2.3.4", &["fra", "iad", "sin"]).as_deref(), Some(expected));
        assert_eq!(nearest(&map, "::ffff:1.2.3.4", &["fra", "iad", "sin"]).as_deref(), Some(expected));
        assert_eq!(nearest(&map, "1.2.3.4", &live).as_deref(), Some(next), "the next one where that has no node");
        assert_eq!(nearest(&map, "1.2.3.4", &[]), None);
        assert_eq!(nearest(&map, "200.2.3.4", &["fra", "iad", "sin"]), None, "nobody knows where it is");
        assert_eq!(nearest(&map, "fe80::1", &["fra", "iad", "sin"]), None, "the database has none of these");
    }
}

#[test]
fn what_tells_no_place_names_no_region() {
    for told in [None, Some((91.0, 0.0)), Some((f64::NAN, 0.0))] {
        let map = RegionMap::parse(database(told), &regions()).unwrap();
        assert_eq!(nearest(&map, "1.2.3.4", &["fra", "iad", "sin"]), None, "{told:?}");
    }
}

#[test]
fn a_database_that_cannot_be_used_is_refused() {
    let whole = database(Some(FRA));
    let mut damaged = whole.clone();
    damaged.truncate(whole.len() - 20);
    assert!(matches!(RegionMap::parse(damaged, &regions()), Err(RegionMapError::Database(_))));
    let nowhere = [RegionAddress::parse("fra", "https://a.test", None).unwrap()];
    assert!(matches!(RegionMap::parse(whole, &nowhere), Err(RegionMapError::NoPlace(name)) if name == "fra"));
    assert!(matches!(RegionMap::parse(vec![0xff, 0xfe], &regions()), Err(RegionMapError::Form)));
}

#[test]
fn distances_are_those_on_a_globe() {
    let kilometres = |one, other| at(one).distance(at(other)) * 6371.0;
    for (one, other, expected) in [
        (FRA, IAD, 6560.0),
        (FRA, SIN, 10_300.0),
        (FRA, FRA, 0.0),
        ((0.0, 179.0), (0.0, -179.0), 222.0),
        ((90.0, 0.0), (-90.0, 0.0), 20_015.0),
    ] {
        assert!((kilometres(one, other) - expected).abs() < 100.0, "{one:?} {other:?}: {}", kilometres(one, other));
    }
    assert_eq!(Coordinates::parse("50.1, 8.7"), Some(at(FRA)));
    for wrong in ["50.1", "north,8.7", "91,0", "0,181", "NaN,0", "inf,0"] {
        assert_eq!(Coordinates::parse(wrong), None, "{wrong}");
    }
}
