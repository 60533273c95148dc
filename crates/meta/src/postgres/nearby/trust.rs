//! What is known of the standby, and what follows from it. No I/O, no clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    neighbours::{Neighbours, TRUST},
    postgres::position::{Instance, Position},
};

/// After how long without a word of the primary this region is cut off from it.
pub(super) const CUT_OFF_AFTER: Duration = Duration::from_secs(2);

/// That a standby follows a primary: it has shown a row that was written there, in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) primary: Instance,
    pub(super) session: i64,
    pub(super) standby: Instance,
}

/// What is known of the standby.
#[derive(Debug)]
pub(super) struct Trust {
    proof: Option<Proof>,
    /// Up to when it is known to have everything that had been acknowledged.
    checked: Option<Instant>,
    /// The standby that is followed, and what it has replayed.
    replayed: Option<Position>,
    /// When the primary last said anything.
    answered: Instant,
    /// Something was committed then of which nobody knows where in the log it is: what was learned before does not count.
    not_before: Option<Instant>,
}

impl Trust {
    pub(super) const fn new(now: Instant) -> Self {
        Self { proof: None, checked: None, replayed: None, answered: now, not_before: None }
    }

    /// The standby that may be read at `now`.
    pub(super) fn trusted(&self, neighbours: &Neighbours, now: Instant) -> Option<Instance> {
        let checked = self.checked.filter(|checked| now.saturating_duration_since(*checked) < TRUST)?;
        let standby = self.proof?.standby;
        let is_permitted = neighbours.permits(standby.0, checked, now);
        (is_permitted && self.not_before.is_none_or(|moment| checked >= moment)).then_some(standby)
    }

    /// The standby that may be read at `now` for what is there, because the primary does not answer.
    pub(super) fn last_resort(&self, now: Instant, floor: u64) -> Option<Instance> {
        let replayed = self.replayed.filter(|replayed| replayed.lsn >= floor && self.not_before.is_none() && self.is_cut_off(now))?;
        self.proof.filter(|proof| proof.standby == replayed.instance).map(|proof| proof.standby)
    }

    pub(super) fn is_cut_off(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.answered) > CUT_OFF_AFTER
    }

    /// How long the standby has not been known to have everything.
    pub(super) fn behind(&self, now: Instant) -> Option<Duration> {
        self.checked.map(|checked| now.saturating_duration_since(checked))
    }

    /// Whether `standby` has replayed everything up to `lsn`, as far as is known.
    pub(super) fn has_replayed(&self, standby: Instance, lsn: u64) -> bool {
        self.replayed.is_some_and(|replayed| replayed.instance == standby && replayed.lsn >= lsn)
    }

    /// Whether `standby` follows `primary`, so that their positions can be compared.
    pub(super) fn follows(&self, standby: Instance, primary: Instance) -> bool {
        self.proof.is_some_and(|proof| proof.standby == standby && proof.primary == primary)
    }

    pub(super) const fn proof(&self) -> Option<Proof> {
        self.proof
    }

    pub(super) const fn replayed(&self) -> Option<Position> {
        self.replayed
    }

    /// The primary said something at `now`.
    pub(super) fn note_answer(&mut self, now: Instant) {
        self.answered = self.answered.max(now);
    }

    /// Something was committed by `now` that may be anywhere in the log.
    pub(super) fn note_unplaced(&mut self, now: Instant) {
        self.not_before = self.not_before.max(Some(now));
    }

    /// The standby has replayed that much; nothing of another one counts any more.
    pub(super) fn note_replayed(&mut self, position: Position) {
        if self.replayed.is_some_and(|before| before.instance != position.instance) {
            self.checked = None;
        }
        self.replayed = Some(position);
    }

    /// The standby does not answer, or is none any more.
    pub(super) fn note_loss(&mut self) {
        (self.checked, self.replayed) = (None, None);
    }

    pub(super) fn prove(&mut self, proof: Proof) {
        if self.proof.is_none_or(|before| before.standby != proof.standby) {
            self.checked = None;
        }
        self.proof = Some(proof);
    }

    /// The proven standby has everything that was acknowledged before `asked`. Tells whether that settles what may have been anywhere in the log.
    pub(super) fn note_check(&mut self, asked: Instant) -> bool {
        self.checked = self.checked.max(Some(asked));
        self.not_before.take_if(|moment| *moment <= asked).is_some()
    }
}

#[cfg(test)]
mod tests;
