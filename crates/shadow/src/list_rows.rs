//! What the rows here say of keys that an origin lists: which are gone, which are here by now, and of which the origin alone holds the newest.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, future, stream};
use umbra_core::{ObjectKey, RequestContext, Result};
use umbra_meta::{Entry, KeyRange, Projection, key};
use umbra_store::{Bucket, ListedObject, Stored};

use crate::{
    Shadow,
    origin::Origin,
    record::{Operation, Tombstone, decode},
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
    /// Which of `keys` a tombstone hides.
    pub(crate) async fn hidden<'k>(&self, bucket: &Bucket, keys: &[&'k ObjectKey]) -> Result<HashSet<&'k ObjectKey>> {
        let mut gone = HashSet::new();
        let rows = self.rows_among(bucket, keys, key::tombstone).await?;
        for row in &rows {
            if hides(bucket, row)? {
                gone.extend(key::parse_tombstone(&row.key));
            }
        }
        Ok(keys.iter().copied().filter(|key| gone.contains(key.as_str())).collect())
    }

    /// How each of `keys` stands, its object and its tombstone as of one moment.
    pub(crate) async fn standing(&self, bucket: &Bucket, keys: &[&ObjectKey]) -> Result<Vec<Standing>> {
        let names: Vec<_> = keys.iter().flat_map(|key| [key::object(key), key::tombstone(key)]).collect();
        let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
        let rows = self.native().meta().multi_get(bucket.partition, &names).await?;
        let pairs = keys.iter().zip(rows.chunks_exact(2));
        pairs.map(|(key, rows)| standing(bucket, key, rows[0].as_ref(), rows[1].as_ref())).collect()
    }

    /// Whether any write to a key that begins with `prefix`, behind `after`, is half done. One look, however many there are.
    ///
    /// What becomes half done later was under way when this was asked: either answer is right for its key.
    pub(crate) async fn has_half_done(&self, bucket: &Bucket, prefix: &str, after: Option<&str>) -> Result<bool> {
        let mut range = key::write_intent_range(prefix);
        if let Some(after) = after {
            range = range.after(&key::write_intent_prefix(after));
        }
        if range.end.as_ref().is_some_and(|end| range.start >= *end) {
            return Ok(false);
        }
        let rows = self.native().meta().scan(bucket.partition, range, ROWS_AT_ONCE, Projection::Full).await?;
        // More than fit are taken for half done: that costs a closer look, and changes nothing.
        Ok(rows.len() == ROWS_AT_ONCE || !self.ownerless(bucket, &rows)?.is_empty())
    }

    /// Which of `keys` have a half-done write.
    pub(crate) async fn half_done_among(&self, bucket: &Bucket, keys: &[&ObjectKey]) -> Result<HashSet<ObjectKey>> {
        let rows = self.rows_among(bucket, keys, key::write_intent).await?;
        let names: HashSet<_> = keys.iter().map(|key| key.as_str()).collect();
        let half_done = self.ownerless(bucket, &rows)?.into_iter().map(|(key, _)| key);
        Ok(half_done.filter(|key| names.contains(key.as_str())).collect())
    }

    /// Of which of `keys`, which had a half-done write, the origin alone holds the newest, because it applied that.
    pub(crate) async fn unsettled(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        keys: HashSet<ObjectKey>,
        origin: &dyn Origin,
    ) -> Result<HashSet<ObjectKey>> {
        let judged = stream::iter(keys).map(|key| async move {
            let view = self.view(bucket, &key).await?;
            // Of a cold key everything is read at the origin in any case.
            let Some(intent) = view.intent.as_ref().filter(|_| view.is_dead && !view.is_cold()) else { return Ok(None) };
            let applied = self.applied(cx, bucket, &key, intent, origin).await?;
            Ok::<_, umbra_core::Error>(matches!(applied, Some(Operation::Put | Operation::Delete)).then_some(key))
        });
        judged.buffer_unordered(PARALLEL).try_filter_map(|key| future::ready(Ok(key))).try_collect().await
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

fn standing(bucket: &Bucket, key: &ObjectKey, object: Option<&Entry>, tombstone: Option<&Entry>) -> Result<Standing> {
    if let Some(object) = object {
        let object = Stored::decode(object)?.object;
        let (size, etag, last_modified, storage_class) = (object.size, object.etag, object.last_modified, object.headers.storage_class);
        return Ok(Standing::Here(ListedObject { key: key.clone(), size, etag, last_modified, storage_class }));
    }
    let is_gone = tombstone.map(|row| hides(bucket, row)).transpose()?.unwrap_or(false);
    Ok(if is_gone { Standing::Gone } else { Standing::Cold })
}
