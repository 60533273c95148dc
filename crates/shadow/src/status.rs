//! What a person wants to know of a shadow.

use umbra_core::Result;
use umbra_store::Bucket;

use crate::{Shadow, repairs::PendingRepair, stats::OriginFault};

/// Keys named in a status.
const KEYS_SHOWN: usize = 100;

/// The state of a shadow. Counts run since the server started.
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
    /// Requests to the origin.
    pub origin_requests: u64,
    /// Bytes of content that left the origin.
    pub origin_bytes: u64,
    /// Objects brought in.
    pub hydrated_objects: u64,
    /// Their bytes.
    pub hydrated_bytes: u64,
    /// Copies thrown away because something newer was here.
    pub discarded_copies: u64,
    /// Reads answered from here.
    pub local_reads: u64,
    /// Reads answered from the origin.
    pub cold_reads: u64,
    /// Write-throughs that are half done, at most a hundred.
    pub pending_repairs: Vec<PendingRepair>,
    /// The latest faults of the origin.
    pub last_errors: Vec<OriginFault>,
}

impl Shadow {
    /// The state of a bucket's shadow; `None` when it has none.
    pub async fn status(&self, bucket: &Bucket) -> Result<Option<ShadowStatus>> {
        let Some(settings) = &bucket.settings.shadow else { return Ok(None) };
        let stats = self.stats(bucket);
        let last_errors = stats.last_errors.lock().iter().cloned().collect();
        Ok(Some(ShadowStatus {
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            bucket: settings.bucket.clone(),
            access_key: settings.access_key.clone(),
            write_through: settings.write_through,
            generation: bucket.settings.generation,
            origin_requests: stats.origin_requests.get(),
            origin_bytes: stats.origin_bytes.get(),
            hydrated_objects: stats.hydrated_objects.get(),
            hydrated_bytes: stats.hydrated_bytes.get(),
            discarded_copies: stats.discarded_copies.get(),
            local_reads: stats.local_reads.get(),
            cold_reads: stats.cold_reads.get(),
            pending_repairs: self.repair_queue(bucket, KEYS_SHOWN).await?,
            last_errors,
        }))
    }
}
