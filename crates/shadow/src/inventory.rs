//! The inventory: what still lives only at the origin, exactly, and without asking it.
//!
//! A listing pass ([`pass::InventoryPass`], a job) puts a row for every cold key, and counters keep the totals in the same batches. From then on
//! whatever makes a key warm takes its row out in its own commit ([`removal`]): hydrations, puts, deletes, copies, completions, repairs.
//!
//! # Invariants
//! - A row is put only by a batch that checks that the key has no object and no tombstone of this generation; so no race leaves a row for
//!   a key that is here or gone.
//! - The counters of a scope are the sums over its rows.
//! - Rows of another scope, an earlier generation or another origin, count for nothing.

mod pass;
mod stock;

use minicbor::{CborLen, Decode, Encode};
use umbra_core::{Entity, Error, ErrorKind, ObjectKey, RequestContext, Result};
use umbra_meta::{Batch, Entry, Expect, KeyRange, Projection, counter_value, key};
use umbra_store::{Bucket, CounterChanges, ListedObject, Native, Removal};

pub(crate) use self::pass::InventoryPass;
use crate::{
    Shadow,
    origin::Origin,
    record::{decode, encode},
    shadow::scope_of,
};

/// A cold key, as the origin's listing tells of it: the head of row `i/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Cold {
    /// Which origin, in which generation, it is known of ([`scope_of`]).
    #[n(0)]
    pub(crate) scope: u64,
    /// Bytes of content.
    #[n(1)]
    pub(crate) size: u64,
    /// The ETag.
    #[n(2)]
    pub(crate) etag: String,
    /// When it was last written, in milliseconds since 1970.
    #[n(3)]
    pub(crate) last_modified: i64,
    /// Its storage class, unless STANDARD.
    #[n(4)]
    pub(crate) storage_class: Option<String>,
}

/// How much lives only at the origin, as far as it was listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdTotals {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A page of the inventory.
#[derive(Debug, Default)]
pub(crate) struct ColdPage {
    /// Cold keys of this scope.
    pub(crate) keys: Vec<(ObjectKey, Cold)>,
    /// The last key that was looked at, of whatever scope.
    pub(crate) last: Option<String>,
    /// Whether there may be more behind it.
    pub(crate) more: bool,
}

impl Cold {
    fn of(scope: u64, listed: &ListedObject) -> Self {
        Self {
            scope,
            size: listed.size,
            etag: listed.etag.as_str().to_owned(),
            last_modified: listed.last_modified.as_millis(),
            storage_class: listed.storage_class.clone(),
        }
    }

    pub(crate) fn decode(entry: &Entry) -> Result<Self> {
        decode("inventory", &entry.head)
    }
}

/// The counters of a scope: objects and bytes.
fn counters(scope: u64) -> [Vec<u8>; 2] {
    ["objects", "bytes"].map(|what| key::counter(&format!("cold/{scope:016x}/{what}")))
}

/// What takes `key` out of the inventory, in the commit that makes it warm.
pub(crate) fn removal(key: &ObjectKey) -> Removal {
    Removal { key: key::inventory(key), counts: uncount }
}

fn uncount(entry: &Entry) -> Result<CounterChanges> {
    let cold = Cold::decode(entry)?;
    let [objects, bytes] = counters(cold.scope);
    let all = [(objects, -1), (bytes, -cold.size.cast_signed())];
    Ok(all.into_iter().filter(|(_, delta)| *delta != 0).collect())
}

/// How many bytes `key` has by the origin's listing, if it is in the inventory.
pub(crate) async fn listed_size(native: &Native, bucket: &Bucket, key: &ObjectKey) -> Result<Option<u64>> {
    let row = native.meta().get(bucket.partition, &key::inventory(key)).await?;
    let cold = row.map(|row| Cold::decode(&row)).transpose()?;
    Ok(cold.filter(|cold| cold.scope == scope_of(bucket)).map(|cold| cold.size))
}

/// The ranges of rows that an inventory of any scope has.
pub(crate) fn ranges() -> [KeyRange; 2] {
    [key::inventory_range(""), key::counter_range("cold/")]
}

impl Shadow {
    /// What the inventory holds.
    pub async fn cold_totals(&self, bucket: &Bucket) -> Result<ColdTotals> {
        let keys = counters(scope_of(bucket));
        let rows = self.native().meta().multi_get(bucket.partition, &keys.each_ref().map(Vec::as_slice)).await?;
        let value = |row: Option<&Option<Entry>>| match row {
            Some(Some(entry)) => u64::try_from(counter_value(&entry.head).unwrap_or(0)).unwrap_or(0),
            _ => 0,
        };
        Ok(ColdTotals { objects: value(rows.first()), bytes: value(rows.get(1)) })
    }

    /// The cold keys among the first `limit` rows of `range`.
    pub(crate) async fn cold_page(&self, bucket: &Bucket, range: KeyRange, limit: usize) -> Result<ColdPage> {
        let rows = self.native().meta().scan(bucket.partition, range, limit, Projection::Head).await?;
        let mut page = ColdPage { more: rows.len() == limit, ..ColdPage::default() };
        for row in &rows {
            let Some(key) = key::parse_inventory(&row.key) else { continue };
            page.last = Some(key.to_owned());
            let cold = Cold::decode(row)?;
            if cold.scope == scope_of(bucket) {
                page.keys.push((ObjectKey::parse(key)?, cold));
            }
        }
        Ok(page)
    }

    /// Whether the inventory holds `key`.
    pub(crate) async fn is_in_inventory(&self, bucket: &Bucket, key: &ObjectKey) -> Result<bool> {
        Ok(listed_size(self.native(), bucket, key).await?.is_some())
    }

    /// Takes a key out that the origin says is not there; only if it says so once more, now that the row was seen.
    pub(crate) async fn gone_at_origin(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, origin: &dyn Origin) -> Result<()> {
        let row = key::inventory(key);
        let Some(entry) = self.native().meta().get(bucket.partition, &row).await? else { return Ok(()) };
        match origin.head(&self.path(cx, bucket), key).await {
            Err(error) if error.is_not_found() => {}
            _ => return Ok(()),
        }
        let batch =
            Batch::new(bucket.partition).check(key::settings(), Expect::Exists).check(row.clone(), Expect::Revision(entry.revision));
        let batch = uncount(&entry)?.into_iter().fold(batch.delete(row), |batch, (counter, delta)| batch.add(counter, delta));
        match self.native().meta().commit(batch).await.map_err(Error::from) {
            // Whoever changed the row knows better.
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    /// Corrects the inventory after a read that found nothing. What goes wrong here is no reason for the read to end otherwise.
    pub(crate) async fn note_absence<T>(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        origin: &dyn Origin,
        read: Result<T>,
    ) -> Result<T> {
        if let Err(error) = &read
            && error.kind() == ErrorKind::NotFound(Entity::Object)
            && let Err(error) = self.gone_at_origin(cx, bucket, key, origin).await
        {
            tracing::warn!(bucket = %bucket.name, %key, error = ?error, "the inventory keeps a key that is gone at the origin");
        }
        read
    }
}

impl Cold {
    /// The bytes of the row's head.
    fn head(&self) -> Vec<u8> {
        encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Cold;
    use crate::record::{decode, encode};

    /// The first format, written once and readable for ever.
    #[test]
    fn records_of_the_first_format_are_read() {
        let golden: &[u8] = b"\x01\x85\x07\x03\x61e\x18\x2agGLACIER";
        let cold = Cold { scope: 7, size: 3, etag: "e".into(), last_modified: 42, storage_class: Some("GLACIER".into()) };
        assert_eq!(encode(&cold), golden);
        assert_eq!(decode::<Cold>("inventory", golden).unwrap(), cold);
    }
}
