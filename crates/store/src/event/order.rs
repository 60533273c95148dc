//! The order in which events are told.

use std::sync::Arc;

use parking_lot::Mutex;
use umbra_core::{Clock, Random, Timestamp};

/// Where an event stands among others: the later is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// When it took its place, in milliseconds since 1970.
    pub at_ms: u64,
    /// Counts those of one moment, and has some randomness below that, so that no other run of the server gave out the same.
    pub number: u64,
}

/// Gives out places. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct EventOrder {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// The moment of the last place, and its number within it.
    last: Arc<Mutex<(u64, u32)>>,
}

impl EventPlace {
    pub(super) fn at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.at_ms).unwrap_or(i64::MAX))
    }
}

impl EventOrder {
    pub(crate) fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random, last: Arc::default() }
    }

    /// A place behind all that were given out, whatever the clock says.
    pub(super) fn next(&self) -> EventPlace {
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        let salt = u32::from_be_bytes(self.random.array());
        let mut last = self.last.lock();
        *last = match *last {
            (at, _) if now > at => (now, 0),
            (at, u32::MAX) => (at.saturating_add(1), 0),
            (at, number) => (at, number + 1),
        };
        EventPlace { at_ms: last.0, number: u64::from(last.1) << 32 | u64::from(salt) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    };

    use umbra_core::{Clock, SeededRandom, Timestamp};

    use super::EventOrder;

    /// A clock that may go back.
    #[derive(Debug)]
    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn places_do_not_go_back_with_the_clock() {
        let clock = Arc::new(Hands(AtomicI64::new(5000)));
        let order = EventOrder::new(Arc::clone(&clock) as _, Arc::new(SeededRandom::new(1)));
        let mut places = Vec::new();
        for now in [5000, 1000, 6000] {
            clock.0.store(now, Ordering::Relaxed);
            places.extend((0..100).map(|_| order.clone().next()));
        }
        assert!(places.is_sorted_by(|one, next| one < next));
        assert_eq!((places[0].at_ms, places[199].at_ms, places[299].at_ms), (5000, 5000, 6000));
    }
}
