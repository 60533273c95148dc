//! A client that lists: every page tells of each key it covers whether it was there at some moment while the page was made.

use std::collections::BTreeMap;

use umbra_core::Result;
use umbra_store::{ListOptions, ListPage, ListSource, ListStart, Objects};

use crate::{client::Client, history::Outcome, life::Begun, reference::Seen};

/// One way to list.
struct Listing {
    prefix: &'static str,
    delimiter: &'static str,
    limit: usize,
}

impl Listing {
    /// The common prefix that `key` is rolled up into.
    fn rolled<'k>(&self, key: &'k str) -> Option<&'k str> {
        let rest = key.strip_prefix(self.prefix)?;
        let at = rest.find(self.delimiter).filter(|_| !self.delimiter.is_empty())?;
        Some(&key[..self.prefix.len() + at + self.delimiter.len()])
    }
}

impl Client {
    pub(crate) async fn list(&self) {
        let env = &self.life.world.env;
        let listing = Listing { prefix: ["", "", "b", "b/"][env.below(4)], delimiter: ["", "/"][env.below(2)], limit: 1 + env.below(8) };
        self.list_all(listing).await;
    }

    /// Lists everything, without and with a delimiter.
    pub(crate) async fn list_everything(&self) {
        self.list_all(Listing { prefix: "", delimiter: "", limit: 2 }).await;
        self.list_all(Listing { prefix: "", delimiter: "/", limit: 100 }).await;
    }

    async fn list_all(&self, listing: Listing) {
        let (mut start, mut after) = (ListStart::First, String::new());
        loop {
            let begun = self.begin_page(&listing, &after);
            match self.page(&listing, start).await {
                Ok(page) => {
                    self.judge_page(&listing, &after, &page, begun);
                    match (page.next, page.last) {
                        (Some(next), Some(last)) => (start, after) = (ListStart::Continue(next), last),
                        _ => return,
                    }
                }
                Err(error) => {
                    for begun in begun.into_values() {
                        self.life.world.fail(begun, None, &error);
                    }
                    return;
                }
            }
        }
    }

    async fn page(&self, listing: &Listing, start: ListStart) -> Result<ListPage> {
        let Listing { prefix, delimiter, limit } = listing;
        let (prefix, delimiter) = ((*prefix).to_owned(), (*delimiter).to_owned());
        let options = ListOptions { prefix, delimiter, start, limit: *limit, source: ListSource::Merged };
        self.life.shadow.list(&self.life.cx, &*self.life.bucket().await?, options).await
    }

    /// Begins an operation for each key that the page may tell of.
    fn begin_page(&self, listing: &Listing, after: &str) -> BTreeMap<String, Begun> {
        let world = &self.life.world;
        let what = format!("LIST {:?} {:?} behind {after:?}, {} at most", listing.prefix, listing.delimiter, listing.limit);
        let keys = world.env.dials.keys.iter().filter(|key| key.starts_with(listing.prefix) && key.as_str() > after);
        keys.map(|key| (key.clone(), world.begin(&self.name, key, what.clone(), None))).collect()
    }

    fn judge_page(&self, listing: &Listing, after: &str, page: &ListPage, begun: BTreeMap<String, Begun>) {
        let world = &self.life.world;
        let mut names: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        names.extend(page.common_prefixes.iter().map(String::as_str));
        names.sort_unstable();
        let is_sorted = page.objects.is_sorted_by(|left, right| left.key < right.key) && page.common_prefixes.is_sorted();
        let is_full = page.next.is_none() || names.len() == listing.limit;
        if !is_sorted || !is_full || names.len() > listing.limit || names.windows(2).any(|pair| pair[0] == pair[1]) {
            world.complain(names.first().copied().unwrap_or_default(), format!("a page that is out of order or not full: {names:?}"));
        }
        for name in &names {
            let known = begun.keys().any(|key| key == name || listing.rolled(key) == Some(*name));
            if !known || *name <= after {
                world.complain(name, format!("a listing behind {after:?} shows {name:?}, which nobody put there"));
            }
        }
        for (key, begun) in begun {
            let covered = page.next.is_none() || page.last.as_ref().is_some_and(|last| key <= *last);
            let (outcome, answer) = match page.objects.iter().find(|object| object.key.as_str() == key) {
                Some(object) => (Outcome::Saw(Seen::Listed(object.etag.clone(), object.size)), format!("listed, {}", object.etag)),
                None => match listing.rolled(&key) {
                    Some(prefix) if prefix <= after || page.common_prefixes.iter().any(|shown| shown == prefix) => {
                        (Outcome::Saw(Seen::Nothing), "within a common prefix".to_owned())
                    }
                    _ if covered => (Outcome::Saw(Seen::Absent), "not listed".to_owned()),
                    _ => (Outcome::Saw(Seen::Nothing), "not covered".to_owned()),
                },
            };
            world.end(begun, outcome, answer);
        }
    }
}
