//! Writes to the origin, held back while its shadow is being changed.
//!
//! A write that is at the origin when the shadow goes away could not be applied here any more, and nobody would be left to repair it. So writes
//! are held back first, then those under way are waited for, and then it is seen whether one of them is half done.

use std::time::Duration;

use parking_lot::Mutex;
use umbra_core::{Error, ErrorKind, Result};
use umbra_meta::Partition;
use umbra_store::Bucket;

use crate::{Shadow, intent::LiveIntents};

/// How long writes in progress may take to end.
const WRITES_END_WITHIN: Duration = Duration::from_secs(60);
/// How often to look whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// As long as it lives no write to the origin of a bucket begins.
pub(crate) struct HeldBack {
    shadow: Shadow,
    partition: Partition,
}

impl Shadow {
    /// Holds the writes to the origin of a bucket back, and waits for those under way. Not for copies back: those stand here already.
    pub(crate) async fn hold_writes_back(&self, bucket: &Bucket) -> Result<HeldBack> {
        let held = HeldBack { shadow: self.clone(), partition: bucket.partition };
        *self.0.held_back.lock().entry(bucket.partition).or_default() += 1;
        ended(|| !has_any(&self.0.live_intents, bucket), "writes to the origin are still under way; please try again").await?;
        Ok(held)
    }

    /// Whether no write to the origin of a bucket may begin now.
    pub(crate) fn holds_writes_back(&self, bucket: &Bucket) -> bool {
        self.0.held_back.lock().contains_key(&bucket.partition)
    }

    /// Waits for the writes and copies to the origin of a bucket that began before its shadow was changed: after that nothing goes there.
    pub(crate) async fn writes_in_progress_end(&self, bucket: &Bucket) -> Result<()> {
        let late = "the shadow is changed, but writes to the origin that began before are still under way";
        ended(|| !has_any(&self.0.live_intents, bucket) && !has_any(&self.0.live_copies, bucket), late).await
    }
}

/// Waits until `is_over`; says `late` when that takes too long.
async fn ended(is_over: impl Fn() -> bool, late: &'static str) -> Result<()> {
    let over = async {
        while !is_over() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(WRITES_END_WITHIN, over).await.map_err(|_| Error::new(ErrorKind::Unavailable, late))
}

fn has_any(live: &Mutex<LiveIntents>, bucket: &Bucket) -> bool {
    live.lock().keys().any(|(of, _)| *of == bucket.partition)
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        let mut held = self.shadow.0.held_back.lock();
        if let Some(count) = held.get_mut(&self.partition) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.partition);
            }
        }
    }
}
