//! The origin's side of a merged listing: its items in the order of bytes, whatever its own.

use std::collections::VecDeque;

use umbra_core::Result;
use umbra_store::ListedObject;

use crate::{
    list_advance::Advance,
    list_level::{self, Level},
    list_merge::{Item, items},
    list_order::{Shown, end_of},
    list_walk::{Step, Walk},
    origin::{ListOrder, Origin, OriginList, ShadowPath},
};

/// Keys asked of the origin at once: what S3 gives at most, so that a page costs the fewest requests.
pub(crate) const ORIGIN_PAGE: usize = 1000;

/// The items of one listing of an origin.
pub(crate) struct OriginItems<'a> {
    origin: &'a dyn Origin,
    path: &'a ShadowPath,
    prefix: String,
    delimiter: String,
    way: Way,
    /// What everything is to come behind.
    begin: Option<String>,
    limit: usize,
}

/// A listing between two of its pages, without what it is listed from.
#[derive(Debug)]
pub(crate) struct Parked {
    prefix: String,
    delimiter: String,
    way: Way,
    begin: Option<String>,
    limit: usize,
}

/// How the origin is listed.
#[derive(Debug)]
enum Way {
    /// As it lists: in the order of bytes.
    Pages { after: Option<String>, token: Option<String>, shown: Shown, advance: Advance },
    /// Key by key, by an origin that may list by directories.
    Walk(Walk),
    /// The same, rolled up here: such an origin knows one delimiter only.
    RolledUp(Walk),
    /// One level of it.
    Level(Level),
    /// There are no more.
    Over,
}

impl<'a> OriginItems<'a> {
    /// What the origin has under `prefix`, rolled up at `delimiter`, behind `after`.
    pub(crate) fn new(origin: &'a dyn Origin, path: &'a ShadowPath, prefix: &str, delimiter: &str, after: Option<String>) -> Self {
        let (prefix, delimiter) = (prefix.to_owned(), delimiter.to_owned());
        let mut items = Self { origin, path, prefix, delimiter, way: Way::Over, begin: after.clone(), limit: ORIGIN_PAGE };
        items.way = if origin.order() == ListOrder::Bytes { Self::pages(after) } else { items.carefully(after) };
        items
    }

    /// Goes on with a listing that was put aside.
    pub(crate) fn resume(origin: &'a dyn Origin, path: &'a ShadowPath, parked: Parked) -> Self {
        let Parked { prefix, delimiter, way, begin, limit } = parked;
        Self { origin, path, prefix, delimiter, way, begin, limit }
    }

    /// Puts the listing aside.
    pub(crate) fn park(self) -> Parked {
        let Self { prefix, delimiter, way, begin, limit, .. } = self;
        Parked { prefix, delimiter, way, begin, limit }
    }

    fn pages(after: Option<String>) -> Way {
        Way::Pages { shown: Shown::behind(after.clone()), after, token: None, advance: Advance::default() }
    }

    fn carefully(&self, after: Option<String>) -> Way {
        match self.delimiter.as_str() {
            "" => Way::Walk(Walk::new(&self.prefix, after, self.limit)),
            list_level::DELIMITER => Way::Level(Level::new(&self.prefix, after, self.limit)),
            _ => Way::RolledUp(Walk::new(&self.prefix, after, self.limit)),
        }
    }

    /// The next items, all behind those before; `None` behind the last.
    pub(crate) async fn next(&mut self) -> Result<Option<VecDeque<Item>>> {
        loop {
            let (found, cursor) = match &mut self.way {
                Way::Over => return Ok(None),
                Way::Pages { .. } => (Some(self.next_page().await?), None),
                Way::Walk(walk) | Way::RolledUp(walk) => match walk.step(self.origin, self.path).await? {
                    Step::Keys(keys) => (Some(keys.into_iter().map(Item::Object).collect()), None),
                    Step::InBytes => (None, walk.cursor().cloned()),
                    Step::End => {
                        self.way = Way::Over;
                        return Ok(None);
                    }
                },
                Way::Level(level) => match level.step(self.origin, self.path).await? {
                    Some(items) => (Some(items.into()), None),
                    None => (None, level.cursor().cloned()),
                },
            };
            let Some(found) = found else {
                self.way = Self::pages(cursor);
                continue;
            };
            if matches!(&self.way, Way::Level(level) if level.is_over()) {
                self.way = Way::Over;
            }
            return Ok(Some(if matches!(self.way, Way::RolledUp(_)) { self.roll_up(found) } else { found }));
        }
    }

    async fn next_page(&mut self) -> Result<VecDeque<Item>> {
        let Way::Pages { after, token, shown, advance } = &mut self.way else { return Ok(VecDeque::new()) };
        let list = OriginList {
            prefix: self.prefix.clone(),
            delimiter: self.delimiter.clone(),
            after: after.clone(),
            token: token.take(),
            limit: self.limit,
        };
        let mut page = self.origin.list(self.path, &list).await?;
        // Told to go on behind a name, an origin may show it once more, or the common prefix that it lies in.
        let repeated = after.clone().unwrap_or_default();
        page.objects.retain(|object| object.key.as_str() != repeated);
        page.common_prefixes.retain(|prefix| !repeated.starts_with(prefix.as_str()));
        let keys = page.objects.iter().map(|object| object.key.as_str()).collect();
        let prefixes = page.common_prefixes.iter().map(String::as_str).collect();
        shown.take(ListOrder::Bytes, &[keys, prefixes])?;
        let found = items(page.objects, page.common_prefixes);
        advance.take(found.is_empty(), page.next.as_deref())?;
        *after = found.back().map(|item| item.name().to_owned()).or(after.take());
        match page.next {
            Some(next) => *token = Some(next),
            None => self.way = Way::Over,
        }
        Ok(found)
    }

    /// Rolls keys up, and goes on behind the common prefix that they end in.
    fn roll_up(&mut self, found: VecDeque<Item>) -> VecDeque<Item> {
        let Way::RolledUp(walk) = &mut self.way else { return found };
        let mut rolled: VecDeque<Item> = VecDeque::new();
        for item in found {
            let Item::Object(ListedObject { key, .. }) = &item else { continue };
            let rest = &key.as_str()[self.prefix.len()..];
            match rest.find(&self.delimiter) {
                Some(at) => {
                    let prefix = &key.as_str()[..self.prefix.len() + at + self.delimiter.len()];
                    if rolled.back().is_none_or(|last| last.name() != prefix) {
                        rolled.push_back(Item::Prefix(prefix.to_owned()));
                    }
                }
                None => rolled.push_back(item),
            }
        }
        if let Some(Item::Prefix(prefix)) = rolled.back() {
            *walk = Walk::new(&self.prefix, Some(end_of(prefix.clone())), self.limit);
        }
        rolled.retain(|item| self.begin.as_deref().is_none_or(|begin| item.name() > begin));
        rolled
    }
}
