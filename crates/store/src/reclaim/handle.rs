//! The reclaimer's ear: which partitions to look at, when, and which blobs to leave alone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use umbra_blob::BlobId;
use umbra_core::Timestamp;
use umbra_meta::Partition;

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
    pins: HashMap<u64, Vec<BlobId>>,
    pins_issued: u64,
    stopping: bool,
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
        state.pins.insert(number, blobs);
        Pin { shared: Arc::clone(&self.0), number }
    }

    /// The blobs that are pinned now.
    pub(super) fn pinned(&self) -> HashSet<BlobId> {
        self.0.state.lock().pins.values().flatten().cloned().collect()
    }
}

impl fmt::Debug for ReclaimHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("ReclaimHandle").field("due", &state.due).field("pins", &state.pins.len()).finish_non_exhaustive()
    }
}

/// Keeps blobs from being reclaimed while it lives.
pub(crate) struct Pin {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.shared.state.lock().pins.remove(&self.number);
    }
}
