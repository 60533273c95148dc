//! Both sides of a bucket in key order, one page at a time.
//!
//! A page holds every key of which either side knows something, up to the last key that all of what was read reaches. It begins behind any
//! key, so one name is the cursor of both sides. What the origin listed beyond is kept for the next page and may be lost: it is listed anew.

use std::collections::{BTreeMap, VecDeque};

use futures::{StreamExt, future, stream};
use umbra_core::{Error, ErrorKind, ObjectKey, Result};
use umbra_meta::{KeyRange, Projection, key};
use umbra_store::{Bucket, ListedObject};

use crate::{
    Shadow,
    list_merge::Item,
    list_origin::{OriginItems, Parked},
    origin::{Origin, ShadowPath},
    slice::Slice,
};

/// Rows of each family read at once: as many keys as an origin lists at most.
const PAGE: usize = 1000;

/// A page of keys that are here, at the origin, or known to be gone.
#[derive(Debug)]
pub(crate) struct BothPage {
    /// The keys in byte order, each with what the origin lists of it.
    pub(crate) keys: Vec<(ObjectKey, Option<ListedObject>)>,
    /// Behind which key the next page begins; `None` on the last.
    pub(crate) next: Option<String>,
}

impl BothPage {
    /// Has `work` done on each key, `parallel` at once, on as many as the slice of time allows and on one at least; hands what comes of them to
    /// `take`, in the order of the keys. Gives the key behind which the next page begins; `None` when that was the last.
    pub(crate) async fn work_through<T, W>(
        self,
        parallel: usize,
        slice: &Slice<'_>,
        work: impl FnMut((ObjectKey, Option<ListedObject>)) -> W,
        mut take: impl FnMut(ObjectKey, T) -> Result<()>,
    ) -> Result<Option<String>>
    where
        W: Future<Output = (ObjectKey, T)>,
    {
        let (mut begun, count) = (0_usize, self.keys.len());
        let keys = stream::iter(self.keys).take_while(|_| {
            let goes_on = begun == 0 || !slice.is_over();
            begun += usize::from(goes_on);
            future::ready(goes_on)
        });
        let mut worked = keys.map(work).buffered(parallel);
        let (mut ended, mut last) = (0, None);
        while let Some((key, outcome)) = worked.next().await {
            (ended, last) = (ended + 1, Some(key.as_str().to_owned()));
            take(key, outcome)?;
        }
        Ok(if ended == count { self.next } else { last })
    }
}

/// What the origin lists, as far as it was read: at most one page of its own.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Option<Listed>);

#[derive(Debug)]
struct Listed {
    /// Everything behind this key is still in `keys` or to come.
    after: Option<String>,
    keys: VecDeque<ListedObject>,
    /// How the listing goes on; `None` at its end.
    parked: Option<Parked>,
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
    /// The page of at most [`PAGE`] keys of each source that begins behind `after`. `ahead` is that of the pages before, if any.
    pub(crate) async fn both_sides(
        &self,
        bucket: &Bucket,
        origin: &dyn Origin,
        path: &ShadowPath,
        prefix: &str,
        after: Option<&str>,
        ahead: &mut Ahead,
    ) -> Result<BothPage> {
        let mut sources = vec![at_origin(origin, path, prefix, after, ahead).await?];
        for family in FAMILIES {
            sources.push(self.rows_here(bucket, family, prefix, after).await?);
        }
        Ok(merge(sources))
    }

    async fn rows_here(&self, bucket: &Bucket, (range, place, parse): Family, prefix: &str, after: Option<&str>) -> Result<Source> {
        let range = match after {
            Some(after) => range(prefix).after(&place(after)),
            None => range(prefix),
        };
        if range.end.as_ref().is_some_and(|end| range.start >= *end) {
            return Ok(Source { keys: vec![], more: false });
        }
        let rows = self.native().meta().scan(bucket.partition, range, PAGE, Projection::Head).await?;
        let foreign = || Error::new(ErrorKind::Corrupt, "a row does not name a key");
        let key = |row: &umbra_meta::Entry| Ok((ObjectKey::parse(parse(&row.key).ok_or_else(foreign)?)?, None));
        Ok(Source { more: rows.len() == PAGE, keys: rows.iter().map(key).collect::<Result<_>>()? })
    }
}

async fn at_origin(origin: &dyn Origin, path: &ShadowPath, prefix: &str, after: Option<&str>, ahead: &mut Ahead) -> Result<Source> {
    let is_behind = |object: &ListedObject| after.is_none_or(|after| object.key.as_str() > after);
    let begin = || Listed {
        after: after.map(str::to_owned),
        keys: VecDeque::new(),
        parked: Some(OriginItems::new(origin, path, prefix, "", after.map(str::to_owned)).park()),
    };
    // Taken out, so that after a failure it is begun anew.
    let mut listed = ahead.0.take().filter(|listed| listed.after.as_deref() <= after).unwrap_or_else(begin);
    listed.after = after.map(str::to_owned);
    listed.keys.retain(is_behind);
    while listed.keys.is_empty()
        && let Some(parked) = listed.parked.take()
    {
        let mut items = OriginItems::resume(origin, path, parked);
        if let Some(found) = items.next().await? {
            let object = |item| if let Item::Object(object) = item { Some(object) } else { None };
            listed.keys = found.into_iter().filter_map(object).filter(is_behind).collect();
            listed.parked = Some(items.park());
        }
    }
    let keys = listed.keys.iter().map(|object| (object.key.clone(), Some(object.clone()))).collect();
    let source = Source { keys, more: listed.parked.is_some() };
    ahead.0 = Some(listed);
    Ok(source)
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
