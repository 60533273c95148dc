//! Listing a bucket with an origin: one bucket, both sides merged in UTF-8 byte order, tombstones hidden, local entries winning.

use std::collections::{HashSet, VecDeque};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use umbra_core::{Error, Fault, ObjectKey, RequestContext, Result};
use umbra_meta::{KeyRange, Projection, key};
use umbra_store::{Bucket, ListOptions, ListPage, ListSource, ListStart, Objects};

use crate::{
    Shadow,
    list_merge::{Item, items, next},
    list_origin::{ORIGIN_PAGE, OriginItems},
    origin::{Origin, OriginList, ShadowPath},
    record::{Operation, Tombstone, decode},
    write_through::switched,
};

/// How many rows of tombstones are read in one go before keys are looked up one by one.
const TOMBSTONES_AT_ONCE: usize = 2000;
const TOKEN_VERSION: &str = "1";

/// Where a page begins and which shadow it belongs to.
///
/// Both sides go on behind the same name, the last one shown, so one name is the cursor of both.
struct Token {
    generation: u64,
    last: String,
}

impl Token {
    fn encode(&self) -> String {
        BASE64.encode(format!("{TOKEN_VERSION}\n{}\n{}", self.generation, self.last))
    }

    fn decode(text: &str) -> Result<Self> {
        let invalid = || Error::invalid(Fault::InvalidArgument, "the continuation token provided is incorrect");
        let bytes = BASE64.decode(text).map_err(|_| invalid())?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        let mut fields = text.splitn(3, '\n');
        match (fields.next(), fields.next(), fields.next()) {
            (Some(TOKEN_VERSION), Some(generation), Some(last)) => {
                Ok(Self { generation: generation.parse().map_err(|_| invalid())?, last: last.to_owned() })
            }
            _ => Err(invalid()),
        }
    }
}

impl Shadow {
    pub(crate) async fn list_merged(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        options: ListOptions,
        origin: &dyn Origin,
    ) -> Result<ListPage> {
        if options.limit == 0 {
            return Ok(ListPage::default());
        }
        let after = match &options.start {
            ListStart::First => None,
            ListStart::After(name) => Some(name.clone()),
            ListStart::Continue(token) => {
                let token = Token::decode(token)?;
                if token.generation != bucket.settings.generation {
                    return Err(Error::invalid(
                        Fault::InvalidArgument,
                        "the bucket's shadow changed since this listing began; begin it anew",
                    ));
                }
                Some(token.last)
            }
        };
        let path = self.path(cx, bucket);
        let mut sides = Sides {
            shadow: self,
            cx,
            bucket,
            origin,
            path: &path,
            options: &options,
            unsettled: self.unsettled(cx, bucket, &options.prefix, origin).await?,
            local: Local { items: VecDeque::new(), after: after.clone(), ended: options.source == ListSource::Origin },
            theirs: OriginItems::new(origin, &path, &options.prefix, &options.delimiter, after),
            their_items: VecDeque::new(),
            they_ended: false,
        };
        let mut page: Vec<Item> = Vec::new();
        let mut more = false;
        while let Some(item) = sides.next(options.limit + 1 - page.len()).await? {
            if page.len() == options.limit {
                more = true;
                break;
            }
            page.push(item);
        }
        if self.0.origins.is_cleared(bucket) {
            // Tombstones may be gone already that hid what the origin showed.
            return Err(switched());
        }
        let last = page.last().map(|item| item.name().to_owned());
        let token = last.clone().filter(|_| more).map(|last| Token { generation: bucket.settings.generation, last }.encode());
        let mut result = ListPage { next: token, last, ..ListPage::default() };
        for item in page {
            match item {
                Item::Object(object) => result.objects.push(object),
                Item::Prefix(prefix) => result.common_prefixes.push(prefix),
            }
        }
        Ok(result)
    }

    /// Keys of which the origin alone holds the newest, because a write-through that it applied is half done.
    async fn unsettled(&self, cx: &RequestContext, bucket: &Bucket, prefix: &str, origin: &dyn Origin) -> Result<HashSet<ObjectKey>> {
        let mut unsettled = HashSet::new();
        let mut range = key::write_intent_range(prefix);
        while let Some(page) = self.page_of_intended(bucket, &mut range).await? {
            for key in page {
                let view = self.view(bucket, &key).await?;
                if let Some(intent) = view.unsettled()
                    && matches!(self.applied(cx, bucket, &key, intent, origin).await?, Some(Operation::Put | Operation::Delete))
                {
                    unsettled.insert(key);
                }
            }
        }
        Ok(unsettled)
    }

    /// Which of `keys` a tombstone hides.
    pub(crate) async fn hidden<'k>(&self, bucket: &Bucket, keys: &[&'k ObjectKey]) -> Result<HashSet<&'k ObjectKey>> {
        // Origins have orders of their own.
        let (Some(first), Some(last)) = (keys.iter().min(), keys.iter().max()) else { return Ok(HashSet::new()) };
        let meta = self.native().meta();
        let mut end = key::tombstone(last);
        end.push(0);
        let range = KeyRange { start: key::tombstone(first), end: Some(end) };
        let rows = meta.scan(bucket.partition, range, TOMBSTONES_AT_ONCE, Projection::Full).await?;
        let rows = if rows.len() < TOMBSTONES_AT_ONCE {
            rows
        } else {
            let names: Vec<_> = keys.iter().map(|key| key::tombstone(key)).collect();
            let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
            meta.multi_get(bucket.partition, &names).await?.into_iter().flatten().collect()
        };
        let mut gone = HashSet::new();
        for row in &rows {
            if decode::<Tombstone>("tombstone", &row.body)?.generation == bucket.settings.generation {
                gone.extend(key::parse_tombstone(&row.key));
            }
        }
        Ok(keys.iter().copied().filter(|key| gone.contains(key.as_str())).collect())
    }
}

/// Our own items that are read but not yet shown, and where they go on.
struct Local {
    items: VecDeque<Item>,
    after: Option<String>,
    ended: bool,
}

struct Sides<'a> {
    shadow: &'a Shadow,
    cx: &'a RequestContext,
    bucket: &'a Bucket,
    origin: &'a dyn Origin,
    path: &'a ShadowPath,
    options: &'a ListOptions,
    unsettled: HashSet<ObjectKey>,
    local: Local,
    theirs: OriginItems<'a>,
    their_items: VecDeque<Item>,
    they_ended: bool,
}

impl Sides<'_> {
    /// The next item of the merged listing, of which about `wanted` more are needed.
    async fn next(&mut self, wanted: usize) -> Result<Option<Item>> {
        while self.local.items.is_empty() && !self.local.ended {
            self.read_local(wanted).await?;
        }
        while self.their_items.is_empty() && !self.they_ended {
            self.read_origin().await?;
        }
        Ok(next(&mut self.local.items, &mut self.their_items))
    }

    async fn read_local(&mut self, wanted: usize) -> Result<()> {
        let start = self.local.after.clone().map_or(ListStart::First, ListStart::After);
        let options = ListOptions { start, limit: wanted, source: ListSource::Local, ..self.options.clone() };
        let page = self.shadow.native().list(self.cx, self.bucket, options).await?;
        self.local.ended = page.next.is_none();
        self.local.after = page.last.or(self.local.after.take());
        self.local.items = items(page.objects, page.common_prefixes);
        self.local.items.retain(|item| !matches!(item, Item::Object(object) if self.unsettled.contains(&object.key)));
        Ok(())
    }

    async fn read_origin(&mut self) -> Result<()> {
        match self.theirs.next().await? {
            Some(found) => self.their_items = self.visible(found).await?,
            None => self.they_ended = true,
        }
        Ok(())
    }

    /// Leaves out what is gone here.
    async fn visible(&self, mut found: VecDeque<Item>) -> Result<VecDeque<Item>> {
        let mut gone = HashSet::new();
        for item in &found {
            if let Item::Prefix(prefix) = item
                && self.is_prefix_gone(prefix).await?
            {
                gone.insert(prefix.clone());
            }
        }
        let keys: Vec<_> = found.iter().filter_map(|item| if let Item::Object(object) = item { Some(&object.key) } else { None }).collect();
        let hidden = self.shadow.hidden(self.bucket, &keys).await?;
        gone.extend(hidden.into_iter().filter(|key| !self.unsettled.contains(*key)).map(|key| key.as_str().to_owned()));
        found.retain(|item| !gone.contains(item.name()));
        Ok(found)
    }

    /// Whether every key that the origin holds under `prefix` is gone here. Almost always settled by the absence of any tombstone.
    async fn is_prefix_gone(&self, prefix: &str) -> Result<bool> {
        if self.unsettled.iter().any(|key| key.as_str().starts_with(prefix)) {
            return Ok(false);
        }
        let meta = self.shadow.native().meta();
        if meta.scan(self.bucket.partition, key::tombstone_range(prefix), 1, Projection::Head).await?.is_empty() {
            return Ok(false);
        }
        let mut list = OriginList { prefix: prefix.to_owned(), limit: ORIGIN_PAGE, ..OriginList::default() };
        loop {
            let page = self.origin.list(self.path, &list).await?;
            let keys: Vec<_> = page.objects.iter().map(|object| &object.key).collect();
            if self.shadow.hidden(self.bucket, &keys).await?.len() < keys.len() {
                return Ok(false);
            }
            match page.next {
                Some(token) => list.token = Some(token),
                None => return Ok(true),
            }
        }
    }
}
