//! A byte of a version leaves the origin at most once.
//!
//! What may leave it again is what was sent and could not be kept:
//! - everything, where the copy had to be thrown away: the key was written, its origin's object or the shadow changed meanwhile;
//! - of a transfer that was cut off, by a crash, a fault of our stores or an origin that stays away, what was not stored yet. That is bounded:
//!   a small object as a whole, of a larger one what one request gathers and stores at a time. A lost answer of our store is no such fault.

use std::collections::BTreeMap;

use umbra_core::ByteRange;

use crate::{
    env::Dials,
    history::{History, Op, Outcome},
    origin::{Change, Ending, Failed, Fetch},
};

/// How many pieces of a long answer are stored at a time.
const STORES_MAX: u64 = 3;
/// How many answers to the commit of one row must be lost before it is given up.
const COMMITS_MAX: usize = 3;
/// How many requests in a row must fail before a transfer gives up.
const STUMBLES: usize = 3;

/// What is held against the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressRule {
    /// Reads of whole objects only.
    WholeObjects,
    /// Ranges too.
    Ranges,
}

/// What excuses a second transfer.
pub(crate) struct Excuses<'a> {
    pub(crate) dials: &'a Dials,
    pub(crate) history: &'a History,
    pub(crate) changes: &'a [Change],
    pub(crate) faults: Vec<u64>,
    pub(crate) lost_answers: Vec<u64>,
    pub(crate) failures: Vec<Failed>,
}

impl Excuses<'_> {
    /// Every transfer of which more was sent again than it may have lost.
    pub(crate) fn judge(&self, fetches: &[Fetch], rule: EgressRule) -> Vec<(String, String)> {
        let mut versions: BTreeMap<(&str, u64), Vec<&Fetch>> = BTreeMap::new();
        for fetch in fetches.iter().filter(|fetch| rule == EgressRule::Ranges || fetch.range.is_none()) {
            versions.entry((fetch.key.as_str(), fetch.version)).or_default().push(fetch);
        }
        let mut wrong = Vec::new();
        for ((key, _), fetches) in versions {
            for (index, earlier) in fetches.iter().enumerate() {
                let mut again: Vec<(u64, u64)> = Vec::new();
                let (mut allowed, mut latest) = (0, None);
                for later in &fetches[index + 1..] {
                    let Some(overlap) = overlap(earlier, later).filter(|_| !self.is_discarded(earlier, later)) else { continue };
                    again.push(overlap);
                    allowed = allowed.max(self.lost(earlier, later, self.beginning(&fetches, index)));
                    latest = Some(later);
                }
                let sent_again = union(again);
                if let Some(later) = latest.filter(|_| sent_again > allowed) {
                    let text = format!(
                        "{sent_again} bytes of write {} left the origin again, latest {:?} at {}, after {:?} at {}; {allowed} may have been lost",
                        later.write, later.sent, later.begun, earlier.sent, earlier.begun
                    );
                    wrong.push((key.to_owned(), text));
                    break;
                }
            }
        }
        wrong
    }

    /// Whether what `earlier` brought may have been thrown away before `later` was sent.
    fn is_discarded(&self, earlier: &Fetch, later: &Fetch) -> bool {
        let until = later.ended.unwrap_or(later.begun).max(later.begun);
        let during = earlier.begun..=until;
        let writes = self.history.ops.iter().filter(|op| op.key == earlier.key && op.intended.is_some());
        // One that failed may leave an intent behind, which is settled later.
        let lasts = |op: &Op| op.outcome != Outcome::Done || op.ended.is_none_or(|ended| ended >= *during.start());
        let is_written = writes.filter(|op| op.begun <= *during.end()).any(lasts);
        is_written
            || self.history.is_switched(*during.start(), *during.end())
            || self.changes.iter().any(|change| change.key == earlier.key && during.contains(&change.tick))
    }

    /// Since when something may have gone wrong with the transfer that a fetch is of, which cut that off later: since the first of those that were
    /// under way together with it began, or the one before it, of which the last was still to be stored.
    fn beginning(&self, fetches: &[&Fetch], index: usize) -> u64 {
        let fetch = fetches[index];
        if fetch.ending != Ending::Dropped {
            return fetch.begun;
        }
        let life_end = |other: &Fetch| self.history.life_ends.iter().copied().find(|end| *end > other.begun);
        let is_with_it = |at: usize| {
            let ended = if at + 1 == index { life_end(fetches[at]) } else { fetches[at].ended.or_else(|| life_end(fetches[at])) };
            ended.is_none_or(|ended| ended >= fetch.begun)
        };
        (0..index).find(|at| is_with_it(*at)).map_or(fetch.begun, |at| fetches[at].begun)
    }

    /// How much of what `earlier` brought may not have been stored when it was cut off, `since` then, before `later` was asked for.
    fn lost(&self, earlier: &Fetch, later: &Fetch, since: u64) -> u64 {
        let during = since..=later.begun;
        let happened = |ticks: &[u64]| ticks.iter().any(|tick| during.contains(tick));
        let all = earlier.size;
        let failures = || self.failures.iter().filter(|failed| failed.key == earlier.key && during.contains(&failed.tick));
        let is_away = failures().count() >= STUMBLES || failures().any(|failed| failed.refused);
        let is_given_up = self.lost_answers.iter().filter(|tick| during.contains(tick)).count() >= COMMITS_MAX;
        let is_cut = happened(&self.history.life_ends) || happened(&self.faults) || is_given_up;
        let is_broken = earlier.ending == Ending::Broken;
        // There is no going on with what has no length; and who always sends the whole is found out by asking for parts.
        if self.dials.ignores_range || self.dials.hides_length && (is_cut || is_broken || failures().next().is_some()) {
            return all;
        }
        // Kept in memory until it is the object: any failure on the way there costs it.
        // Or what was left of it, asked for when the answer before broke off.
        let is_whole = earlier.range.is_none_or(|range| range.end == earlier.size);
        // What is stored at once of an answer to a request for a range, which is for no more than a small object has.
        let piece = self.dials.piece_bytes.get();
        let small = 4 * piece;
        if is_whole && earlier.size <= small && (is_cut || is_away || failures().next().is_some()) {
            return all;
        }
        // Ranges begin where pieces do; any other is for the rest of an answer that broke off, and stored as that was.
        let asked = earlier.range.unwrap_or(ByteRange::new(0, earlier.size));
        let is_rest = !asked.start.is_multiple_of(piece) && earlier.size > small;
        let is_long = asked.len() > small || is_rest;
        let (stored, pieces) = if is_long { (2 * piece, STORES_MAX) } else { (piece, 1) };
        let chunk = self.dials.chunk_max(usize::try_from(all).unwrap_or(usize::MAX)) as u64;
        match (is_cut, is_away) {
            // One that is gathered, and those being stored.
            (true, _) => (1 + pieces) * (stored + chunk),
            // What is not worth storing.
            (false, true) => piece / 16 + chunk,
            (false, false) => 0,
        }
    }
}

/// The bytes that both sent.
fn overlap(one: &Fetch, other: &Fetch) -> Option<(u64, u64)> {
    let (start, end) = (one.sent.0.max(other.sent.0), one.sent.1.min(other.sent.1));
    (start < end).then_some((start, end))
}

/// How many bytes there are in any of `ranges`.
fn union(mut ranges: Vec<(u64, u64)>) -> u64 {
    ranges.sort_unstable();
    let (mut bytes, mut upto) = (0, 0);
    for (start, end) in ranges {
        bytes += end.max(upto) - start.max(upto);
        upto = upto.max(end);
    }
    bytes
}
