//! The reclaimer's ear: which partitions to look at, when, and which blobs to leave alone.
//!
//! Of readers in other processes it is told by the marks of what they have pinned for a while ([`ReclaimHandle::long_pinned`]): a blob
//! outlives its last reference by the grace, so whoever has read for less than that needs no pin yet. A mark is eight bytes; should two blobs have the same,
//! one of them stays a little longer.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use md5::{Digest, Md5};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use umbra_blob::BlobId;
use umbra_core::Timestamp;
use umbra_meta::Partition;

/// Marks of pinned blobs that one process tells another of at most: those of several slow readers of the largest objects there can be. Past it, the grace is
/// the limit for those who began last.
const MARKS_MAX: usize = 64 * 1024;
/// For how long what another process told holds: as long as it takes to find out that a process is gone.
const TOLD_HOLDS: Duration = Duration::from_secs(60);

/// How writers and readers talk to the [`crate::Reclaimer`]. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct ReclaimHandle(Arc<Shared>);

struct Shared {
    grace: Duration,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    due: BTreeMap<Partition, Timestamp>,
    pins: HashMap<u64, Pinned>,
    pins_issued: u64,
    /// The marks of what other processes have pinned, and when they told.
    elsewhere: HashMap<String, (HashSet<u64>, Instant)>,
    /// Until then nothing is reclaimed.
    listens_until: Option<Instant>,
    stopping: bool,
}

struct Pinned {
    blobs: Vec<BlobId>,
    since: Instant,
}

/// What is to be left alone.
pub(super) struct LeftAlone {
    here: HashSet<BlobId>,
    elsewhere: HashSet<u64>,
}

impl LeftAlone {
    pub(super) fn contains(&self, blob: &BlobId) -> bool {
        self.here.contains(blob) || (!self.elsewhere.is_empty() && self.elsewhere.contains(&mark(blob)))
    }
}

impl ReclaimHandle {
    /// How long a blob outlives its last reference, unless said otherwise.
    pub const GRACE: Duration = Duration::from_secs(300);

    /// A handle that lets blobs outlive their last reference by `grace`.
    pub fn new(grace: Duration) -> Self {
        Self(Arc::new(Shared { grace, state: Mutex::default(), wake: Notify::new() }))
    }

    /// How long a blob outlives its last reference.
    pub fn grace(&self) -> Duration {
        self.0.grace
    }

    /// Says that `partition` holds something to reclaim at `due`.
    pub fn nudge(&self, partition: Partition, due: Timestamp) {
        let mut state = self.0.state.lock();
        let earlier = state.due.values().all(|other| due < *other);
        state.due.entry(partition).and_modify(|at| *at = due.min(*at)).or_insert(due);
        drop(state);
        if earlier {
            self.0.wake.notify_one();
        }
    }

    /// Asks the reclaimer to stop after the batch at hand.
    pub fn stop(&self) {
        self.0.state.lock().stopping = true;
        self.0.wake.notify_one();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.state.lock().stopping
    }

    /// When the first partition is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.0.state.lock().due.values().min().copied()
    }

    /// Takes out the partitions that are due.
    pub fn take_due(&self, now: Timestamp) -> Vec<Partition> {
        let mut state = self.0.state.lock();
        let due: Vec<_> = state.due.iter().filter(|(_, at)| **at <= now).map(|(partition, _)| *partition).collect();
        for partition in &due {
            state.due.remove(partition);
        }
        due
    }

    /// Waits for news, at most `limit`.
    pub(super) async fn wait(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.0.wake.notified()).await;
    }

    /// Keeps `blobs` from being reclaimed in this process while the pin lives.
    pub(crate) fn pin(&self, blobs: Vec<BlobId>) -> Pin {
        let mut state = self.0.state.lock();
        let number = state.pins_issued;
        state.pins_issued += 1;
        state.pins.insert(number, Pinned { blobs, since: Instant::now() });
        Pin { shared: Arc::clone(&self.0), number }
    }

    /// The blobs that are pinned now, in any process.
    pub(super) fn left_alone(&self) -> LeftAlone {
        let state = self.0.state.lock();
        let told = state.elsewhere.values().filter(|(_, at)| at.elapsed() < TOLD_HOLDS);
        LeftAlone {
            here: state.pins.values().flat_map(|pinned| &pinned.blobs).cloned().collect(),
            elsewhere: told.flat_map(|(marks, _)| marks).copied().collect(),
        }
    }

    /// The marks of what has been pinned here for half the grace or longer, what was pinned first to begin with.
    pub fn long_pinned(&self) -> Vec<u64> {
        let state = self.0.state.lock();
        let mut long: Vec<_> = state.pins.values().filter(|pinned| pinned.since.elapsed() >= self.0.grace / 2).collect();
        long.sort_by_key(|pinned| pinned.since);
        long.into_iter().flat_map(|pinned| &pinned.blobs).take(MARKS_MAX).map(mark).collect()
    }

    /// Notes what `process` has told that it has [pinned](Self::long_pinned), in the place of what it told before.
    pub fn note_pinned(&self, process: &str, marks: Vec<u64>) {
        let elsewhere = &mut self.0.state.lock().elsewhere;
        elsewhere.retain(|_, (_, at)| at.elapsed() < TOLD_HOLDS);
        if marks.is_empty() {
            elsewhere.remove(process);
        } else {
            elsewhere.insert(process.to_owned(), (marks.into_iter().take(MARKS_MAX).collect(), Instant::now()));
        }
    }

    /// Has the reclaimer wait for so long before it begins, until other processes have told what they read.
    pub fn listen_first(&self, time: Duration) {
        self.0.state.lock().listens_until = Some(Instant::now() + time);
    }

    /// For how long nothing is to be reclaimed yet.
    pub(super) fn listens_for(&self) -> Option<Duration> {
        let until = self.0.state.lock().listens_until?;
        Some(until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }
}

impl fmt::Debug for ReclaimHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("ReclaimHandle").field("due", &state.due).field("pins", &state.pins.len()).finish_non_exhaustive()
    }
}

/// Keeps blobs from being reclaimed while it lives.
pub struct Pin {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.shared.state.lock().pins.remove(&self.number);
    }
}

/// What stands for a blob where it is told of to another process.
fn mark(blob: &BlobId) -> u64 {
    Md5::digest(blob.as_bytes()).iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use umbra_blob::BlobId;

    use super::{MARKS_MAX, ReclaimHandle, TOLD_HOLDS, mark};

    const GRACE: Duration = Duration::from_secs(100);

    fn blobs(names: std::ops::Range<usize>) -> Vec<BlobId> {
        names.map(|n| BlobId::from_bytes(&n.to_be_bytes())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_for_long_elsewhere_is_left_alone() {
        let (here, there) = (ReclaimHandle::new(GRACE), ReclaimHandle::new(GRACE));
        let read = blobs(0..2);
        let pin = there.pin(read.clone());
        assert!(there.long_pinned().is_empty() && there.left_alone().contains(&read[1]), "the grace is enough");
        tokio::time::advance(GRACE / 2).await;
        here.note_pinned("there", there.long_pinned());
        here.note_pinned("other", vec![mark(&blobs(5..6)[0])]);
        assert!(read.iter().all(|blob| here.left_alone().contains(blob)) && !here.left_alone().contains(&blobs(7..8)[0]));
        drop(pin);
        here.note_pinned("there", there.long_pinned());
        assert!(!here.left_alone().contains(&read[0]) && here.left_alone().contains(&blobs(5..6)[0]));
        // Who says nothing any more is gone.
        tokio::time::advance(TOLD_HOLDS).await;
        assert!(!here.left_alone().contains(&blobs(5..6)[0]));
        here.note_pinned("there", vec![]);
        assert!(here.0.state.lock().elsewhere.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_told_and_the_first_to_begin_with() {
        let handle = ReclaimHandle::new(GRACE);
        let first = handle.pin(blobs(0..10));
        tokio::time::advance(Duration::from_secs(1)).await;
        let _second = handle.pin(blobs(10..10 + MARKS_MAX));
        tokio::time::advance(GRACE).await;
        let told = handle.long_pinned();
        assert_eq!(told.len(), MARKS_MAX);
        assert!(blobs(0..10).iter().all(|blob| told[..10].contains(&mark(blob))));
        drop(first);
        assert_eq!(handle.long_pinned()[0], mark(&blobs(10..11)[0]));
    }

    /// Another release has to know them.
    #[test]
    fn marks_stay() {
        assert_eq!(mark(&BlobId::from_bytes(b"blob")), 0xee26_908b_f962_9eeb);
    }

    #[tokio::test(start_paused = true)]
    async fn who_listens_first_begins_later() {
        let handle = ReclaimHandle::new(GRACE);
        assert_eq!(handle.listens_for(), None);
        handle.listen_first(Duration::from_secs(10));
        assert_eq!(handle.listens_for(), Some(Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(handle.listens_for(), None);
    }
}
