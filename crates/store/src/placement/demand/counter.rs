//! How often this node has read blobs.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::{Mutex, RwLock};
use umbra_blob::BlobId;
use umbra_core::Timestamp;

use super::DemandSettings;
use crate::placement::lately::Lately;

/// Blobs that are counted, in each of two generations: those that are not read among that many others are not read often.
const COUNTED_MAX: usize = 8 * 1024;

/// Counts reads.
#[derive(Debug)]
pub(crate) struct Counter {
    settings: DemandSettings,
    state: Mutex<State>,
    /// Blobs that some region claims.
    claimed: RwLock<HashSet<BlobId>>,
    has_claims: AtomicBool,
}

#[derive(Debug)]
struct State {
    window: u64,
    counts: Lately<u64>,
    /// The window before, and what was read in it.
    ended: Option<(u64, HashMap<BlobId, u64>)>,
}

impl Counter {
    pub(crate) fn new(settings: DemandSettings) -> Self {
        let state = State { window: 0, counts: Lately::new(COUNTED_MAX), ended: None };
        Self { settings, state: Mutex::new(state), claimed: RwLock::default(), has_claims: AtomicBool::new(false) }
    }

    /// Whether anything is to be counted.
    pub(crate) fn is_on(&self) -> bool {
        !self.settings.window.is_zero()
    }

    /// Counts a read.
    pub(crate) fn count(&self, id: &BlobId, now: Timestamp) {
        let mut state = self.state.lock();
        state.roll(self.settings.window_of(now));
        let reads = state.counts.get(id).unwrap_or(0);
        state.counts.put(id, reads + 1);
    }

    /// Whether some region claims the blob.
    pub(crate) fn is_claimed(&self, id: &BlobId) -> bool {
        self.has_claims.load(Ordering::Relaxed) && self.claimed.read().contains(id)
    }

    /// Says which blobs are claimed.
    pub(super) fn set_claimed(&self, claimed: HashSet<BlobId>) {
        self.has_claims.store(!claimed.is_empty(), Ordering::Relaxed);
        *self.claimed.write() = claimed;
    }

    /// What was read in the window before this one, once.
    pub(super) fn take_ended(&self, now: Timestamp) -> Option<(u64, HashMap<BlobId, u64>)> {
        let mut state = self.state.lock();
        state.roll(self.settings.window_of(now));
        state.ended.take()
    }
}

impl State {
    fn roll(&mut self, window: u64) {
        if window == self.window {
            return;
        }
        let ended = mem::replace(&mut self.window, window);
        let counts = mem::replace(&mut self.counts, Lately::new(COUNTED_MAX));
        // What was counted before a long sleep, or a jump of the clock, is nothing to go by.
        self.ended = (ended + 1 == window).then(|| (ended, counts.into_all()));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use umbra_blob::BlobId;
    use umbra_core::Timestamp;

    use super::{COUNTED_MAX, Counter};
    use crate::placement::DemandSettings;

    fn id(n: usize) -> BlobId {
        BlobId::from_bytes(&n.to_be_bytes())
    }

    fn counter() -> Counter {
        Counter::new(DemandSettings { window: Duration::from_secs(10), ..DemandSettings::default() })
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn reads_are_told_once_per_window() {
        let counter = counter();
        for secs in [100, 104, 109] {
            counter.count(&id(1), at(secs));
        }
        assert_eq!(counter.take_ended(at(109)), None);
        counter.count(&id(1), at(110));
        assert_eq!(counter.take_ended(at(112)), Some((10, HashMap::from([(id(1), 3)]))));
        assert_eq!(counter.take_ended(at(112)), None);
        assert_eq!(counter.take_ended(at(120)), Some((11, HashMap::from([(id(1), 1)]))));
        counter.count(&id(1), at(121));
        assert_eq!(counter.take_ended(at(500)), None, "nobody knows of the time between");
    }

    #[test]
    fn what_is_read_often_is_counted_among_many() {
        let counter = counter();
        for n in 0..10 * COUNTED_MAX {
            counter.count(&id(1_000_000 + n), at(100));
            if n % 100 == 0 {
                counter.count(&id(1), at(100));
            }
        }
        let (_, counts) = counter.take_ended(at(110)).unwrap();
        assert!(counts.len() <= 2 * COUNTED_MAX);
        assert_eq!(counts[&id(1)], 10 * COUNTED_MAX as u64 / 100 + 1);
    }
}
