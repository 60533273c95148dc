//! What a person wants to know of a shadow.

use umbra_core::{ObjectKey, Result};
use umbra_store::Bucket;

use crate::{
    Shadow,
    health::{Health, Signs, judge},
    repairs::PendingRepair,
    stats::{OriginFault, ShadowCounts, Stats},
    uncarried::UncarriedReason,
};

/// Keys named in a status.
const KEYS_SHOWN: usize = 100;
/// Objects looked at of which something could not be carried.
const UNCARRIED_LOOKED_AT: usize = 1000;
/// Of these, how many are named for each reason.
const UNCARRIED_NAMED: usize = 3;

/// The state of a shadow.
#[derive(Clone, Debug)]
pub struct ShadowStatus {
    /// The origin's endpoint.
    pub endpoint: String,
    /// The region requests are signed for.
    pub region: String,
    /// The origin's bucket.
    pub bucket: String,
    /// The access key at the origin. The secret is never told.
    pub access_key: String,
    /// Whether writes go to the origin first.
    pub write_through: bool,
    /// Grows each time a shadow is set or cleared.
    pub generation: u64,
    /// What it did in this generation.
    pub counts: ShadowCounts,
    /// How it is doing.
    pub health: Health,
    /// Of how many objects something could not be carried over, and why.
    pub uncarried: Vec<UncarriedSummary>,
    /// Write-throughs that are half done, at most a hundred.
    pub pending_repairs: Vec<PendingRepair>,
    /// The latest faults of the origin.
    pub last_errors: Vec<OriginFault>,
}

/// The objects of which something could not be carried over for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncarriedSummary {
    /// The reason.
    pub reason: UncarriedReason,
    /// How many there are. Beyond the first thousand, some may be counted that are none any more.
    pub objects: u64,
    /// A few of them.
    pub keys: Vec<ObjectKey>,
}

impl Shadow {
    /// The state of a bucket's shadow; `None` when it has none.
    pub async fn status(&self, bucket: &Bucket) -> Result<Option<ShadowStatus>> {
        let Some(settings) = &bucket.settings.shadow else { return Ok(None) };
        let stats = self.stats(bucket);
        let last_errors: Vec<_> = stats.last_errors.lock().iter().cloned().collect();
        let pending_repairs = self.repair_queue(bucket, KEYS_SHOWN).await?;
        let health = self.health(&stats, pending_repairs.len());
        Ok(Some(ShadowStatus {
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            bucket: settings.bucket.clone(),
            access_key: settings.access_key.clone(),
            write_through: settings.write_through,
            generation: bucket.settings.generation,
            counts: self.counts(bucket).await?,
            health,
            uncarried: self.uncarried_summary(bucket).await?,
            pending_repairs,
            last_errors,
        }))
    }

    /// The verdict on a shadow of which so many writes are half done.
    pub(crate) fn health(&self, stats: &Stats, repairs: usize) -> Health {
        let faults: Vec<_> = stats.last_errors.lock().iter().cloned().collect();
        judge(Signs { now: self.0.clock.now(), latest: stats.latest(), faults: &faults, repairs })
    }

    /// Costs nothing more than a look at the counters for a bucket whose objects could all be carried.
    async fn uncarried_summary(&self, bucket: &Bucket) -> Result<Vec<UncarriedSummary>> {
        if self.uncarried_counts(bucket).await?.is_empty() {
            return Ok(Vec::new());
        }
        // Looking at the first page also drops from it what time has overtaken.
        let (some, _) = self.uncarried(bucket, None, UNCARRIED_LOOKED_AT).await?;
        let counts = self.uncarried_counts(bucket).await?;
        let keys = |reason| some.iter().filter(move |object| object.reasons.contains(&reason)).map(|object| object.key.clone());
        let summary = |(reason, objects)| UncarriedSummary { reason, objects, keys: keys(reason).take(UNCARRIED_NAMED).collect() };
        Ok(counts.into_iter().map(summary).collect())
    }
}
