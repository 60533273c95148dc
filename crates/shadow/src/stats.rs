//! What a shadow did: counted per bucket, shown in status and metrics.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use umbra_core::Timestamp;
use umbra_meta::Partition;

const LAST_ERRORS_MAX: usize = 10;

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
pub(crate) struct StatsByBucket(Mutex<HashMap<Partition, Arc<Stats>>>);

impl StatsByBucket {
    /// The counts of one bucket.
    pub(crate) fn of(&self, partition: Partition) -> Arc<Stats> {
        self.0.lock().entry(partition).or_default().clone()
    }

    /// Forgets a bucket.
    pub(crate) fn forget(&self, partition: Partition) {
        self.0.lock().remove(&partition);
    }
}
