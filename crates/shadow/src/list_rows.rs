//! What the rows here say of keys that an origin lists: which are gone, which are here by now, and of which the origin alone holds the newest.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, future, stream};
use umbra_core::{Error, ErrorKind, ObjectInfo, ObjectKey, RequestContext, Result};
use umbra_meta::{Entry, KeyRange, Projection, key};
use umbra_store::{Bucket, ListedObject, Stored};

use crate::{
    Shadow,
    origin::Origin,
    read_through::ATTEMPTS_MAX,
    record::{Operation, Tombstone, decode},
    view::has_versions,
};

/// How many rows between two keys are read in one go before keys are looked up one by one.
const ROWS_AT_ONCE: usize = 2000;
/// Half-done writes of which the origin is asked at once.
const PARALLEL: usize = 16;

/// How a key that the origin lists stands here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is known of it here.
    Cold,
    /// It is here by now.
    Here(ListedObject),
    /// A tombstone hides it.
    Gone,
}

impl Shadow {
    /// Which of `keys` a tombstone hides, or a delete marker.
    pub(crate) async fn hidden<'k>(&self, bucket: &Bucket, keys: &[&'k ObjectKey]) -> Result<HashSet<&'k ObjectKey>> {
        let mut gone = HashSet::new();
        let rows = self.rows_among(bucket, keys, key::tombstone).await?;
        for row in &rows {
            if hides(bucket, row)? {
                gone.extend(key::parse_tombstone(&row.key));
            }
        }
        let marked = self.marked(bucket, keys).await?;
        gone.extend(marked.iter().map(|key| key.as_str()));
        Ok(keys.iter().copied().filter(|key| gone.contains(key.as_str())).collect())
    }

    /// How each of `keys` stands, its object and its tombstone as of one moment.
    pub(crate) async fn standing(&self, bucket: &Bucket, keys: &[&ObjectKey]) -> Result<Vec<Standing>> {
        let with_history = has_versions(bucket);
        let names = keys.iter().flat_map(|key| {
            let history = with_history.then(|| key::history(key));
            [key::object(key), key::tombstone(key)].into_iter().chain(history)
        });
        let names: Vec<_> = names.collect();
        let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
        let rows = self.native().meta().multi_get(bucket.partition, &names).await?;
        let rows = keys.iter().zip(rows.chunks_exact(2 + usize::from(with_history)));
        rows.map(|(key, rows)| match standing(bucket, key, rows[0].as_ref(), rows[1].as_ref())? {
            Standing::Cold if rows.get(2).is_some_and(Option::is_some) => Ok(Standing::Gone),
            standing => Ok(standing),
        })
        .collect()
    }

    /// Which of `keys` a delete marker hides.
    pub(crate) async fn marked<'k>(&self, bucket: &Bucket, keys: &[&'k ObjectKey]) -> Result<Vec<&'k ObjectKey>> {
        if !has_versions(bucket) || keys.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = keys.iter().flat_map(|key| [key::object(key), key::history(key)]).collect();
        let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
        let rows = self.native().meta().multi_get(bucket.partition, &names).await?;
        let is_marked = |rows: &[Option<Entry>]| rows[0].is_none() && rows[1].is_some();
        Ok(keys.iter().zip(rows.chunks_exact(2)).filter(|(_, rows)| is_marked(rows)).map(|(key, _)| *key).collect())
    }

    /// Whether any write to a key that begins with `prefix`, behind `after`, is half done. One look, however many there are.
    ///
    /// What becomes half done later was under way when this was asked: either answer is right for its key.
    pub(crate) async fn has_half_done(&self, bucket: &Bucket, prefix: &str, after: Option<&str>) -> Result<bool> {
        let rows = self.intents_behind(bucket, prefix, after).await?;
        // More than fit are taken for half done: that costs a closer look, and changes nothing.
        Ok(rows.len() == ROWS_AT_ONCE || !self.half_done(bucket, &rows)?.is_empty())
    }

    /// The first keys that begin with `prefix`, behind `after`, of which a write to the origin is under way or half done.
    pub(crate) async fn keys_being_written(&self, bucket: &Bucket, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectKey>> {
        let rows = self.intents_behind(bucket, prefix, after).await?;
        Ok(rows.iter().filter_map(|row| key::parse_write_intent(&row.key).and_then(|key| ObjectKey::parse(key).ok())).collect())
    }

    async fn intents_behind(&self, bucket: &Bucket, prefix: &str, after: Option<&str>) -> Result<Vec<Entry>> {
        let mut range = key::write_intent_range(prefix);
        if let Some(after) = after {
            range = range.after(&key::write_intent_prefix(after));
        }
        if range.end.as_ref().is_some_and(|end| range.start >= *end) {
            return Ok(Vec::new());
        }
        Ok(self.native().meta().scan(bucket.partition, range, ROWS_AT_ONCE, Projection::Full).await?)
    }

    /// Which of `keys` have a half-done write.
    pub(crate) async fn half_done_among(&self, bucket: &Bucket, keys: &[&ObjectKey]) -> Result<HashSet<ObjectKey>> {
        let rows = self.rows_among(bucket, keys, key::write_intent).await?;
        let names: HashSet<_> = keys.iter().map(|key| key.as_str()).collect();
        let half_done = self.half_done(bucket, &rows)?.into_iter();
        Ok(half_done.filter(|key| names.contains(key.as_str())).collect())
    }

    /// What those of `keys` hold, which had a half-done write, of which the origin alone has the newest, because it applied that; `None` where
    /// that was a delete.
    pub(crate) async fn unsettled(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        keys: HashSet<ObjectKey>,
        origin: &dyn Origin,
    ) -> Result<HashMap<ObjectKey, Option<ListedObject>>> {
        // In an order that does not depend on chance.
        let keys: BTreeSet<_> = keys.into_iter().collect();
        let judged = stream::iter(keys).map(|key| async move {
            let newest = self.newest_there(cx, bucket, &key, origin).await?;
            Ok::<_, Error>(newest.map(|newest| (key, newest)))
        });
        judged.buffer_unordered(PARALLEL).try_filter_map(|key| future::ready(Ok(key))).try_collect().await
    }

    /// What the origin holds of a key, if a half-done write made it the newest.
    async fn newest_there(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        origin: &dyn Origin,
    ) -> Result<Option<Option<ListedObject>>> {
        let mut view = self.view(bucket, key).await?;
        for _ in 0..ATTEMPTS_MAX {
            // Of a cold key everything is read at the origin in any case.
            let Some(intent) = view.unsettled().filter(|_| !view.is_cold()) else { return Ok(None) };
            let (applied, there) = self.applied_of(cx, bucket, key, intent, origin).await?;
            // What the origin said may be of a later write than the one it was asked about.
            let now = self.view(bucket, key).await?;
            if now.base == view.base {
                let is_newest = matches!(applied, Some(Operation::Put | Operation::Delete));
                return Ok(is_newest.then(|| there.map(|info| listed(key, info))));
            }
            view = now;
        }
        Err(Error::new(ErrorKind::Conflict, "an object keeps changing; please try again"))
    }

    /// The rows of `keys` that there are, and perhaps some between them.
    async fn rows_among(&self, bucket: &Bucket, keys: &[&ObjectKey], name: fn(&ObjectKey) -> Vec<u8>) -> Result<Vec<Entry>> {
        // Origins have orders of their own.
        let (Some(first), Some(last)) = (keys.iter().min(), keys.iter().max()) else { return Ok(Vec::new()) };
        let mut end = name(last);
        end.push(0);
        let range = KeyRange { start: name(first), end: Some(end) };
        let meta = self.native().meta();
        let rows = meta.scan(bucket.partition, range, ROWS_AT_ONCE, Projection::Full).await?;
        if rows.len() < ROWS_AT_ONCE {
            return Ok(rows);
        }
        let names: Vec<_> = keys.iter().map(|key| name(key)).collect();
        let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
        Ok(meta.multi_get(bucket.partition, &names).await?.into_iter().flatten().collect())
    }
}

/// Whether a tombstone is of the bucket's generation.
fn hides(bucket: &Bucket, row: &Entry) -> Result<bool> {
    Ok(decode::<Tombstone>("tombstone", &row.body)?.generation == bucket.settings.generation)
}

fn listed(key: &ObjectKey, ObjectInfo { size, etag, last_modified, headers, .. }: ObjectInfo) -> ListedObject {
    ListedObject { key: key.clone(), size, etag, last_modified, storage_class: headers.storage_class }
}

fn standing(bucket: &Bucket, key: &ObjectKey, object: Option<&Entry>, tombstone: Option<&Entry>) -> Result<Standing> {
    if let Some(object) = object {
        let object = Stored::decode(object)?.object;
        let (size, etag, last_modified, storage_class) = (object.size, object.etag, object.last_modified, object.headers.storage_class);
        return Ok(Standing::Here(ListedObject { key: key.clone(), size, etag, last_modified, storage_class }));
    }
    let is_gone = tombstone.map(|row| hides(bucket, row)).transpose()?.unwrap_or(false);
    Ok(if is_gone { Standing::Gone } else { Standing::Cold })
}
