//! The two sides of a merged listing while a page of it is made.
//!
//! What is shown of a key was true at one moment since the page was asked for. Therefore what is half done is found out before the rows here are
//! read, and what is shown from the origin is held once more, at the end, against object and tombstone as of one moment: a key that was gone
//! when we looked for objects, and here when we looked for tombstones, was never cold.

use std::collections::{HashMap, HashSet, VecDeque};

use umbra_core::{Error, ErrorKind, ObjectKey, RequestContext, Result};
use umbra_meta::{Projection, key};
use umbra_store::{Bucket, ListOptions, ListPage, ListSource, ListStart, ListedObject, Objects};

use crate::{
    Shadow,
    list_merge::{Item, items, next},
    list_origin::{ORIGIN_PAGE, OriginItems},
    list_rows::Standing,
    origin::{Origin, OriginList, ShadowPath},
    shadow::writes_through,
    view::has_versions,
};

/// How many pages of the origin one page of ours may cost: a quarter of a million keys that are gone here.
const ORIGIN_PAGES_MAX: usize = 256;

/// What the origin alone has of keys, and newest.
type Newest = HashMap<ObjectKey, Option<ListedObject>>;

/// An item and whose it is.
pub(crate) type Shown = (ListSource, Item);

/// Our own items that are read but not yet shown, and where they go on.
struct Local {
    items: VecDeque<Item>,
    after: Option<String>,
    ended: bool,
}

/// Both sides while a page is made of them.
pub(crate) struct Sides<'a> {
    shadow: &'a Shadow,
    cx: &'a RequestContext,
    bucket: &'a Bucket,
    origin: &'a dyn Origin,
    path: &'a ShadowPath,
    options: &'a ListOptions,
    /// Whether there are half-done writes to look out for: almost never.
    is_careful: bool,
    /// Keys of which the origin alone has the newest, and what that is. Those among our own items are shown as one of these.
    unsettled: Newest,
    local: Local,
    theirs: OriginItems<'a>,
    /// What they have listed and was not held yet against what is gone here.
    their_unread: VecDeque<Item>,
    their_items: VecDeque<Item>,
    they_ended: bool,
    /// How many more pages of the origin this page of ours may cost.
    pages_left: usize,
    /// Whether it may cost no more, and that is not enough.
    is_spent: bool,
    /// The last name of the origin's that was held against what is gone here.
    looked_through: Option<String>,
}

impl<'a> Sides<'a> {
    /// Both sides behind `after`.
    pub(crate) async fn begin(
        shadow: &'a Shadow,
        cx: &'a RequestContext,
        bucket: &'a Bucket,
        origin: &'a dyn Origin,
        path: &'a ShadowPath,
        options: &'a ListOptions,
        after: Option<String>,
    ) -> Result<Self> {
        Ok(Self {
            shadow,
            cx,
            bucket,
            origin,
            path,
            options,
            is_careful: shadow.has_half_done(bucket, &options.prefix, after.as_deref()).await?,
            unsettled: HashMap::new(),
            local: Local { items: VecDeque::new(), after: after.clone(), ended: options.source == ListSource::Origin },
            theirs: OriginItems::new(origin, path, &options.prefix, &options.delimiter, after),
            their_unread: VecDeque::new(),
            their_items: VecDeque::new(),
            they_ended: false,
            pages_left: ORIGIN_PAGES_MAX,
            is_spent: false,
            looked_through: None,
        })
    }

    /// The next item of the merged listing, of which about `wanted` more are needed.
    pub(crate) async fn next(&mut self, wanted: usize) -> Result<Option<Shown>> {
        while self.local.items.is_empty() && !self.local.ended {
            self.read_local(wanted).await?;
        }
        while self.their_items.is_empty() && !self.they_ended && !self.is_spent {
            self.read_origin(wanted).await?;
        }
        if self.their_items.is_empty() && self.is_spent {
            // What the origin has behind that is not known.
            let is_certain = |item: &Item| self.looked_through.as_deref() >= Some(item.name());
            if !self.local.items.front().is_some_and(is_certain) {
                return Ok(None);
            }
        }
        Ok(next(&mut self.local.items, &mut self.their_items))
    }

    /// Where to go on, when the origin had so many keys that are gone here, or pages with none, that the listing stopped short.
    pub(crate) fn stopped_short(&self) -> Result<Option<&String>> {
        let nowhere = || {
            let message = "the origin lists too much that is gone here, or too many pages with nothing on them, to tell what comes next";
            Error::new(ErrorKind::OriginUnavailable, message)
        };
        if self.is_spent { self.looked_through.as_ref().ok_or_else(nowhere).map(Some) } else { Ok(None) }
    }

    /// Makes of those items of `page` behind the first `checked` that are the origin's what they are by now.
    pub(crate) async fn settle(&self, page: &mut Vec<Shown>, checked: usize) -> Result<()> {
        if self.options.source == ListSource::Origin {
            return Ok(());
        }
        let cold = |(source, item): &Shown| match item {
            Item::Object(object) if *source == ListSource::Origin && !self.unsettled.contains_key(&object.key) => Some(object.key.clone()),
            _ => None,
        };
        let keys: Vec<_> = page[checked..].iter().filter_map(cold).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let mut standings = self.shadow.standing(self.bucket, &keys.iter().collect::<Vec<_>>()).await?.into_iter();
        for shown in page.split_off(checked) {
            match cold(&shown).and_then(|_| standings.next()) {
                None | Some(Standing::Cold) => page.push(shown),
                Some(Standing::Here(object)) => page.push((ListSource::Local, Item::Object(object))),
                Some(Standing::Gone) => {}
            }
        }
        Ok(())
    }

    /// Adds to `page` what is here and both looks missed: brought here after our own side was read, and being deleted at the origin when that was.
    /// Such a key has an intent, or is gone by now.
    pub(crate) async fn add_missed(&self, page: &mut Vec<Shown>, after: Option<&str>) -> Result<()> {
        if self.options.source == ListSource::Origin || !writes_through(self.bucket) {
            return Ok(());
        }
        let end = page.last().map(|(_, item)| item.name().to_owned()).filter(|_| page.len() > self.options.limit || self.is_spent);
        let end = end.or_else(|| self.looked_through.clone().filter(|_| self.is_spent));
        let shown: HashSet<&str> = page.iter().map(|(_, item)| item.name()).collect();
        let is_missed = |key: &ObjectKey| end.as_deref().is_none_or(|end| key.as_str() <= end) && !shown.contains(key.as_str());
        let written = self.shadow.keys_being_written(self.bucket, &self.options.prefix, after).await?;
        let missed: Vec<_> = written.into_iter().filter(|key| is_missed(key) && !self.unsettled.contains_key(key)).collect();
        if missed.is_empty() {
            return Ok(());
        }
        let standings = self.shadow.standing(self.bucket, &missed.iter().collect::<Vec<_>>()).await?;
        for standing in standings {
            if let Standing::Here(object) = standing {
                let item = self.rolled(object);
                let is_behind = after.is_none_or(|after| item.name() > after);
                if is_behind && let Err(at) = page.binary_search_by(|(_, shown)| shown.name().as_bytes().cmp(item.name().as_bytes())) {
                    page.insert(at, (ListSource::Local, item));
                }
            }
        }
        Ok(())
    }

    /// What a listing shows of an object: the common prefix it lies in, where it does.
    fn rolled(&self, object: ListedObject) -> Item {
        let ListOptions { prefix, delimiter, .. } = self.options;
        let rest = object.key.as_str().strip_prefix(prefix.as_str()).unwrap_or_default();
        match rest.find(delimiter.as_str()).filter(|_| !delimiter.is_empty()) {
            Some(at) => Item::Prefix(object.key.as_str()[..prefix.len() + at + delimiter.len()].to_owned()),
            None => Item::Object(object),
        }
    }

    async fn read_local(&mut self, wanted: usize) -> Result<()> {
        let mut page = self.list_local(wanted).await?;
        if self.is_careful {
            let keys: Vec<_> = page.objects.iter().map(|object| &object.key).collect();
            let half_done = self.shadow.half_done_among(self.bucket, &keys).await?;
            let unsettled = self.shadow.unsettled(self.cx, self.bucket, half_done, self.origin).await?;
            // Read again, since one that was half done at first may have been settled before it was judged. What is new among it was written
            // meanwhile, and what lies beyond was not judged.
            let (judged, is_all) = (page.last.take(), page.next.is_none());
            page = self.list_local(wanted).await?;
            let is_beyond = |name: &str| !is_all && judged.as_deref().is_none_or(|judged| name > judged);
            if page.last.as_deref().is_some_and(is_beyond) {
                (page.last, page.next) = (judged.clone(), judged.clone());
                page.objects.retain(|object| !is_beyond(object.key.as_str()));
                page.common_prefixes.retain(|prefix| !is_beyond(prefix));
            }
            page.objects.retain(|object| !unsettled.contains_key(&object.key));
            let end = page.last.as_deref().filter(|_| page.next.is_some());
            for (key, newest) in unsettled.into_iter().filter(|(key, _)| end.is_none_or(|end| key.as_str() <= end)) {
                page.objects.extend(newest.clone());
                self.unsettled.insert(key, newest);
            }
        }
        self.local.ended = page.next.is_none();
        self.local.after = page.last.or(self.local.after.take());
        self.local.items = items(page.objects, page.common_prefixes);
        Ok(())
    }

    async fn list_local(&self, wanted: usize) -> Result<ListPage> {
        let start = self.local.after.clone().map_or(ListStart::First, ListStart::After);
        let options = ListOptions { start, limit: wanted, source: ListSource::Local, ..self.options.clone() };
        self.shadow.native().list(self.cx, self.bucket, options).await
    }

    async fn read_origin(&mut self, wanted: usize) -> Result<()> {
        if self.their_unread.is_empty() {
            if !self.may_ask() {
                return Ok(());
            }
            match self.theirs.next().await? {
                Some(found) => self.their_unread = found,
                None => self.they_ended = true,
            }
        }
        // No more than is wanted, where each may cost a request.
        let count = if self.is_careful { wanted.min(self.their_unread.len()) } else { self.their_unread.len() };
        let found = self.their_unread.drain(..count).collect();
        self.their_items = self.visible(found).await?;
        Ok(())
    }

    /// Whether the origin may be asked for one more page.
    fn may_ask(&mut self) -> bool {
        self.is_spent = self.pages_left == 0;
        self.pages_left = self.pages_left.saturating_sub(1);
        !self.is_spent
    }

    /// Leaves out what is gone here, and all behind a common prefix of which that cannot be told.
    async fn visible(&mut self, mut found: VecDeque<Item>) -> Result<VecDeque<Item>> {
        let mut gone = HashSet::new();
        for at in 0..found.len() {
            let Item::Prefix(prefix) = &found[at] else { continue };
            match self.is_prefix_gone(prefix).await? {
                Some(true) => drop(gone.insert(prefix.clone())),
                Some(false) => {}
                None => {
                    found.truncate(at);
                    break;
                }
            }
        }
        self.looked_through = found.back().map(|item| item.name().to_owned()).or(self.looked_through.take());
        // What our own side tells of a key counts.
        found.retain(|item| !matches!(item, Item::Object(object) if self.unsettled.contains_key(&object.key)));
        let keys: Vec<_> = found.iter().filter_map(|item| if let Item::Object(object) = item { Some(&object.key) } else { None }).collect();
        let (keys_gone, unsettled) = self.gone_among(&keys, self.is_careful).await?;
        gone.extend(keys_gone.into_iter().map(|key| key.as_str().to_owned()));
        found.retain(|item| !gone.contains(item.name()));
        for item in &mut found {
            if let Item::Object(object) = item
                && let Some(Some(newest)) = unsettled.get(&object.key)
            {
                *object = newest.clone();
            }
        }
        self.unsettled.extend(unsettled);
        Ok(found)
    }

    /// Which of `keys`, which the origin lists, are gone here, and which are not though a tombstone says so, because a half-done put is the newest.
    async fn gone_among<'k>(&self, keys: &[&'k ObjectKey], is_careful: bool) -> Result<(HashSet<&'k ObjectKey>, Newest)> {
        let half_done = if is_careful { self.shadow.half_done_among(self.bucket, keys).await? } else { HashSet::new() };
        let mut gone = self.shadow.hidden(self.bucket, keys).await?;
        let doubtful: Vec<_> = gone.extract_if(|key| half_done.contains(*key)).collect();
        if doubtful.is_empty() {
            return Ok((gone, HashMap::new()));
        }
        let unsettled = self.shadow.unsettled(self.cx, self.bucket, doubtful.iter().copied().cloned().collect(), self.origin).await?;
        // Looked at again, since one may have been settled before it was judged.
        let still_hidden = self.shadow.hidden(self.bucket, &doubtful).await?;
        let is_there = |key: &ObjectKey| unsettled.get(key).is_some_and(Option::is_some);
        gone.extend(still_hidden.into_iter().filter(|key| !is_there(key)));
        Ok((gone, unsettled))
    }

    /// Whether every key that the origin holds under `prefix` is gone here; `None` if that costs too many pages to tell. Almost always settled by
    /// the absence of any tombstone.
    async fn is_prefix_gone(&mut self, prefix: &str) -> Result<Option<bool>> {
        let meta = self.shadow.native().meta();
        let tombstones = Some(key::tombstone_range(prefix));
        let versions = has_versions(self.bucket).then(|| key::version_range(prefix));
        let mut may_be_gone = false;
        for range in tombstones.into_iter().chain(versions) {
            may_be_gone = may_be_gone || !meta.scan(self.bucket.partition, range, 1, Projection::Head).await?.is_empty();
        }
        if !may_be_gone {
            return Ok(Some(false));
        }
        let is_careful = self.shadow.has_half_done(self.bucket, prefix, None).await?;
        let mut list = OriginList { prefix: prefix.to_owned(), limit: ORIGIN_PAGE, ..OriginList::default() };
        while self.may_ask() {
            let page = self.origin.list(self.path, &list).await?;
            let keys: Vec<_> = page.objects.iter().map(|object| &object.key).collect();
            if self.gone_among(&keys, is_careful).await?.0.len() < keys.len() {
                return Ok(Some(false));
            }
            match page.next {
                Some(token) => list.token = Some(token),
                None => return Ok(Some(true)),
            }
        }
        Ok(None)
    }
}
