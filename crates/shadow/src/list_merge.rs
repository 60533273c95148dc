//! The merge of two listings into one: pure.

use std::{cmp::Ordering, collections::VecDeque};

use umbra_store::{ListSource, ListedObject};

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Object(ListedObject),
    Prefix(String),
}

impl Item {
    /// What orders it: UTF-8 bytes, as S3 has it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Object(object) => object.key.as_str(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// Objects and common prefixes of one page, in order.
pub(crate) fn items(objects: Vec<ListedObject>, prefixes: Vec<String>) -> VecDeque<Item> {
    let mut items: Vec<Item> = objects.into_iter().map(Item::Object).chain(prefixes.into_iter().map(Item::Prefix)).collect();
    items.sort_by(|left, right| left.name().as_bytes().cmp(right.name().as_bytes()));
    items.into()
}

/// Takes the next item of two ordered sides, each of which is not empty unless it has ended, and tells whose it is. Where both have it, the
/// local one wins.
pub(crate) fn next(local: &mut VecDeque<Item>, origin: &mut VecDeque<Item>) -> Option<(ListSource, Item)> {
    let order = match (local.front(), origin.front()) {
        (Some(ours), Some(theirs)) => ours.name().as_bytes().cmp(theirs.name().as_bytes()),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => return None,
    };
    if order == Ordering::Greater {
        return Some((ListSource::Origin, origin.pop_front()?));
    }
    if order == Ordering::Equal {
        origin.pop_front();
    }
    Some((ListSource::Local, local.pop_front()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use umbra_core::{ETag, ObjectKey, Timestamp};
    use umbra_store::ListedObject;

    use super::{Item, items, next};

    fn object(key: &str, size: u64) -> ListedObject {
        let key = ObjectKey::parse(key).unwrap();
        ListedObject { key, size, etag: ETag::parse("e"), last_modified: Timestamp::default(), storage_class: None }
    }

    proptest! {
        #[test]
        fn a_merge_is_the_ordered_union_and_local_wins(
            local in proptest::collection::btree_set("[a-c\u{e000}\u{10000}]{1,3}", 0..20),
            origin in proptest::collection::btree_set("[a-c\u{e000}\u{10000}]{1,3}", 0..20),
        ) {
            let side = |keys: &std::collections::BTreeSet<String>, size| items(keys.iter().map(|key| object(key, size)).collect(), vec![]);
            let (mut ours, mut theirs) = (side(&local, 1), side(&origin, 2));
            let mut expected: BTreeMap<&[u8], u64> = origin.iter().map(|key| (key.as_bytes(), 2)).collect();
            expected.extend(local.iter().map(|key| (key.as_bytes(), 1)));
            let mut merged = vec![];
            while let Some((_, Item::Object(object))) = next(&mut ours, &mut theirs) {
                merged.push((object.key.as_bytes().to_vec(), object.size));
            }
            prop_assert_eq!(merged, expected.into_iter().map(|(key, size)| (key.to_vec(), size)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_prefix_on_both_sides_counts_once() {
        let (mut ours, mut theirs) = (items(vec![], vec!["a/".into()]), items(vec![object("a", 1)], vec!["a/".into(), "b/".into()]));
        let names: Vec<_> = std::iter::from_fn(|| next(&mut ours, &mut theirs)).map(|(_, item)| item.name().to_owned()).collect();
        assert_eq!(names, ["a", "a/", "b/"]);
    }
}
