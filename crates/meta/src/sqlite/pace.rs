//! Where short reads run: on the calling thread while they are quick, elsewhere while they are not.
//!
//! A key in the system's cache is found in some 10 µs, and handing the read to another thread costs several times that.
//! A key on the disk may take milliseconds, for which no thread of the runtime may stand still. Which it will be cannot be
//! known before. So a read that waited for the disk sends those after it to the blocking threads for a while: the runtime
//! loses one slow read per worker and [`PAUSE`] at worst.
//!
//! On a busy machine a read is mostly slow because the thread waited for a processor, and on another thread it would have
//! waited as well. The system tells the two apart: it counts what each thread has had read from the disk. That is asked
//! after slow reads only, for it takes some microseconds itself.

use std::{
    cell::Cell,
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A read that takes longer was waiting for something.
const SLOW: Duration = Duration::from_millis(1);
/// How long reads stay away after one that waited for the disk.
const PAUSE: Duration = Duration::from_secs(1);
/// What Linux counts of the thread that looks.
const COUNTS: &str = "/proc/thread-self/io";

thread_local! {
    /// Bytes that this thread had had read from the disk when it was last looked at.
    static SEEN: Cell<Option<u64>> = const { Cell::new(None) };
}

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

    /// Learns from a read that this thread ran from `began` to `ended`.
    pub(super) fn observe(&self, began: Instant, ended: Instant) {
        if ended.duration_since(began) > SLOW {
            let now = bytes_from_disk();
            let before = SEEN.replace(now);
            self.learn(waited_for_disk(before, now), ended);
        }
    }

    fn learn(&self, waited: bool, ended: Instant) {
        if waited {
            self.away_until.store(self.millis(ended + PAUSE), Ordering::Relaxed);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether a slow read waited for the disk, by what its thread had had read from there when it was last looked at, and has now.
///
/// A thread that is looked at for the first time counts from nothing. Where the system does not tell it is assumed.
fn waited_for_disk(before: Option<u64>, now: Option<u64>) -> bool {
    now.is_none_or(|now| now > before.unwrap_or(0))
}

/// Bytes that this thread has had read from the disk; `None` where the system does not tell.
fn bytes_from_disk() -> Option<u64> {
    parse(&fs::read_to_string(COUNTS).ok()?)
}

fn parse(counts: &str) -> Option<u64> {
    counts.lines().find_map(|line| line.strip_prefix("read_bytes:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PAUSE, Pace, SEEN, SLOW, bytes_from_disk, parse, waited_for_disk};

    #[test]
    fn a_read_that_waited_for_the_disk_sends_the_next_ones_away_for_a_while() {
        let pace = Pace::new();
        let now = pace.started + Duration::from_secs(5);
        pace.learn(false, now);
        assert!(pace.is_quick(now), "that did not wait for the disk");
        pace.learn(true, now);
        assert!(!pace.is_quick(now) && !pace.is_quick(now + PAUSE / 2));
        assert!(pace.is_quick(now + PAUSE));
    }

    #[test]
    fn waiting_for_a_processor_is_not_waiting_for_the_disk() {
        for (before, now, waited) in [
            (Some(8192), Some(8192), false),
            (Some(8192), Some(16_384), true),
            (None, Some(0), false),
            (None, Some(4096), true),
            (Some(8192), None, true),
            (None, None, true),
        ] {
            assert_eq!(waited_for_disk(before, now), waited, "{before:?} {now:?}");
        }
    }

    #[test]
    fn what_the_system_tells_is_understood() {
        let told = "rchar: 6976\nwchar: 0\nsyscr: 10\nsyscw: 0\nread_bytes: 12288\nwrite_bytes: 0\ncancelled_write_bytes: 0\n";
        assert_eq!(parse(told), Some(12_288));
        assert_eq!((parse(""), parse("read_bytes: some")), (None, None));
    }

    #[test]
    fn only_slow_reads_are_looked_into() {
        let pace = Pace::new();
        let now = pace.started + Duration::from_secs(5);
        pace.observe(now, now + SLOW);
        assert_eq!(SEEN.get(), None);
        pace.observe(now, now + SLOW * 2);
        assert_eq!(SEEN.get(), bytes_from_disk());
        // Nothing was read from the disk in between, so that it was slow has another reason.
        if SEEN.get().is_some() {
            pace.away_until.store(0, std::sync::atomic::Ordering::Relaxed);
            pace.observe(now, now + SLOW * 2);
            assert!(pace.is_quick(now + SLOW * 2));
        }
    }
}
