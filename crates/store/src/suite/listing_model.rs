//! Listings against a model of a few lines, over random keys.

use std::collections::BTreeSet;

use umbra_core::{Random, SeededRandom};

use super::fixture::Fixture;
use crate::{ListPage, ListStart};

/// How many random buckets are listed.
pub(super) const CASES: u64 = 6;
const QUERIES: usize = 60;
const KEYS_MAX: usize = 40;

const LETTERS: [&str; 9] = ["a", "b", "/", "//", "ü", "\u{10ffff}", "\0", "-", "\u{7f}"];
const DELIMITERS: [&str; 6] = ["", "/", "/", "a", "ü", "//"];
const LIMITS: [usize; 6] = [1, 2, 3, 5, 7, 1000];

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        usize::from(u16::from_le_bytes((&self.0 as &dyn Random).array())) % bound
    }

    fn one<'a>(&self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn text(&self, letters_max: usize) -> String {
        (0..self.below(letters_max + 1)).map(|_| self.one(&LETTERS)).collect()
    }
}

pub(super) async fn run(fixture: &Fixture, seed: u64) {
    let dice = Dice(SeededRandom::new(seed));
    let keys: BTreeSet<String> = (0..dice.below(KEYS_MAX)).map(|_| format!("{}{}", dice.one(&LETTERS), dice.text(5))).collect();
    for key in &keys {
        fixture.put(key, "").await;
    }
    for _ in 0..QUERIES {
        let (prefix, delimiter, after) = (dice.text(2), dice.one(&DELIMITERS), dice.text(3));
        let after = (dice.below(2) == 0).then_some(after);
        let limit = LIMITS[dice.below(LIMITS.len())];
        let by_marker = dice.below(2) == 0;
        walk(fixture, &keys, &prefix, delimiter, after, limit, by_marker).await;
    }
}

async fn walk(
    fixture: &Fixture,
    keys: &BTreeSet<String>,
    prefix: &str,
    delimiter: &str,
    mut after: Option<String>,
    limit: usize,
    by_marker: bool,
) {
    let mut start = after.clone().map_or(ListStart::First, ListStart::After);
    loop {
        let page = fixture.list(prefix, delimiter, start.clone(), limit).await;
        let (expected, truncated) = model(keys, prefix, delimiter, after.as_deref(), limit);
        let what = format!("{prefix:?} {delimiter:?} from {start:?} by {limit}");
        assert_eq!(merged(&page), expected, "{what}");
        assert_eq!(page.next.is_some(), truncated, "{what}: truncated");
        assert_eq!(page.last.as_deref(), expected.last().map(|(name, _)| name.as_str()), "{what}: last");
        let Some(token) = page.next else { return };
        start = if by_marker { ListStart::After(page.last.clone().expect("it is not empty")) } else { ListStart::Continue(token) };
        after = page.last;
    }
}

/// Names in order; whether each is a common prefix.
fn merged(page: &ListPage) -> Vec<(String, bool)> {
    let objects = page.objects.iter().map(|object| (object.key.as_str().to_owned(), false));
    let prefixes = page.common_prefixes.iter().map(|prefix| (prefix.clone(), true));
    let is_ordered = |names: &[String]| names.is_sorted_by(|left, right| left < right);
    assert!(is_ordered(&page.objects.iter().map(|object| object.key.as_str().to_owned()).collect::<Vec<_>>()));
    assert!(is_ordered(&page.common_prefixes));
    let mut all: Vec<_> = objects.chain(prefixes).collect();
    all.sort();
    all
}

fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, after: Option<&str>, limit: usize) -> (Vec<(String, bool)>, bool) {
    let rolled = |key: &String| {
        let rest = key.strip_prefix(prefix)?;
        let at = if delimiter.is_empty() { None } else { rest.find(delimiter) };
        Some(at.map_or_else(|| (key.clone(), false), |at| (key[..prefix.len() + at + delimiter.len()].to_owned(), true)))
    };
    let all: BTreeSet<_> = keys.iter().filter_map(rolled).filter(|(name, _)| after.is_none_or(|after| name.as_str() > after)).collect();
    let truncated = all.len() > limit;
    (all.into_iter().take(limit).collect(), truncated)
}
