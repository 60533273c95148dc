//! Where short reads run: on the calling thread while they are quick, elsewhere while they are not.
//!
//! A key in the system's cache is found in some 10 µs, and handing the read to another thread costs several times that.
//! A key on the disk may take milliseconds, for which no thread of the runtime may stand still. Which it will be cannot be
//! known before. So a slow read sends those after it to the blocking threads for a while: the runtime loses one slow read
//! per worker and [`PAUSE`] at worst.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A read that takes longer was waiting for the disk.
const SLOW: Duration = Duration::from_millis(1);
/// How long reads stay away after a slow one.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Pace {
    started: Instant,
    /// Until when reads stay away, in milliseconds since `started`.
    away_until: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), away_until: AtomicU64::new(0) }
    }

    /// Whether a short read may run where it is called.
    pub(super) fn is_quick(&self, now: Instant) -> bool {
        self.millis(now) >= self.away_until.load(Ordering::Relaxed)
    }

    /// Learns from a read that ran from `began` to `ended`.
    pub(super) fn observe(&self, began: Instant, ended: Instant) {
        if ended.duration_since(began) > SLOW {
            self.away_until.store(self.millis(ended + PAUSE), Ordering::Relaxed);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PAUSE, Pace, SLOW};

    #[test]
    fn a_slow_read_sends_the_next_ones_away_for_a_while() {
        let pace = Pace::new();
        let now = pace.started + Duration::from_secs(5);
        pace.observe(now, now + SLOW);
        assert!(pace.is_quick(now), "that was not slow");
        let ended = now + SLOW * 2;
        pace.observe(now, ended);
        assert!(!pace.is_quick(ended) && !pace.is_quick(ended + PAUSE / 2));
        assert!(pace.is_quick(ended + PAUSE));
    }
}
