//! What a shadow did: counted per bucket and generation, shown in status and metrics.
//!
//! Counts are added to in memory and saved in the background (`counters.rs`), so that they survive restarts.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_core::{BucketName, ObjectKey, Timestamp};
use umbra_meta::Partition;
use umbra_store::Bucket;

use crate::uncarried::UncarriedReason;

const LAST_ERRORS_MAX: usize = 10;
/// Requests in a row that must go unanswered before an answer means that the origin is back: one that answers now and then was never away.
const AWAY_AFTER: u32 = 3;

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count {
    total: AtomicU64,
    /// How much of it is in the store.
    saved: AtomicU64,
}

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.total.fetch_add(n, Ordering::Relaxed);
    }

    /// How much of it is not in the store yet.
    pub(crate) fn unsaved(&self) -> u64 {
        self.total.load(Ordering::Relaxed) - self.saved.load(Ordering::Relaxed)
    }

    /// Notes that `n` more of it are in the store.
    pub(crate) fn save(&self, n: u64) {
        self.saved.fetch_add(n, Ordering::Relaxed);
    }
}

/// Declares the counts: the ones that grow in memory, and their values. A count's name is that of its row: it must not change.
macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// The counts of one bucket's shadow since the server started.
        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $($(#[doc = $doc])+ pub(crate) $name: Count,)*
        }

        impl Counts {
            /// Every count with its name.
            pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, &Count)> {
                [$((stringify!($name), &self.$name)),*].into_iter()
            }
        }

        /// What a shadow did in this generation, restarts or not.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ShadowCounts {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        impl ShadowCounts {
            /// Adds to the count called `name`; one that a later release counts is left alone.
            pub(crate) fn add(&mut self, name: &str, n: u64) {
                match name {
                    $(stringify!($name) => self.$name = self.$name.saturating_add(n),)*
                    _ => {}
                }
            }
        }
    };
}

counts! {
    /// Reads of objects and of ranges asked of the origin.
    origin_gets,
    /// Reads of headers asked of the origin.
    origin_heads,
    /// Pages of listings asked of the origin.
    origin_lists,
    /// Objects sent to the origin.
    origin_puts,
    /// Deletes asked of the origin.
    origin_deletes,
    /// Tags read or written at the origin.
    origin_tags,
    /// Requests of multipart uploads: create, put a part, list parts, complete, abort.
    origin_multiparts,
    /// Bytes of content that left the origin to be read here or to stay.
    origin_bytes,
    /// Bytes of content brought here and kept, each counted once.
    moved_bytes,
    /// Objects brought here whole.
    hydrated_objects,
    /// Their bytes.
    hydrated_bytes,
    /// Copies thrown away because something newer was here, or because they could not be kept.
    discarded_copies,
    /// Their bytes.
    discarded_bytes,
    /// Reads answered from here.
    local_reads,
    /// Bytes of content sent to clients from here.
    local_bytes,
    /// Reads answered from the origin, or while the object came in.
    cold_reads,
    /// Bytes of content sent to clients by them.
    cold_bytes,
    /// Times that the origin was asked whether an object brought here is still the same.
    revalidations,
    /// Times that it was not.
    revalidated_changes,
    /// Bytes of content that left the origin only to be compared with what is here.
    compared_bytes,
}

impl ShadowCounts {
    /// Requests to the origin, of every kind.
    pub const fn origin_requests(&self) -> u64 {
        self.origin_gets
            + self.origin_heads
            + self.origin_lists
            + self.origin_puts
            + self.origin_deletes
            + self.origin_tags
            + self.origin_multiparts
    }

    /// Bytes of content that left the origin for whatever reason: what its provider charges for.
    pub const fn charged_bytes(&self) -> u64 {
        self.origin_bytes.saturating_add(self.compared_bytes)
    }

    /// How many bytes left the origin for each one moved here, in thousandths: 1000 when none left it twice. `None` before anything moved.
    /// What was only compared moved nothing and is left out.
    pub fn egress_thousandths(&self) -> Option<u64> {
        let moved = u128::from(self.moved_bytes);
        (moved > 0).then(|| u64::try_from((u128::from(self.origin_bytes) * 1000 + moved / 2) / moved).unwrap_or(u64::MAX))
    }

    /// The same as a number, to three decimals.
    pub fn egress_ratio(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "three decimals are shown")]
        self.egress_thousandths().map(|thousandths| thousandths as f64 / 1000.0)
    }

    /// Bytes sent to clients that did not leave the origin for it: all that was sent from here, and of what cold reads were sent all that
    /// they shared. Bytes that left the origin without a reader count against the latter, so this is never too much.
    pub const fn saved_bytes(&self) -> u64 {
        self.local_bytes.saturating_add(self.cold_bytes.saturating_sub(self.origin_bytes))
    }
}

/// The counts and the latest faults of one bucket's shadow in one generation.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// The generation they belong to.
    pub(crate) generation: u64,
    counts: Counts,
    /// When the origin last answered, in milliseconds since 1970; 0 for never.
    answered: AtomicI64,
    /// Faults since it last answered.
    faults_in_a_row: AtomicU64,
    pub(crate) last_errors: Mutex<VecDeque<OriginFault>>,
    /// Requests in a row that the origin did not answer.
    unanswered: AtomicU32,
    has_come_back: AtomicBool,
    back: Arc<Notify>,
    /// What was noted lately of objects that cannot be carried over.
    pub(crate) noted: Mutex<HashSet<(ObjectKey, Vec<UncarriedReason>)>>,
    /// Held while counts go to the store, and while they are added up.
    pub(crate) saving: tokio::sync::Mutex<()>,
}

impl Deref for Stats {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.counts
    }
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

    fn has_come_back(&self) -> bool {
        self.has_come_back.swap(false, Ordering::AcqRel)
    }

    /// Notes that the origin answered as an origin does.
    pub(crate) fn answered(&self, now: Timestamp) {
        self.answered.store(now.as_millis(), Ordering::Relaxed);
        self.faults_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Remembers a fault of the origin, the latest few.
    pub(crate) fn fault(&self, fault: OriginFault) {
        self.faults_in_a_row.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_errors.lock();
        last.push_back(fault);
        if last.len() > LAST_ERRORS_MAX {
            last.pop_front();
        }
    }

    /// When the origin last answered, and how many faults followed.
    pub(crate) fn latest(&self) -> (Option<Timestamp>, u64) {
        let answered = self.answered.load(Ordering::Relaxed);
        ((answered > 0).then(|| Timestamp::from_millis(answered)), self.faults_in_a_row.load(Ordering::Relaxed))
    }
}

/// The counts of every bucket with a shadow that did something, or has one since the server started.
#[derive(Debug, Default)]
pub(crate) struct StatsByBucket {
    buckets: Mutex<HashMap<Partition, (BucketName, Arc<Stats>)>>,
    /// Told when an origin is back that had been away.
    pub(crate) back: Arc<Notify>,
}

impl StatsByBucket {
    /// The counts of one bucket in its generation. Those of an earlier one end here; a request that still works with an earlier one
    /// counts for nobody.
    pub(crate) fn of(&self, bucket: &Bucket) -> Arc<Stats> {
        let generation = bucket.settings.generation;
        let mut all = self.buckets.lock();
        if let Some((_, stats)) = all.get(&bucket.partition) {
            if stats.generation == generation {
                return stats.clone();
            }
            if stats.generation > generation {
                return Arc::new(Stats { generation, ..Stats::default() });
            }
        }
        let stats = Arc::new(Stats { generation, back: self.back.clone(), ..Stats::default() });
        all.insert(bucket.partition, (bucket.name.clone(), stats.clone()));
        stats
    }

    /// Whether the origin of a bucket came back after it had been away, since this was last asked.
    pub(crate) fn has_come_back(&self, partition: Partition) -> bool {
        self.buckets.lock().get(&partition).is_some_and(|(_, stats)| stats.has_come_back())
    }

    /// Forgets a bucket.
    pub(crate) fn forget(&self, partition: Partition) {
        self.buckets.lock().remove(&partition);
    }

    /// Forgets these counts and no others.
    pub(crate) fn end(&self, stats: &Arc<Stats>) {
        self.buckets.lock().retain(|_, (_, known)| !Arc::ptr_eq(known, stats));
    }

    /// Every bucket with its counts, by name.
    pub(crate) fn all(&self) -> Vec<(BucketName, Arc<Stats>)> {
        let mut all: Vec<_> = self.buckets.lock().values().cloned().collect();
        all.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, ShadowCounts};

    #[test]
    fn egress_is_told_in_thousandths() {
        for (origin_bytes, moved_bytes, expected) in [
            (0, 0, None),
            (5, 0, None),
            (1000, 1000, Some(1000)),
            (1001, 1000, Some(1001)),
            (2500, 2000, Some(1250)),
            (2, 3, Some(667)),
            (u64::MAX, 1, Some(u64::MAX)),
        ] {
            let counts = ShadowCounts { origin_bytes, moved_bytes, ..ShadowCounts::default() };
            assert_eq!(counts.egress_thousandths(), expected, "{origin_bytes} / {moved_bytes}");
        }
    }

    #[test]
    fn what_was_saved_is_never_too_much() {
        for (local_bytes, cold_bytes, origin_bytes, saved) in
            [(0, 0, 0, 0), (10, 0, 5, 10), (0, 50, 5, 45), (10, 50, 5, 55), (10, 5, 50, 10), (u64::MAX, 9, 0, u64::MAX)]
        {
            let counts = ShadowCounts { local_bytes, cold_bytes, origin_bytes, ..ShadowCounts::default() };
            assert_eq!(counts.saved_bytes(), saved, "{counts:?}");
        }
    }

    #[test]
    fn counts_are_added_by_name() {
        let mut counts = ShadowCounts::default();
        counts.add("origin_gets", 2);
        counts.add("origin_lists", 3);
        counts.add("of_a_later_release", 7);
        assert_eq!((counts.origin_gets, counts.origin_lists, counts.origin_requests()), (2, 3, 5));
    }

    #[test]
    fn what_is_compared_costs_and_moves_nothing() {
        let counts =
            ShadowCounts { origin_bytes: 1000, moved_bytes: 1000, compared_bytes: 500, cold_bytes: 1200, ..ShadowCounts::default() };
        assert_eq!((counts.egress_thousandths(), counts.charged_bytes(), counts.saved_bytes()), (Some(1000), 1500, 200));
    }

    /// A count's name is that of its row: once released it is read for ever. New ones come behind.
    #[test]
    fn the_names_of_counts_stay() {
        let counts = Counts::default();
        let names: Vec<_> = counts.each().map(|(name, _)| name).collect();
        assert_eq!(names.join(" "), GOLDEN_NAMES);
    }

    const GOLDEN_NAMES: &str = "origin_gets origin_heads origin_lists origin_puts origin_deletes origin_tags origin_multiparts origin_bytes \
        moved_bytes hydrated_objects hydrated_bytes discarded_copies discarded_bytes local_reads local_bytes cold_reads cold_bytes \
        revalidations revalidated_changes compared_bytes";
}
