//! What is known of where a bucket's bytes are, and of what has to be done about it.

use std::collections::{BTreeMap, BTreeSet};

use umbra_core::{Result, Timestamp};
use umbra_meta::{MetaStore, Projection, counter_value, key};

use super::Audit;
use crate::{
    Bucket,
    placement::due::{self, DueCopy},
    record,
};

/// Rows looked at for the reason of a failure.
const ROWS: usize = 100;

/// Where a bucket's bytes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacementStatus {
    /// The latest audit, if there was any.
    pub audit: Option<Audit>,
    /// Copies that have to be made, by region.
    pub due: BTreeMap<String, DueCopies>,
}

/// Copies that have to be made in a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueCopies {
    /// How many.
    pub count: u64,
    /// How many of them failed before.
    pub failing: u64,
    /// Since when one of the longest waits.
    pub since: Option<Timestamp>,
    /// Why one of them failed last.
    pub reason: Option<String>,
}

/// What is known of where the bytes of `bucket` are.
pub(super) async fn placement_status(meta: &dyn MetaStore, bucket: &Bucket) -> Result<PlacementStatus> {
    let partition = bucket.partition;
    let audit = meta.get(partition, &key::audit()).await?.and_then(|entry| record::audit::decode(&entry.body).ok());
    let mut due = BTreeMap::new();
    let mut regions: BTreeSet<String> = due::regions_due(meta, partition).await?.into_iter().collect();
    regions.extend(audit.iter().flat_map(|audit| audit.findings.regions.keys().cloned()));
    for region in regions {
        let (all, failing) = (due::due_counter(&region), due::failing_counter(&region));
        let counters = meta.multi_get(partition, &[&all, &failing]).await?;
        let count = |at: usize| -> u64 {
            let entry = counters.get(at).and_then(Option::as_ref);
            let value = entry.and_then(|entry| counter_value(&entry.head)).unwrap_or(0);
            u64::try_from(value).unwrap_or(0)
        };
        let rows = meta.scan(partition, key::due_copies_of(&region), ROWS, Projection::Full).await?;
        let rows: Vec<_> = rows.into_iter().filter_map(DueCopy::decode).collect();
        if rows.is_empty() {
            continue;
        }
        let since = rows.iter().map(|row| row.record.since).min();
        let reason = rows.into_iter().filter(|row| row.record.failures > 0).max_by_key(|row| row.at).and_then(|row| row.record.reason);
        due.insert(region, DueCopies { count: count(0), failing: count(1), since, reason });
    }
    Ok(PlacementStatus { audit, due })
}
