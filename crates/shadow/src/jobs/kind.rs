//! What kinds of jobs there are, and how each can be told to work.

use std::{fmt, str::FromStr};

use minicbor::{CborLen, Decode, Encode};
use umbra_core::{Error, Fault, Result};

/// Keys that are worked on at once, at most.
const PARALLEL_MAX: u32 = 256;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum JobKind {
    /// Lists the origin through, so that what is left there is known exactly.
    #[n(0)]
    Inventory,
    /// Brings the rest here in the background.
    #[n(1)]
    Backfill,
    /// Compares both sides.
    #[n(2)]
    Verify,
    /// Copies back to the origin what is newer here.
    #[n(3)]
    Rollback,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Inventory, Self::Backfill, Self::Verify, Self::Rollback];

    /// The byte that names it in keys.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Inventory => b'i',
            Self::Backfill => b'b',
            Self::Verify => b'v',
            Self::Rollback => b'r',
        }
    }

    /// Its name, as users read and write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Backfill => "backfill",
            Self::Verify => "verify",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for JobKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| Error::invalid(Fault::InvalidArgument, "a job is an inventory, a backfill, a verify or a rollback"))
    }
}

/// In which order keys are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum JobOrder {
    /// By key.
    #[n(0)]
    Key,
    /// By class of size, the smallest first; by key within a class.
    #[n(1)]
    Smallest,
}

/// How a job is to work. What is `None` is left to the kind; each kind knows only some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct JobOptions {
    /// Keys worked on at once.
    #[n(0)]
    pub parallel: Option<u32>,
    /// Bytes a second that may leave the origin for it.
    #[n(1)]
    pub bytes_per_second: Option<u64>,
    /// Requests a second to the origin.
    #[n(2)]
    pub requests_per_second: Option<u32>,
    /// Bytes that may leave the origin for it in all; then it pauses.
    #[n(3)]
    pub egress_bytes: Option<u64>,
    /// In which order.
    #[n(4)]
    pub order: Option<JobOrder>,
    /// Whether contents are compared, not only what is told of them.
    #[n(5)]
    pub deep: Option<bool>,
    /// Whether only to tell what would be done.
    #[n(6)]
    pub dry_run: Option<bool>,
    /// Whether the job was started to find out whether a shadow can be cleared, and has not rested since: what it listed before a rest is old.
    #[n(7)]
    pub for_detach: Option<bool>,
}

impl JobOptions {
    /// Refuses what makes no sense for a job of `kind`.
    pub(crate) fn check(&self, kind: JobKind) -> Result<()> {
        let invalid = |what: &str| Err(Error::invalid(Fault::InvalidArgument, what.to_owned()));
        if self.parallel.is_some_and(|parallel| !(1..=PARALLEL_MAX).contains(&parallel)) {
            return invalid(&format!("parallel must be between 1 and {PARALLEL_MAX}"));
        }
        if self.bytes_per_second == Some(0) || self.requests_per_second == Some(0) {
            return invalid("with a limit of 0 a second the job would never end; pause it instead");
        }
        if self.egress_bytes == Some(0) {
            return invalid("with an egress budget of 0 the job would stop at once; leave it out for no limit");
        }
        let backfill = self.egress_bytes.is_some() || self.order.is_some();
        if kind != JobKind::Backfill && backfill {
            return invalid("only a backfill has an egress budget and an order");
        }
        if kind != JobKind::Verify && self.deep.is_some() {
            return invalid("only a verify can be deep");
        }
        if kind != JobKind::Rollback && self.dry_run.is_some() {
            return invalid("only a rollback can be a dry run");
        }
        Ok(())
    }

    /// Takes over what `other` names.
    pub(crate) fn merge(&mut self, other: &Self) {
        let Self { parallel, bytes_per_second, requests_per_second, egress_bytes, order, deep, dry_run, for_detach } = other;
        self.parallel = parallel.or(self.parallel);
        self.bytes_per_second = bytes_per_second.or(self.bytes_per_second);
        self.requests_per_second = requests_per_second.or(self.requests_per_second);
        self.egress_bytes = egress_bytes.or(self.egress_bytes);
        self.order = order.or(self.order);
        self.deep = deep.or(self.deep);
        self.dry_run = dry_run.or(self.dry_run);
        self.for_detach = for_detach.or(self.for_detach);
    }
}

#[cfg(test)]
mod tests {
    use super::{JobKind, JobOptions};

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let none = JobOptions::default;
        let refused = |options: JobOptions, kind| options.check(kind).err().map(|error| error.message().to_owned());
        for (options, kind, says) in [
            (JobOptions { parallel: Some(0), ..none() }, JobKind::Backfill, "between 1 and 256"),
            (JobOptions { requests_per_second: Some(0), ..none() }, JobKind::Verify, "would never end"),
            (JobOptions { egress_bytes: Some(0), ..none() }, JobKind::Backfill, "would stop at once; leave it out for no limit"),
            (JobOptions { egress_bytes: Some(1), ..none() }, JobKind::Verify, "only a backfill"),
            (JobOptions { deep: Some(true), ..none() }, JobKind::Backfill, "only a verify"),
            (JobOptions { dry_run: Some(true), ..none() }, JobKind::Verify, "only a rollback"),
        ] {
            let told = refused(options, kind);
            assert!(told.as_ref().is_some_and(|told| told.contains(says)), "{says}: {told:?}");
        }
        assert_eq!(refused(JobOptions { egress_bytes: Some(1), ..none() }, JobKind::Backfill), None);
    }
}
