//! Takes stock: makes a stretch of the inventory say what a page of the origin's listing said, as far as keys are cold.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use umbra_core::{Error, ErrorKind, ObjectKey, Result};
use umbra_meta::{Batch, Entry, Expect, KeyRange, Projection, key};
use umbra_store::{Bucket, ListedObject};

use super::{Cold, counters};
use crate::{
    Shadow,
    record::{Tombstone, decode},
    shadow::scope_of,
};

/// Keys compared in one batch: few enough that a write to one of them rarely comes between.
const KEYS_AT_ONCE: usize = 128;
/// Rows dropped at once whose keys the origin does not list.
const GONE_AT_ONCE: usize = 1000;
/// How often a batch begins anew. Every time a key of it stopped being cold, so it ends by itself; this is for bugs.
const ATTEMPTS_MAX: usize = 2 * KEYS_AT_ONCE;

/// The stretch of keys that a page speaks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch<'a> {
    /// Only keys that begin with this.
    pub(super) prefix: &'a str,
    /// Behind this key; from the first, if `None`.
    pub(super) after: Option<&'a str>,
    /// Up to and with this key; nothing, if `None`, unless it is the last.
    pub(super) through: Option<&'a str>,
    /// To the end of the prefix: there is no page behind this one.
    pub(super) is_last: bool,
}

impl Stretch<'_> {
    /// The rows of the stretch.
    fn range(&self) -> Option<KeyRange> {
        let all = key::inventory_range(self.prefix);
        let all = match self.after {
            Some(after) => all.after(&key::inventory_prefix(after)),
            None => all,
        };
        match self.through {
            _ if self.is_last => Some(all),
            Some(through) => {
                let mut end = key::inventory_prefix(through);
                end.push(0);
                Some(KeyRange { end: Some(end), ..all })
            }
            None => None,
        }
    }
}

/// A batch in the making, and what it adds to the totals.
struct Stock<'a> {
    bucket: &'a Bucket,
    batch: Batch,
    objects: i64,
    bytes: i64,
}

impl Shadow {
    /// Makes the inventory of `stretch` hold those of `listed` that are cold, and nothing else.
    pub(super) async fn take_stock(&self, bucket: &Bucket, listed: &[ListedObject], stretch: &Stretch<'_>) -> Result<()> {
        let mut after = stretch.after;
        for (number, chunk) in listed.chunks(KEYS_AT_ONCE).enumerate() {
            let through = chunk.last().map(|object| object.key.as_str());
            let is_last = stretch.is_last && (number + 1) * KEYS_AT_ONCE >= listed.len();
            self.take_stock_of(bucket, chunk, &Stretch { after, through, is_last, ..*stretch }).await?;
            after = through;
        }
        if listed.is_empty() { self.take_stock_of(bucket, &[], stretch).await } else { Ok(()) }
    }

    async fn take_stock_of(&self, bucket: &Bucket, listed: &[ListedObject], stretch: &Stretch<'_>) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let mut stock = Stock {
                bucket,
                batch: Batch::new(bucket.partition).check(key::settings(), Expect::Revision(bucket.revision)),
                objects: 0,
                bytes: 0,
            };
            let (known, more) = self.known(bucket, listed, stretch, &mut stock).await?;
            if !more {
                self.compare(bucket, listed, &known, &mut stock).await?;
            }
            if stock.batch.writes.is_empty() && !more {
                return Ok(());
            }
            match self.native().meta().commit(stock.finish()).await {
                Ok(_) if more => {}
                Ok(_) => return Ok(()),
                Err(umbra_meta::Error::Conflict { key, .. }) if key != key::settings() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "keys keep changing while the origin is listed; please try again"))
    }

    /// The rows that are there for `listed`. Rows of keys that are not listed are dropped; true when there may be more of those.
    async fn known(
        &self,
        bucket: &Bucket,
        listed: &[ListedObject],
        stretch: &Stretch<'_>,
        stock: &mut Stock<'_>,
    ) -> Result<(HashMap<String, Entry>, bool)> {
        let mut known = HashMap::new();
        let Some(range) = stretch.range() else { return Ok((known, false)) };
        let rows = self.native().meta().scan(bucket.partition, range, GONE_AT_ONCE, Projection::Head).await?;
        let more = rows.len() == GONE_AT_ONCE;
        for row in rows {
            let Some(key) = key::parse_inventory(&row.key).map(str::to_owned) else { continue };
            if listed.binary_search_by(|object| object.key.as_str().as_bytes().cmp(key.as_bytes())).is_ok() {
                known.insert(key, row);
            } else {
                stock.drop_row(&row)?;
            }
        }
        Ok((known, more))
    }

    async fn compare(&self, bucket: &Bucket, listed: &[ListedObject], known: &HashMap<String, Entry>, stock: &mut Stock<'_>) -> Result<()> {
        let rows: Vec<_> = listed.iter().flat_map(|object| [key::object(&object.key), key::tombstone(&object.key)]).collect();
        let rows = self.native().meta().multi_get(bucket.partition, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?;
        let marked: HashSet<_> =
            self.marked(bucket, &listed.iter().map(|object| &object.key).collect::<Vec<_>>()).await?.into_iter().collect();
        for (object, rows) in listed.iter().zip(rows.chunks(2)) {
            let [here, tombstone] = rows else { continue };
            let gone = match tombstone {
                Some(entry) => decode::<Tombstone>("tombstone", &entry.body)?.generation == bucket.settings.generation,
                None => false,
            };
            let row = known.get(object.key.as_str());
            if here.is_some() || gone || marked.contains(&object.key) {
                row.map_or(Ok(()), |row| stock.drop_row(row))?;
            } else {
                stock.put_row(object, tombstone.as_ref(), row)?;
            }
        }
        Ok(())
    }
}

impl Stock<'_> {
    /// Puts the row of a key that is cold, unless it says so already.
    fn put_row(&mut self, object: &ListedObject, tombstone: Option<&Entry>, row: Option<&Entry>) -> Result<()> {
        let scope = scope_of(self.bucket);
        let cold = Cold::of(scope, object);
        let before = row.map(Cold::decode).transpose()?.filter(|before| before.scope == scope);
        if before.as_ref() == Some(&cold) {
            return Ok(());
        }
        self.objects += i64::from(before.is_none());
        self.bytes += cold.size.cast_signed() - before.map_or(0, |before| before.size).cast_signed();
        let key: &ObjectKey = &object.key;
        let unchanged = |entry: Option<&Entry>| Expect::unchanged(entry.map(|entry| entry.revision));
        self.edit(|batch| {
            batch
                .check(key::object(key), Expect::Absent)
                .check(key::tombstone(key), unchanged(tombstone))
                .check(key::inventory(key), unchanged(row))
                .put(key::inventory(key), cold.head(), Bytes::new())
        });
        Ok(())
    }

    /// Drops a row, of whatever scope.
    fn drop_row(&mut self, row: &Entry) -> Result<()> {
        let cold = Cold::decode(row)?;
        if cold.scope == scope_of(self.bucket) {
            self.objects -= 1;
            self.bytes -= cold.size.cast_signed();
        }
        self.edit(|batch| batch.check(row.key.to_vec(), Expect::Revision(row.revision)).delete(row.key.to_vec()));
        Ok(())
    }

    fn edit(&mut self, edit: impl FnOnce(Batch) -> Batch) {
        let empty = Batch::new(self.batch.partition);
        self.batch = edit(std::mem::replace(&mut self.batch, empty));
    }

    fn finish(self) -> Batch {
        let totals = counters(scope_of(self.bucket)).into_iter().zip([self.objects, self.bytes]);
        totals.filter(|(_, delta)| *delta != 0).fold(self.batch, |batch, (counter, delta)| batch.add(counter, delta))
    }
}
