//! The two orders in which origins list, and what follows from them: pure.
//!
//! S3 lists in the order of UTF-8 bytes. Stores that keep keys in directories list one directory after the other: what lies below a name comes
//! directly behind it, as if `/` came before every other character. For a name `p` call the keys that begin with `p/` its *directory*, and those
//! that begin with `p` and a character below `/`, such as `p-old`, its *neighbours*. In the order of bytes the neighbours come before the
//! directory; in that of directories, behind it. Nothing else differs: the keys that begin with any text lie together in both orders.

use std::cmp::Ordering;

use umbra_core::{Error, ErrorKind, Result, limits};

use crate::origin::ListOrder;

/// The last character there is.
const LAST: &str = "\u{10ffff}";

/// Compares in the order of directories.
pub(crate) fn by_directory(left: &str, right: &str) -> Ordering {
    let differs = left.bytes().zip(right.bytes()).find(|(left, right)| left != right);
    match differs {
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((left, right)) => left.cmp(&right),
        None => left.len().cmp(&right.len()),
    }
}

/// Whether `key` lies in the directory of `name`.
pub(crate) fn is_in_directory(name: &str, key: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether `key` is a neighbour of `name`.
pub(crate) fn is_neighbour(name: &str, key: &str) -> bool {
    key.strip_prefix(name).and_then(|rest| rest.bytes().next()).is_some_and(|next| next < b'/')
}

/// Where the directory of `name` ends: no key of it comes behind this, in either order.
pub(crate) fn end_of_directory(name: &str) -> String {
    end_of(format!("{name}/"))
}

/// Where the neighbours of `name` end: `.` is the last character below `/`.
pub(crate) fn end_of_neighbours(name: &str) -> String {
    end_of(format!("{name}."))
}

/// No key that begins with `start` comes behind this.
pub(crate) fn end_of(mut start: String) -> String {
    let room = limits::KEY_BYTES_MAX.saturating_sub(start.len()) / LAST.len();
    start.push_str(&LAST.repeat(room.max(1)));
    start
}

/// The names of which `key` is a neighbour, the shortest first, none shorter than `min` bytes.
pub(crate) fn names_before(key: &str, min: usize) -> impl Iterator<Item = &str> {
    key.bytes().enumerate().skip(min).filter(|(_, byte)| *byte < b'/').map(|(at, _)| &key[..at])
}

/// The names in whose directory or among whose neighbours `key` lies, the shortest first, none shorter than `min` bytes.
pub(crate) fn names_around(key: &str, min: usize) -> impl Iterator<Item = &str> {
    key.bytes().enumerate().skip(min).filter(|(_, byte)| *byte <= b'/').map(|(at, _)| &key[..at])
}

/// What a listing has shown so far, of one run of it: the last name in each of the orders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    bytes: Option<String>,
    directories: Option<String>,
}

impl Shown {
    /// A run that goes on behind `name`.
    pub(crate) fn behind(name: Option<String>) -> Self {
        Self { bytes: name.clone(), directories: name }
    }

    /// Takes the names of a page, which come in runs that are each in the origin's order, all of them behind those of the pages before.
    ///
    /// Gives the order they show: the one already `known`, unless they contradict it, which is an error; otherwise the one they are in, if they are
    /// not in both.
    pub(crate) fn take(&mut self, known: ListOrder, runs: &[Vec<&str>]) -> Result<ListOrder> {
        let is_behind = |last: &Option<String>, name: &str, order: fn(&str, &str) -> Ordering| {
            last.as_ref().is_none_or(|last| order(last, name) == Ordering::Less)
        };
        let is_in = |last: &Option<String>, order: fn(&str, &str) -> Ordering| {
            let is_ascending = |run: &Vec<&str>| run.is_sorted_by(|left, right| order(left, right) == Ordering::Less);
            runs.iter().all(|run| is_ascending(run) && run.first().is_none_or(|first| is_behind(last, first, order)))
        };
        let found = match (is_in(&self.bytes, by_bytes), is_in(&self.directories, by_directory)) {
            (true, true) => known,
            (true, false) => ListOrder::Bytes,
            (false, true) => ListOrder::Directories,
            (false, false) => return Err(out_of_order()),
        };
        if known != ListOrder::Unknown && found != known {
            return Err(out_of_order());
        }
        let last = |order: fn(&str, &str) -> Ordering| {
            runs.iter().filter_map(|run| run.last()).copied().max_by(|left, right| order(left, right)).map(str::to_owned)
        };
        (self.bytes, self.directories) = (last(by_bytes).or(self.bytes.take()), last(by_directory).or(self.directories.take()));
        Ok(found)
    }
}

/// Compares in the order of bytes.
fn by_bytes(left: &str, right: &str) -> Ordering {
    left.as_bytes().cmp(right.as_bytes())
}

/// Two listings can be merged page by page only when the order of both is known; anything else would leave keys out.
pub(crate) fn out_of_order() -> Error {
    Error::new(ErrorKind::OriginUnavailable, "the origin lists its keys out of order, so they cannot be merged with those here")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Shown, by_directory, end_of_directory, end_of_neighbours, is_in_directory, is_neighbour, names_around, names_before};
    use crate::origin::ListOrder;

    fn key() -> impl Strategy<Value = String> {
        "[ab!./0\u{1f600}]{1,6}"
    }

    proptest! {
        #[test]
        fn a_directory_comes_directly_behind_its_name(keys in proptest::collection::vec(key(), 0..40), name in key()) {
            let mut keys = keys;
            keys.sort_by(|left, right| by_directory(left, right));
            // What a store of directories does: each level by its names, and what is below a name behind it.
            prop_assert!(keys.is_sorted_by_key(|key| key.split('/').map(str::to_owned).collect::<Vec<_>>()), "{:?}", keys);
            let rank = |key: &String| match key {
                key if *key == name => 1,
                key if is_in_directory(&name, key) => 2,
                key if is_neighbour(&name, key) => 3,
                _ => 0,
            };
            let ranks: Vec<_> = keys.iter().map(rank).filter(|rank| *rank > 0).collect();
            prop_assert!(ranks.is_sorted(), "{:?} of {:?}", ranks, keys);
            for key in &keys {
                if is_in_directory(&name, key) {
                    prop_assert!(*key < end_of_directory(&name) && by_directory(key, &end_of_directory(&name)).is_lt());
                }
                if is_neighbour(&name, key) {
                    prop_assert!(*key < end_of_neighbours(&name) && by_directory(key, &end_of_neighbours(&name)).is_lt());
                    prop_assert!(names_before(key, 0).any(|found| found == name));
                }
                prop_assert_eq!(names_around(key, 0).any(|found| found == name), is_in_directory(&name, key) || is_neighbour(&name, key));
            }
        }
    }

    #[test]
    fn an_order_is_known_by_what_only_it_allows() {
        let take = |known, after: Option<&str>, run: &[&str]| Shown::behind(after.map(str::to_owned)).take(known, &[run.to_vec()]).ok();
        assert_eq!(take(ListOrder::Unknown, None, &["a", "a/b", "b"]), Some(ListOrder::Unknown));
        assert_eq!(take(ListOrder::Unknown, None, &["a/b", "a-c"]), Some(ListOrder::Directories));
        assert_eq!(take(ListOrder::Unknown, None, &["a-c", "a/b"]), Some(ListOrder::Bytes));
        assert_eq!(take(ListOrder::Unknown, Some("a/b"), &["a-c"]), Some(ListOrder::Directories));
        assert_eq!(take(ListOrder::Unknown, Some("a-c"), &["a/b"]), Some(ListOrder::Bytes));
        for wrong in [&["b", "a"][..], &["a", "a"]] {
            assert_eq!(take(ListOrder::Unknown, None, wrong), None, "{wrong:?}");
        }
        assert_eq!(take(ListOrder::Directories, None, &["a-c", "a/b"]), None);
        assert_eq!(take(ListOrder::Bytes, None, &["a/b", "a-c"]), None);
        assert_eq!(take(ListOrder::Bytes, Some("b"), &["a"]), None);
    }
}
