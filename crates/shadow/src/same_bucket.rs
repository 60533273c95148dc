//! Another endpoint in place of the one a shadow has: allowed only where it is shown to lead to the same bucket.
//!
//! A bucket has one origin for a whole generation: what is known of it, tombstones for one, would mean nothing at another, and the gate of a
//! detach would have been passed by. Where writes go through a key is written at one address and looked for at the other. Elsewhere, for
//! nothing is written then, both have to list the same thousand keys first, and to hold the same of keys all over the inventory: sizes, ETags
//! and dates. An address that does not answer any more is replaced if the new one holds what the inventory remembers.

use bytes::Bytes;
use umbra_core::{Body, ETag, Error, ErrorKind, Fault, ObjectInfo, ObjectKey, RequestContext, Result, ShadowSettings, Timestamp};
use umbra_meta::key;
use umbra_store::Bucket;

use crate::{
    Shadow,
    attach::PROBE_KEY_PREFIX,
    inventory::{Cold, ColdPage},
    list_advance::{Advance, EMPTY_PAGES_FOR_ONE_MAX},
    origin::{Origin, OriginAttributes, OriginError, OriginList, PutConditions, ShadowPath},
};

/// Keys listed at both.
const LISTED: usize = 1000;
/// How often both are listed while somebody changes what they hold.
const ATTEMPTS_MAX: usize = 3;
/// Keys of the inventory that are looked for, the last of so many pages of it.
const REMEMBERED: usize = 16;
/// Rows of one such page.
const PAGE: usize = 1000;

/// What the comparison came to.
enum Shown {
    Same,
    Another,
    /// The old address does not answer.
    Unknown,
}

impl Shadow {
    /// Refuses the endpoint of `wanted` for that of `now`, unless `new`, the origin there, is seen to be the same bucket.
    pub(crate) async fn refuse_another_bucket(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        now: &ShadowSettings,
        wanted: &ShadowSettings,
        new: &dyn Origin,
    ) -> Result<()> {
        let (path, old) = (self.path(cx, bucket), self.origin(bucket)?);
        let shown = match &old {
            Some(old) if now.write_through => self.by_writing(&path, &**old, new).await?,
            Some(old) => self.by_reading(bucket, &path, &**old, new).await?,
            None => return Ok(()),
        };
        let advice = "clear the shadow first (`umbra storage update --clear-shadow`), then attach that one";
        let (name, before, after) = (&wanted.bucket, &now.endpoint, &wanted.endpoint);
        let message = match shown {
            Shown::Same => return Ok(()),
            Shown::Unknown if self.holds_what_is_remembered(bucket, &path, new).await? => return Ok(()),
            Shown::Another => format!("{name} at {after} is not the bucket {name} at {before}; {advice}"),
            Shown::Unknown => {
                format!("{before} does not answer, so nobody can tell whether {name} at {after} is the same bucket; {advice}")
            }
        };
        Err(Error::invalid(Fault::InvalidRequest, message))
    }

    /// Writes a key at the old address and looks for it at the new one.
    async fn by_writing(&self, path: &ShadowPath, old: &dyn Origin, new: &dyn Origin) -> Result<Shown> {
        let nonce = hex::encode(self.native().random().array::<8>());
        let key = ObjectKey::parse(&format!("{PROBE_KEY_PREFIX}same-{nonce}"))?;
        let body = Body::from_bytes(Bytes::from(nonce));
        let (size, attributes, conditions) = (body.size().unwrap_or_default(), OriginAttributes::default(), PutConditions::default());
        let etag = match old.put(path, &key, size, body, &attributes, &conditions).await {
            Ok(etag) => etag,
            Err(error) => {
                // Its answer alone may have been lost.
                let _ = old.delete(path, &key).await;
                return if does_not_answer(&error) { Ok(Shown::Unknown) } else { Err(error.into()) };
            }
        };
        let found = new.head(path, &key).await;
        if let Err(error) = old.delete(path, &key).await {
            tracing::warn!(%key, error = ?error.error, "a probe stays behind at the origin");
        }
        match found {
            Ok(head) if head.info.etag == etag => Ok(Shown::Same),
            Ok(_) => Ok(Shown::Another),
            Err(error) if error.is_not_found() => Ok(Shown::Another),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists both, and asks both for keys of the inventory.
    async fn by_reading(&self, bucket: &Bucket, path: &ShadowPath, old: &dyn Origin, new: &dyn Origin) -> Result<Shown> {
        match by_listing(path, old, new).await? {
            Shown::Same => {}
            shown => return Ok(shown),
        }
        for (key, _) in self.remembered(bucket).await? {
            let (before, after) = (look(old, path, &key).await?, look(new, path, &key).await?);
            let looks = |info: &ObjectInfo| (info.size, info.etag.clone(), info.last_modified.as_secs());
            if before.as_ref().map(looks) != after.as_ref().map(looks) {
                return Ok(Shown::Another);
            }
        }
        Ok(Shown::Same)
    }

    /// Whether the origin holds keys that are known to be cold, as they were listed.
    async fn holds_what_is_remembered(&self, bucket: &Bucket, path: &ShadowPath, new: &dyn Origin) -> Result<bool> {
        let remembered = self.remembered(bucket).await?;
        for (key, cold) in &remembered {
            if !look(new, path, key).await?.is_some_and(|info| is_it(cold, &info)) {
                return Ok(false);
            }
        }
        Ok(!remembered.is_empty())
    }

    /// Some keys of the inventory: the first, and the last of each of its first pages.
    async fn remembered(&self, bucket: &Bucket) -> Result<Vec<(ObjectKey, Cold)>> {
        let (mut remembered, mut range) = (Vec::new(), key::inventory_range(""));
        for _ in 0..REMEMBERED {
            let ColdPage { mut keys, last, more } = self.cold_page(bucket, range.clone(), PAGE).await?;
            let latest = keys.pop();
            if remembered.is_empty() {
                remembered.extend(keys.into_iter().next());
            }
            remembered.extend(latest);
            let Some(last) = last.filter(|_| more) else { break };
            range = range.after(&key::inventory(&ObjectKey::parse(&last)?));
        }
        Ok(remembered)
    }
}

/// Lists both, and once more while somebody may be changing what they hold.
async fn by_listing(path: &ShadowPath, old: &dyn Origin, new: &dyn Origin) -> Result<Shown> {
    for _ in 0..ATTEMPTS_MAX {
        let before = match first_keys(old, path).await {
            Ok(keys) => keys,
            Err(error) if does_not_answer(&error) => return Ok(Shown::Unknown),
            Err(error) => return Err(error.into()),
        };
        if before == first_keys(new, path).await? {
            return Ok(Shown::Same);
        }
    }
    Ok(Shown::Another)
}

/// The keys that an origin lists first, with size, ETag and second; fewer only where there are no more.
async fn first_keys(origin: &dyn Origin, path: &ShadowPath) -> Result<Vec<(ObjectKey, u64, ETag, i64)>, OriginError> {
    let (mut keys, mut token, mut advance) = (Vec::new(), None, Advance::new(EMPTY_PAGES_FOR_ONE_MAX));
    loop {
        let page = origin.list(path, &OriginList { limit: LISTED, token, ..OriginList::default() }).await?;
        advance.take(page.objects.is_empty(), page.next.as_deref()).map_err(OriginError::certain)?;
        keys.extend(page.objects.into_iter().map(|object| (object.key, object.size, object.etag, object.last_modified.as_secs())));
        keys.truncate(LISTED);
        token = page.next.filter(|_| keys.len() < LISTED);
        if token.is_none() {
            return Ok(keys);
        }
    }
}

async fn look(origin: &dyn Origin, path: &ShadowPath, key: &ObjectKey) -> Result<Option<ObjectInfo>> {
    match origin.head(path, key).await {
        Ok(head) => Ok(Some(head.info)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_it(cold: &Cold, info: &ObjectInfo) -> bool {
    let dated = Timestamp::from_millis(cold.last_modified).as_secs();
    (cold.size, cold.etag.as_str(), dated) == (info.size, info.etag.as_str(), info.last_modified.as_secs())
}

/// Whether nothing is known of what an origin holds: it is gone, or takes our credentials no more.
fn does_not_answer(error: &OriginError) -> bool {
    matches!(error.error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused)
}
