//! Homes follow those who read: how often a region reads a blob, and when that makes it the home.
//!
//! Time is cut into windows. Each node counts its reads (`counter.rs`) and adds those of a window that has ended to its region's *claim* to the
//! blob (`claims.rs`), a row that all regions see. Only blobs of other regions are counted unasked; once a blob is claimed, its home and
//! everybody else count it too. The node that leads compares the claims after each window (`mover.rs`) and has the home moved.
//!
//! This module is what is pure of it.

mod claims;
mod counter;
mod mover;
#[cfg(test)]
mod tests;
mod tick;

use std::time::Duration;

use umbra_core::Timestamp;

pub(super) use self::counter::Counter;
pub use self::tick::{Homes, HomesCounter};
use crate::record::claim::ClaimRecord;

/// How many reads in a window make a claim, and a home.
pub(super) const READS_MIN: u64 = 8;
/// How many times as often as every other region a region has to read a blob to become its home.
const LEAD: u64 = 2;
/// For how many windows a home stays where it has moved.
const DWELL_WINDOWS: u64 = 24;
/// For how many windows a claim is remembered that nobody adds to.
const SILENT_WINDOWS_MAX: u64 = 6;
/// Reads per window are counted in so many parts of one.
const PARTS: u64 = 16;

/// When homes move, and how long copies stay that nobody reads.
#[derive(Clone, Copy, Debug)]
pub struct DemandSettings {
    /// How long reads are counted before they are compared; zero: homes do not move.
    pub window: Duration,
    /// How long a copy stays that nobody reads and that need not be there; zero: as long as its blob.
    pub copy_idle: Duration,
}

impl Default for DemandSettings {
    fn default() -> Self {
        Self { window: Duration::from_secs(3600), copy_idle: Duration::from_secs(30 * 24 * 3600) }
    }
}

impl DemandSettings {
    /// The number of the window in which `at` lies.
    fn window_of(&self, at: Timestamp) -> u64 {
        let window = self.window.as_millis().max(1);
        u64::try_from(at.as_millis()).map_or(0, |millis| u64::try_from(u128::from(millis) / window).unwrap_or(u64::MAX))
    }

    /// How long a home stays where it has moved.
    fn dwell(&self) -> Duration {
        self.window.saturating_mul(u32::try_from(DWELL_WINDOWS).unwrap_or(u32::MAX))
    }
}

/// How often a region reads a blob, per window and in [`PARTS`]: by the cautious guess, and by the generous one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    low: u64,
    high: u64,
}

impl ClaimRecord {
    /// A first claim, of what was read in `window`.
    fn new(window: u64, reads: u64) -> Self {
        Self { since: window, window, reads, before: None }
    }

    /// Adds what another node has read in `window`. What comes too late is not counted.
    fn add(mut self, window: u64, reads: u64) -> Self {
        if window == self.window {
            self.reads = self.reads.saturating_add(reads);
        } else if let Some(passed) = window.checked_sub(self.window) {
            // All but one of them without a read.
            self.before = Some(halved(self.mean(), passed - 1));
            (self.window, self.reads) = (window, reads);
        }
        self
    }

    /// The mean of all windows to the last, each of which weighs half of the next.
    fn mean(&self) -> u64 {
        let last = self.reads.saturating_mul(PARTS);
        self.before.map_or(last, |before| before.saturating_add(last) / 2)
    }

    /// How often its region reads the blob, at the end of `window`.
    fn score(&self, window: u64) -> Score {
        let (mean, last) = (self.mean(), self.reads.saturating_mul(PARTS));
        match window.checked_sub(self.window) {
            Some(0) | None => Score { low: mean.min(last), high: mean.max(last) },
            Some(passed) => Score { low: 0, high: halved(mean.max(last), passed) },
        }
    }

    /// Whether nobody has added to it for long.
    fn is_silent(&self, window: u64) -> bool {
        window.saturating_sub(self.window) > SILENT_WINDOWS_MAX
    }
}

fn halved(value: u64, times: u64) -> u64 {
    u32::try_from(times).ok().and_then(|times| value.checked_shr(times)).unwrap_or(0)
}

/// What is claimed of one blob, by region.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Vec<(String, ClaimRecord)>);

impl Claims {
    /// Whether all regions have known of the claim for the whole of `window`, and whether none is ahead of it.
    fn is_counted(&self, window: u64) -> bool {
        let first = self.0.iter().map(|(_, claim)| claim.since).min();
        first.is_some_and(|first| first + 2 <= window) && self.0.iter().all(|(_, claim)| claim.window <= window)
    }

    /// Whether they may be forgotten, `home` being the home: nobody else reads it often any more.
    fn is_over(&self, home: &str, window: u64) -> bool {
        let is_quiet = |claim: &ClaimRecord| claim.is_silent(window) || claim.score(window).high < READS_MIN * PARTS / 2;
        self.0.iter().all(|(region, claim)| region == home || is_quiet(claim))
    }

    fn scores(&self, window: u64) -> Vec<(&str, Score)> {
        self.0.iter().map(|(region, claim)| (region.as_str(), claim.score(window))).collect()
    }
}

/// The region that should become the home in place of `home`, which it has been for `stayed`, or ever since. It reads often enough, and by the
/// cautious guess twice as often as every other region by the generous one: to move it back, these would have to read four times as much.
pub(super) fn decide<'a>(scores: &[(&'a str, Score)], home: &str, stayed: Option<Duration>, settings: &DemandSettings) -> Option<&'a str> {
    let (first, score) = *scores.iter().max_by_key(|(_, score)| score.low)?;
    let is_ahead = scores.iter().all(|(region, other)| *region == first || score.low >= other.high.saturating_mul(LEAD));
    let is_settled = stayed.is_none_or(|stayed| stayed >= settings.dwell());
    (first != home && score.low >= READS_MIN * PARTS && is_ahead && is_settled).then_some(first)
}
