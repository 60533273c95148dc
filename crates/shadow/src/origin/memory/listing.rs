//! How the origin in memory lists: in either order, in pages of any length, and with the ways of real stores.

use std::{cmp::Ordering, collections::BTreeMap};

use umbra_core::{ObjectInfo, ObjectKey};
use umbra_store::ListedObject;

use super::Held;
use crate::{
    list_order::{by_directory, is_in_directory},
    origin::{ListOrder, OriginError, OriginList, OriginPage, Result},
};

/// The ways of a store with its listings.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// The order it lists in.
    pub actual: ListOrder,
    /// What it says of that beforehand.
    pub known: ListOrder,
    /// Whether it passes over the directory of the name it is told to begin behind.
    pub passes_over: bool,
    /// The most entries of a page, whatever is asked for.
    pub page_max: usize,
}

impl Default for Listing {
    fn default() -> Self {
        Self { actual: ListOrder::Bytes, known: ListOrder::Unknown, passes_over: false, page_max: usize::MAX }
    }
}

impl Listing {
    fn compare(&self, left: &str, right: &str) -> Ordering {
        if self.actual == ListOrder::Directories { by_directory(left, right) } else { left.cmp(right) }
    }

    /// A page of `objects`.
    pub(super) fn page(&self, objects: &BTreeMap<String, Held>, list: &OriginList) -> Result<OriginPage> {
        let after = list.token.clone().or_else(|| list.after.clone()).unwrap_or_default();
        let is_behind = |name: &str| self.compare(name, &after) == Ordering::Greater;
        let is_passed_over = |key: &str| self.passes_over && list.token.is_none() && !after.is_empty() && is_in_directory(&after, key);
        let mut found: Vec<(&String, &Held)> =
            objects.iter().filter(|(key, _)| key.starts_with(&list.prefix) && is_behind(key) && !is_passed_over(key)).collect();
        found.sort_by(|(left, _), (right, _)| self.compare(left, right));
        let mut page = OriginPage::default();
        let mut last = String::new();
        for (key, held) in found {
            let rest = &key[list.prefix.len()..];
            let cut = Some(&list.delimiter)
                .filter(|delimiter| !delimiter.is_empty())
                .and_then(|delimiter| Some(rest.find(delimiter.as_str())? + delimiter.len()));
            let name = cut.map_or(key.as_str(), |cut| &key[..list.prefix.len() + cut]);
            if page.common_prefixes.last().is_some_and(|prefix| prefix == name) || (cut.is_some() && !is_behind(name)) {
                last.clone_from(key);
                continue;
            }
            if page.objects.len() + page.common_prefixes.len() == list.limit.min(self.page_max) {
                page.next = Some(last);
                break;
            }
            if cut.is_some() {
                page.common_prefixes.push(name.to_owned());
            } else {
                let key = ObjectKey::parse(key).map_err(OriginError::certain)?;
                let ObjectInfo { size, etag, last_modified, .. } = held.info.clone();
                page.objects.push(ListedObject { key, size, etag, last_modified, storage_class: None });
            }
            last.clone_from(key);
        }
        Ok(page)
    }
}
