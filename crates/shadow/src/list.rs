//! Listing a bucket with an origin: one bucket, both sides merged in UTF-8 byte order, tombstones hidden, local entries winning.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use umbra_core::{Error, Fault, RequestContext, Result};
use umbra_store::{Bucket, ListOptions, ListPage, ListStart};

use crate::{
    Shadow,
    hydrate::same_shadow,
    list_merge::Item,
    list_sides::{Shown, Sides},
    origin::Origin,
    write_through::switched,
};

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

/// A page of both sides, and of each item whose it is.
#[derive(Default)]
pub(crate) struct Merged {
    pub(crate) shown: Vec<Shown>,
    /// The last name that was looked at: the page goes that far.
    pub(crate) last: Option<String>,
    pub(crate) has_more: bool,
}

impl Shadow {
    pub(crate) async fn list_merged(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        options: ListOptions,
        origin: &dyn Origin,
    ) -> Result<ListPage> {
        let Merged { shown, last, has_more } = self.merged(cx, bucket, options, origin).await?;
        let token = last.clone().filter(|_| has_more).map(|last| Token { generation: bucket.settings.generation, last }.encode());
        let mut page = ListPage { next: token, last, ..ListPage::default() };
        for (_, item) in shown {
            match item {
                Item::Object(object) => page.objects.push(object),
                Item::Prefix(prefix) => page.common_prefixes.push(prefix),
            }
        }
        Ok(page)
    }

    pub(crate) async fn merged(&self, cx: &RequestContext, bucket: &Bucket, options: ListOptions, origin: &dyn Origin) -> Result<Merged> {
        if options.limit == 0 {
            return Ok(Merged::default());
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
        let mut sides = Sides::begin(self, cx, bucket, origin, &path, &options, after.clone()).await?;
        let mut page = Vec::new();
        loop {
            let checked = page.len();
            while page.len() <= options.limit
                && let Some(item) = sides.next(options.limit + 1 - page.len()).await?
            {
                page.push(item);
            }
            let is_last = page.len() <= options.limit;
            sides.settle(&mut page, checked).await?;
            if is_last || page.len() > options.limit {
                break;
            }
        }
        sides.add_missed(&mut page, after.as_deref()).await?;
        let more = page.len() > options.limit;
        page.truncate(options.limit);
        let stopped = if more { None } else { sides.stopped_short()?.cloned() };
        if self.0.origins.is_cleared(bucket) || !same_shadow(bucket, &*self.0.catalog.refresh(&bucket.name).await?) {
            // Tombstones may be gone already that hid what the origin showed, and what was deleted since left none.
            return Err(switched());
        }
        let has_more = more || stopped.is_some();
        let last = stopped.or_else(|| page.last().map(|(_, item)| item.name().to_owned()));
        Ok(Merged { shown: page, last, has_more })
    }
}
