//! Both sides of a bucket in key order, one page at a time.
//!
//! A page holds every key of which either side knows something, up to the last key that all of what was read reaches. It begins behind any
//! key, so one name is the cursor of both sides, and nothing is kept between two pages.

use std::collections::BTreeMap;

use umbra_core::{Error, ErrorKind, ObjectKey, Result};
use umbra_meta::{KeyRange, Projection, key};
use umbra_store::{Bucket, ListedObject};

use crate::{
    Shadow,
    list_order::out_of_order,
    origin::{Origin, OriginList, OriginPage, ShadowPath},
};

/// A page of keys that are here, at the origin, or known to be gone.
#[derive(Debug)]
pub(crate) struct BothPage {
    /// The keys in byte order, each with what the origin lists of it.
    pub(crate) keys: Vec<(ObjectKey, Option<ListedObject>)>,
    /// Behind which key the next page begins; `None` on the last.
    pub(crate) next: Option<String>,
}

/// What one source knows, in order of its keys.
struct Source {
    keys: Vec<(ObjectKey, Option<ListedObject>)>,
    more: bool,
}

/// The union of the sources as far as every one of them reaches.
fn merge(sources: Vec<Source>) -> BothPage {
    let last_of = |source: &Source| source.keys.last().map(|(key, _)| key.clone());
    let horizon = sources.iter().filter(|source| source.more).filter_map(last_of).min();
    let mut union: BTreeMap<ObjectKey, Option<ListedObject>> = BTreeMap::new();
    for (key, listed) in sources.into_iter().flat_map(|source| source.keys) {
        if horizon.as_ref().is_none_or(|horizon| key <= *horizon) {
            let known = union.entry(key).or_default();
            *known = known.take().or(listed);
        }
    }
    BothPage { keys: union.into_iter().collect(), next: horizon.map(|key| key.as_str().to_owned()) }
}

/// A family of rows, one per key.
type Family = (fn(&str) -> KeyRange, fn(&str) -> Vec<u8>, fn(&[u8]) -> Option<&str>);

const FAMILIES: [Family; 3] = [
    (key::object_range, key::object_prefix, key::parse_object),
    (key::tombstone_range, key::tombstone_prefix, key::parse_tombstone),
    (key::write_intent_range, key::write_intent_prefix, key::parse_write_intent),
];

impl Shadow {
    /// The page of at most `limit` keys of each source that begins behind `after`.
    pub(crate) async fn both_sides(
        &self,
        bucket: &Bucket,
        origin: &dyn Origin,
        path: &ShadowPath,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<BothPage> {
        let mut sources = vec![at_origin(origin, path, prefix, after, limit).await?];
        for family in FAMILIES {
            sources.push(self.rows_here(bucket, family, prefix, after, limit).await?);
        }
        Ok(merge(sources))
    }

    async fn rows_here(
        &self,
        bucket: &Bucket,
        (range, place, parse): Family,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Source> {
        let range = match after {
            Some(after) => range(prefix).after(&place(after)),
            None => range(prefix),
        };
        if range.end.as_ref().is_some_and(|end| range.start >= *end) {
            return Ok(Source { keys: vec![], more: false });
        }
        let rows = self.native().meta().scan(bucket.partition, range, limit, Projection::Head).await?;
        let foreign = || Error::new(ErrorKind::Corrupt, "a row does not name a key");
        let key = |row: &umbra_meta::Entry| Ok((ObjectKey::parse(parse(&row.key).ok_or_else(foreign)?)?, None));
        Ok(Source { more: rows.len() == limit, keys: rows.iter().map(key).collect::<Result<_>>()? })
    }
}

async fn at_origin(origin: &dyn Origin, path: &ShadowPath, prefix: &str, after: Option<&str>, limit: usize) -> Result<Source> {
    let mut list = OriginList { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit, ..OriginList::default() };
    loop {
        let OriginPage { mut objects, next, .. } = origin.list(path, &list).await?;
        // Told to go on behind a key, an origin may show it once more. Anything else before it is out of order.
        let is_behind = |object: &ListedObject| after.is_none_or(|after| object.key.as_bytes() > after.as_bytes());
        let is_repeated = |object: &ListedObject| after.is_some_and(|after| object.key.as_str() == after);
        let is_sorted = objects.is_sorted_by(|left, right| left.key < right.key);
        if !is_sorted || objects.iter().any(|object| !is_behind(object) && !is_repeated(object)) {
            return Err(out_of_order());
        }
        objects.retain(is_behind);
        if !objects.is_empty() || next.is_none() {
            let keys = objects.into_iter().map(|object| (object.key.clone(), Some(object))).collect();
            return Ok(Source { keys, more: next.is_some() });
        }
        if next == list.token {
            return Err(Error::new(ErrorKind::OriginUnavailable, "the origin's listing does not advance"));
        }
        list.token = next;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use umbra_core::{ETag, ObjectKey, Timestamp};
    use umbra_store::ListedObject;

    use super::{Source, merge};

    /// One page of a side: its first `limit` keys behind `after`.
    fn source(side: &BTreeSet<String>, after: &str, limit: usize, listed: bool) -> Source {
        let behind: Vec<_> = side.iter().filter(|key| key.as_bytes() > after.as_bytes()).collect();
        let object = |key: &ObjectKey| ListedObject {
            key: key.clone(),
            size: 1,
            etag: ETag::parse("e"),
            last_modified: Timestamp::default(),
            storage_class: None,
        };
        let keys = behind.iter().take(limit).map(|key| ObjectKey::parse(key).unwrap());
        Source { keys: keys.map(|key| (key.clone(), listed.then(|| object(&key)))).collect(), more: behind.len() > limit }
    }

    proptest! {
        #[test]
        fn pages_make_up_the_union(
            origin in proptest::collection::btree_set("[ab\u{e000}\u{10000}]{1,3}", 0..30),
            local in proptest::collection::btree_set("[ab\u{e000}\u{10000}]{1,3}", 0..30),
            gone in proptest::collection::btree_set("[ab\u{e000}\u{10000}]{1,3}", 0..10),
            limit in 1_usize..8,
        ) {
            let (mut after, mut seen) = (String::new(), vec![]);
            loop {
                let page = merge(vec![source(&origin, &after, limit, true), source(&local, &after, limit, false), source(&gone, &after, limit, false)]);
                seen.extend(page.keys.into_iter().map(|(key, listed)| (key.as_str().to_owned(), listed.is_some())));
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            let all: BTreeSet<_> = origin.union(&local).chain(&gone).cloned().collect();
            let expected: Vec<_> = all.into_iter().map(|key| (key.clone(), origin.contains(&key))).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
