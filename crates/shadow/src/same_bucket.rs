//! Another endpoint in place of the one a shadow has: allowed only where it is shown to lead to the same bucket.
//!
//! A bucket has one origin for a whole generation: what is known of it, tombstones for one, would mean nothing at another, and the gate of a
//! detach would have been passed by. Where writes go through a key is written at one address and looked for at the other. Elsewhere, for
//! nothing is written then, both have to list the same: keys, sizes, ETags and dates. An address that does not answer any more is replaced
//! if the new one holds what the inventory remembers.

use bytes::Bytes;
use umbra_core::{Body, Error, ErrorKind, Fault, ObjectInfo, ObjectKey, RequestContext, Result, ShadowSettings, Timestamp};
use umbra_meta::key;
use umbra_store::{Bucket, ListedObject};

use crate::{
    Shadow,
    attach::PROBE_KEY_PREFIX,
    inventory::Cold,
    origin::{Origin, OriginAttributes, OriginError, OriginList, PutConditions, ShadowPath},
};

/// Keys listed at both.
const LISTED: usize = 1000;
/// How often both are listed while somebody changes what they hold.
const ATTEMPTS_MAX: usize = 3;
/// Keys of the inventory that are looked for.
const REMEMBERED: usize = 16;

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
            Some(old) => by_listing(&path, &**old, new).await?,
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
            Err(error) if does_not_answer(&error) => return Ok(Shown::Unknown),
            Err(error) => return Err(error.into()),
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

    /// Whether the origin holds keys that are known to be cold, as they were listed.
    async fn holds_what_is_remembered(&self, bucket: &Bucket, path: &ShadowPath, new: &dyn Origin) -> Result<bool> {
        let page = self.cold_page(bucket, key::inventory_range(""), REMEMBERED).await?;
        for (key, cold) in &page.keys {
            match new.head(path, key).await {
                Ok(head) if is_it(cold, &head.info) => {}
                Ok(_) => return Ok(false),
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(!page.keys.is_empty())
    }
}

/// Lists both, and once more while somebody may be changing what they hold.
async fn by_listing(path: &ShadowPath, old: &dyn Origin, new: &dyn Origin) -> Result<Shown> {
    let list = OriginList { limit: LISTED, ..OriginList::default() };
    for _ in 0..ATTEMPTS_MAX {
        let before = match old.list(path, &list).await {
            Ok(page) => page,
            Err(error) if does_not_answer(&error) => return Ok(Shown::Unknown),
            Err(error) => return Err(error.into()),
        };
        let after = new.list(path, &list).await?;
        // Pages may end sooner at one than at the other.
        let reach = before.objects.len().min(after.objects.len());
        let is_cut = before.next.is_some() || after.next.is_some();
        let is_as_long = before.objects.len() == after.objects.len() || (is_cut && reach > 0);
        let is_same = |(before, after): (&ListedObject, &ListedObject)| {
            (&before.key, before.size, &before.etag, before.last_modified.as_secs())
                == (&after.key, after.size, &after.etag, after.last_modified.as_secs())
        };
        if is_as_long && before.objects.iter().zip(&after.objects).all(is_same) {
            return Ok(Shown::Same);
        }
    }
    Ok(Shown::Another)
}

fn is_it(cold: &Cold, info: &ObjectInfo) -> bool {
    let dated = Timestamp::from_millis(cold.last_modified).as_secs();
    (cold.size, cold.etag.as_str(), dated) == (info.size, info.etag.as_str(), info.last_modified.as_secs())
}

/// Whether nothing is known of what an origin holds: it is gone, or takes our credentials no more.
fn does_not_answer(error: &OriginError) -> bool {
    matches!(error.error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused)
}
