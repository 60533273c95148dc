//! One level of an origin that lists by directories, in the order of bytes: keys up to the next `/`, and common prefixes.
//!
//! Here a directory is one item. It waits until its neighbours, which the origin lists behind it, have been shown; those that wait at one time are
//! neighbours of one another, so they are few.

use std::collections::VecDeque;

use umbra_core::Result;

use crate::{
    list_advance::{Advance, EMPTY_PAGES_FOR_ONE_MAX},
    list_merge::{Item, items},
    list_order::{Shown, by_directory, end_of_neighbours, is_in_directory, is_neighbour, names_before},
    list_walk::only_under,
    origin::{ListOrder, Origin, OriginList, ShadowPath},
};

/// What separates directories.
pub(crate) const DELIMITER: &str = "/";

/// A walk along a level.
#[derive(Debug)]
pub(crate) struct Level {
    prefix: String,
    after: Option<String>,
    token: Option<String>,
    limit: usize,
    waiting: Vec<Waiting>,
    shown: Shown,
    advance: Advance,
    is_read: bool,
    /// The last item shown, or the name to begin behind.
    cursor: Option<String>,
}

/// A directory that waits for its neighbours.
#[derive(Debug)]
struct Waiting {
    name: String,
    /// Whether the origin has shown it; otherwise it may be one that lies before where we began.
    is_seen: bool,
}

impl Level {
    /// A walk along the level of `prefix`, behind `after` in the order of bytes, `limit` items at a time.
    pub(crate) fn new(prefix: &str, after: Option<String>, limit: usize) -> Self {
        let is_over = after.as_ref().is_some_and(|after| after.as_str() > prefix && !after.starts_with(prefix));
        let within = after.clone().filter(|after| after.starts_with(prefix) && after != prefix);
        let mut waiting = Vec::new();
        if let Some(within) = &within {
            let end = within[prefix.len()..].find(DELIMITER).map_or(within.len(), |at| prefix.len() + at);
            let itself = (end == within.len()).then_some(within.as_str());
            let names = names_before(&within[..end], prefix.len()).chain(itself);
            waiting.extend(names.map(|name| Waiting { name: name.to_owned(), is_seen: false }));
        }
        let shown = Shown::behind(within.clone());
        Self {
            prefix: prefix.to_owned(),
            after: within,
            token: None,
            limit,
            waiting,
            shown,
            advance: Advance::default(),
            is_read: is_over,
            cursor: after,
        }
    }

    /// The last item shown.
    pub(crate) const fn cursor(&self) -> Option<&String> {
        self.cursor.as_ref()
    }

    /// The next items in the order of bytes; `None` when the origin turned out to list so itself.
    pub(crate) async fn step(&mut self, origin: &dyn Origin, path: &ShadowPath) -> Result<Option<Vec<Item>>> {
        let Some(page) = self.read(origin, path).await? else { return Ok(None) };
        let last = page.back().map(|item| item.name().to_owned());
        let mut found = Vec::new();
        for item in page {
            let name = item.name();
            if let Some(top) = self.waiting.last_mut()
                && name.strip_suffix(DELIMITER) == Some(&top.name)
            {
                top.is_seen = true;
                continue;
            }
            while let Some(top) = self.waiting.pop_if(|top| !is_neighbour(&top.name, name)) {
                found.extend(self.shown_now(top, origin, path).await?);
            }
            match item {
                Item::Prefix(prefix) => {
                    let name = prefix.strip_suffix(DELIMITER).unwrap_or(&prefix).to_owned();
                    self.waiting.push(Waiting { name, is_seen: true });
                }
                object => found.push(object),
            }
        }
        if self.is_read {
            while let Some(top) = self.waiting.pop() {
                found.extend(self.shown_now(top, origin, path).await?);
            }
        }
        let cursor = self.cursor.as_deref();
        found.retain(|item| cursor.is_none_or(|cursor| item.name() > cursor));
        if let (Some(last), Some(cursor), true) = (&last, cursor, found.is_empty()) {
            // Among neighbours of the directory we are behind, all of which come before it.
            let begun = cursor[..cursor.len().min(last.len())].bytes().zip(last.bytes()).take_while(|(left, right)| left == right).count();
            let name = cursor.get(..begun).filter(|name| is_in_directory(name, cursor) && is_neighbour(name, last));
            if let Some(end) = name.map(end_of_neighbours) {
                self.shown = Shown::behind(Some(end.clone()));
                (self.after, self.token) = (Some(end), None);
            }
        }
        self.cursor = found.last().map(|item| item.name().to_owned()).or(self.cursor.take());
        Ok(Some(found))
    }

    /// Whether there are no more.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_read && self.waiting.is_empty()
    }

    /// Reads the next page, in the order of directories.
    async fn read(&mut self, origin: &dyn Origin, path: &ShadowPath) -> Result<Option<VecDeque<Item>>> {
        if self.is_read {
            return Ok(Some(VecDeque::new()));
        }
        let list = OriginList {
            prefix: self.prefix.clone(),
            delimiter: DELIMITER.to_owned(),
            after: self.after.clone(),
            token: self.token.take(),
            limit: self.limit,
        };
        let mut page = origin.list(path, &list).await?;
        // Told to go on behind a name, an origin may show it once more, or the common prefix that it lies in.
        let after = list.after.filter(|_| list.token.is_none()).unwrap_or_default();
        page.objects.retain(|object| object.key.as_str() != after);
        page.common_prefixes.retain(|prefix| !after.starts_with(prefix.as_str()));
        let keys = page.objects.iter().map(|object| object.key.as_str()).collect();
        let prefixes = page.common_prefixes.iter().map(String::as_str).collect();
        let known = origin.order();
        let order = self.shown.take(known, &[keys, prefixes])?;
        if order != known {
            origin.learn_order(order);
        }
        if order == ListOrder::Bytes {
            return Ok(None);
        }
        self.advance.take(page.objects.is_empty() && page.common_prefixes.is_empty(), page.next.as_deref())?;
        self.is_read = page.next.is_none();
        self.token = page.next;
        let mut page = Vec::from(items(page.objects, page.common_prefixes));
        page.sort_by(|left, right| by_directory(left.name(), right.name()));
        Ok(Some(page.into()))
    }

    /// The item of a directory that has waited; `None` if it does not exist.
    async fn shown_now(&self, waiting: Waiting, origin: &dyn Origin, path: &ShadowPath) -> Result<Option<Item>> {
        let prefix = format!("{}{DELIMITER}", waiting.name);
        let mut list = OriginList { prefix: prefix.clone(), limit: 1, ..OriginList::default() };
        if waiting.is_seen {
            return Ok(Some(Item::Prefix(prefix)));
        }
        let mut advance = Advance::new(EMPTY_PAGES_FOR_ONE_MAX);
        loop {
            let mut page = origin.list(path, &list).await?;
            only_under(&prefix, &mut page)?;
            advance.take(page.objects.is_empty(), page.next.as_deref())?;
            match page.next {
                _ if !page.objects.is_empty() => return Ok(Some(Item::Prefix(prefix))),
                Some(token) => list.token = Some(token),
                None => return Ok(None),
            }
        }
    }
}
