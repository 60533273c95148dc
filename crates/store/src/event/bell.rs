//! The ear of whoever delivers events.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_core::BucketName;

/// Buckets remembered at most. What rings past it is found when its bucket rings again, or at the next start.
const BUCKETS_MAX: usize = 65_536;

/// Rings when a bucket has something to tell. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct EventBell(Arc<Shared>);

#[derive(Default)]
struct Shared {
    rung: Mutex<HashSet<BucketName>>,
    wake: Notify,
}

impl EventBell {
    /// Says that `bucket` has something to tell, or tells others now.
    pub fn ring(&self, bucket: &BucketName) {
        let mut rung = self.0.rung.lock();
        let is_new = rung.len() < BUCKETS_MAX && rung.insert(bucket.clone());
        drop(rung);
        if is_new {
            self.0.wake.notify_one();
        }
    }

    /// The buckets that rang since the last time.
    pub fn take(&self) -> HashSet<BucketName> {
        std::mem::take(&mut *self.0.rung.lock())
    }

    /// Waits for it to ring, at most `limit`.
    pub async fn wait(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.0.wake.notified()).await;
    }
}

impl fmt::Debug for EventBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBell").field("rung", &self.0.rung.lock().len()).finish()
    }
}
