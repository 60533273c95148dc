//! What a shadow did: counted per bucket, shown in status and metrics.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_core::Timestamp;
use umbra_meta::Partition;

const LAST_ERRORS_MAX: usize = 10;
/// Requests in a row that must go unanswered before an answer means that the origin is back: one that answers now and then was never away.
const AWAY_AFTER: u32 = 3;

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one bucket's shadow since the server started.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) origin_requests: Count,
    pub(crate) origin_bytes: Count,
    /// Bytes that left the origin and are here to stay.
    pub(crate) moved_bytes: Count,
    pub(crate) hydrated_objects: Count,
    pub(crate) hydrated_bytes: Count,
    pub(crate) local_reads: Count,
    pub(crate) cold_reads: Count,
    pub(crate) discarded_copies: Count,
    pub(crate) last_errors: Mutex<VecDeque<OriginFault>>,
    /// Requests in a row that the origin did not answer.
    unanswered: AtomicU32,
    has_come_back: AtomicBool,
    back: Arc<Notify>,
}

/// Something the origin did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginFault {
    /// When.
    pub at: Timestamp,
    /// What was being done.
    pub doing: &'static str,
    /// What went wrong, without secrets.
    pub message: String,
}

impl Stats {
    /// Notes whether the origin answered at all.
    pub(crate) fn note_answer(&self, answered: bool) {
        if !answered {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        } else if self.unanswered.load(Ordering::Relaxed) > 0 && self.unanswered.swap(0, Ordering::Relaxed) >= AWAY_AFTER {
            self.has_come_back.store(true, Ordering::Release);
            self.back.notify_one();
        }
    }

    /// Whether the origin came back after it had been away, since this was last asked.
    pub(crate) fn has_come_back(&self) -> bool {
        self.has_come_back.swap(false, Ordering::AcqRel)
    }

    /// Remembers a fault of the origin, the latest few.
    pub(crate) fn fault(&self, fault: OriginFault) {
        let mut last = self.last_errors.lock();
        last.push_back(fault);
        if last.len() > LAST_ERRORS_MAX {
            last.pop_front();
        }
    }
}

/// The counts of every bucket.
#[derive(Debug, Default)]
pub(crate) struct StatsByBucket {
    buckets: Mutex<HashMap<Partition, Arc<Stats>>>,
    /// Told when an origin is back that had been away.
    pub(crate) back: Arc<Notify>,
}

impl StatsByBucket {
    /// The counts of one bucket.
    pub(crate) fn of(&self, partition: Partition) -> Arc<Stats> {
        let made = || Arc::new(Stats { back: self.back.clone(), ..Stats::default() });
        self.buckets.lock().entry(partition).or_insert_with(made).clone()
    }

    /// Forgets a bucket.
    pub(crate) fn forget(&self, partition: Partition) {
        self.buckets.lock().remove(&partition);
    }
}
