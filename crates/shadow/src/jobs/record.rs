//! The records of jobs: row `q/<kind>` and, for each key with something to say of it, `q/<kind>n<run><key>`.

use std::fmt;

use minicbor::{CborLen, Decode, Encode};
use umbra_core::Timestamp;

use super::{JobKind, JobOptions, JobRequest};

/// A job as it stands. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Job {
    /// What it does.
    #[n(0)]
    pub kind: JobKind,
    /// The generation of the shadow it belongs to.
    #[n(1)]
    pub generation: u64,
    /// Tells this run from earlier ones; grows.
    #[n(2)]
    pub run: u64,
    /// Only keys that begin with this.
    #[n(3)]
    pub prefix: String,
    /// Whether it goes on.
    #[n(4)]
    pub state: JobState,
    /// Why it is paused, failed or cancelled, or what holds it up while it runs.
    #[n(5)]
    pub reason: Option<String>,
    /// How it is to work.
    #[n(6)]
    pub options: JobOptions,
    /// Where it got to, in the kind's own terms.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub(crate) cursor: Option<Vec<u8>>,
    /// What it did.
    #[n(8)]
    pub counts: JobCounts,
    /// When this run began.
    #[n(9)]
    pub started: i64,
    /// When something last happened.
    #[n(10)]
    pub updated: i64,
    /// When it ended.
    #[n(11)]
    pub ended: Option<i64>,
    /// Who runs it.
    #[n(12)]
    pub(crate) lease: Option<Lease>,
    /// The latest run that went through all keys of the bucket to its end: when it began and when it ended.
    #[n(13)]
    pub complete: Option<(i64, i64)>,
    /// Bytes a second, of late.
    #[n(14)]
    pub bytes_per_second: u64,
    /// Objects in a thousand seconds, of late.
    #[n(15)]
    pub objects_per_kilosecond: u64,
    /// Which origin, in which generation, it works with.
    #[n(16)]
    pub(crate) scope: u64,
}

/// Whether a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum JobState {
    /// It does.
    #[n(0)]
    Running,
    /// Not before it is resumed.
    #[n(1)]
    Paused,
    /// It came to its end.
    #[n(2)]
    Done,
    /// It was ended.
    #[n(3)]
    Cancelled,
    /// It cannot.
    #[n(4)]
    Failed,
}

/// What a job did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct JobCounts {
    /// Objects that are done.
    #[n(0)]
    pub objects_done: u64,
    /// Their bytes.
    #[n(1)]
    pub bytes_done: u64,
    /// Objects that are left, once it is known.
    #[n(2)]
    pub objects_left: Option<u64>,
    /// Their bytes.
    #[n(3)]
    pub bytes_left: Option<u64>,
    /// Objects it could not do. Each has a note.
    #[n(4)]
    pub objects_failed: u64,
    /// Their bytes.
    #[n(5)]
    pub bytes_failed: u64,
    /// Bytes of content that left the origin for it.
    #[n(6)]
    pub bytes_egress: u64,
    /// What it found or did, sort by sort, in the kind's own words.
    #[n(7)]
    pub(crate) tallies: Option<Vec<Tally>>,
}

/// How much of one sort a job found or did.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Tally {
    /// The sort.
    #[n(0)]
    pub name: String,
    /// Objects.
    #[n(1)]
    pub objects: u64,
    /// Their bytes.
    #[n(2)]
    pub bytes: u64,
}

/// Who runs a job, and until when nobody else may.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub(crate) struct Lease {
    #[n(0)]
    pub(crate) owner: String,
    #[n(1)]
    pub(crate) expires: i64,
}

/// What a run noted of a key: a failure, or differences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Note {
    /// What is the matter, in one line.
    #[n(0)]
    pub reason: String,
    /// How often it was tried.
    #[n(1)]
    pub attempts: u32,
    /// When it was last tried.
    #[n(2)]
    pub at: i64,
    /// Bytes of the object, where known.
    #[n(3)]
    pub size: Option<u64>,
    /// In what both sides differ.
    #[n(4)]
    pub differences: Vec<Difference>,
    /// What sort of thing was found; `None` for a failure.
    #[n(5)]
    pub finding: Option<Finding>,
}

/// A sort of thing that a job finds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Finding {
    /// The sort, in the kind's own words.
    #[n(0)]
    pub name: String,
    /// Whether it is what is to be expected.
    #[n(1)]
    pub explained: bool,
}

/// Something both sides tell differently of a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct Difference {
    /// What: `size`, `etag`, a header, …
    #[n(0)]
    pub field: String,
    /// What it is here.
    #[n(1)]
    pub local: Option<String>,
    /// What it is at the origin.
    #[n(2)]
    pub origin: Option<String>,
}

impl JobCounts {
    /// Counts one object of `bytes` bytes of the sort `name`.
    pub(crate) fn tally(&mut self, name: &str, bytes: u64) {
        self.add_tally(&Tally { name: name.to_owned(), objects: 1, bytes });
    }

    /// Adds to what was found or done of a sort.
    pub(crate) fn add_tally(&mut self, more: &Tally) {
        let tallies = self.tallies.get_or_insert_default();
        match tallies.iter_mut().find(|tally| tally.name == more.name) {
            Some(tally) => {
                tally.objects += more.objects;
                tally.bytes += more.bytes;
            }
            None => tallies.push(more.clone()),
        }
    }

    /// What was found or done, sort by sort.
    pub fn tallies(&self) -> &[Tally] {
        self.tallies.as_deref().unwrap_or_default()
    }
}

impl Job {
    /// A new run, in the place of `old`.
    pub(super) fn new(generation: u64, scope: u64, request: &JobRequest, old: Option<&Self>, now: Timestamp) -> Self {
        let now = now.as_millis();
        let same = old.filter(|old| old.scope == scope);
        Self {
            kind: request.kind,
            generation,
            // Grows also where the row of an earlier run is gone and its notes are not yet.
            run: old.map_or(0, |old| old.run + 1).max(now.unsigned_abs()),
            prefix: request.prefix.clone(),
            state: JobState::Running,
            reason: None,
            options: request.options.clone(),
            cursor: None,
            counts: JobCounts::default(),
            started: now,
            updated: now,
            ended: None,
            lease: None,
            complete: same.and_then(|old| old.complete),
            bytes_per_second: 0,
            objects_per_kilosecond: 0,
            scope,
        }
    }

    /// Whether it is running or may be resumed.
    pub const fn is_active(&self) -> bool {
        matches!(self.state, JobState::Running | JobState::Paused)
    }

    /// Seconds until it will be done, going on as of late.
    pub fn seconds_left(&self) -> Option<u64> {
        if self.state != JobState::Running {
            return None;
        }
        let (objects, bytes) = (self.counts.objects_left?, self.counts.bytes_left?);
        let by_bytes = if bytes == 0 { 0 } else { bytes / Some(self.bytes_per_second).filter(|rate| *rate > 0)? };
        let by_objects =
            if objects == 0 { 0 } else { objects.saturating_mul(1000) / Some(self.objects_per_kilosecond).filter(|rate| *rate > 0)? };
        Some(by_bytes.max(by_objects))
    }
}

impl JobState {
    /// What is said of a job in this state.
    pub(crate) const fn said(self) -> &'static str {
        match self {
            Self::Running => "is running",
            Self::Paused => "is paused",
            Self::Done => "is done",
            Self::Cancelled => "is cancelled",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use umbra_core::Timestamp;

    use super::{Difference, Finding, Job, JobCounts, JobState, Lease, Note};
    use crate::{
        jobs::{JobKind, JobOptions, JobOrder, JobRequest},
        record::{decode, encode},
    };

    fn full() -> Job {
        let options = JobOptions { parallel: Some(4), egress_bytes: Some(9), order: Some(JobOrder::Smallest), ..JobOptions::default() };
        let request = JobRequest { kind: JobKind::Backfill, prefix: "p".into(), options };
        Job {
            reason: Some("r".into()),
            cursor: Some(vec![1, 255]),
            lease: Some(Lease { owner: "n/1".into(), expires: 8 }),
            counts: JobCounts { objects_done: 1, bytes_left: Some(2), ..JobCounts::default() },
            ..Job::new(7, 9, &request, None, Timestamp::from_millis(42))
        }
    }

    /// The first format, written once and readable for ever.
    #[test]
    fn records_of_the_first_format_are_read() {
        assert_eq!(encode(&full()), GOLDEN_JOB);
        assert_eq!(decode::<Job>("job", GOLDEN_JOB).unwrap(), full());
        let difference = Difference { field: "size".into(), local: Some("1".into()), origin: None };
        let note = Note { reason: "r".into(), attempts: 2, at: 42, size: Some(3), differences: vec![difference], finding: None };
        assert_eq!(encode(&note), GOLDEN_NOTE);
        assert_eq!(decode::<Note>("note", GOLDEN_NOTE).unwrap(), note);
        let found = Note { finding: Some(Finding { name: "cold".into(), explained: true }), ..note };
        assert_eq!(encode(&found), GOLDEN_FOUND);
        assert_eq!(decode::<Note>("note", GOLDEN_FOUND).unwrap(), found);
        let mut counts = JobCounts::default();
        (1..=2).for_each(|bytes| counts.tally("t", bytes));
        assert_eq!(encode(&counts), GOLDEN_COUNTS);
        assert_eq!(decode::<JobCounts>("counts", GOLDEN_COUNTS).unwrap(), counts);
    }

    #[test]
    fn a_new_run_comes_after_every_earlier_one() {
        let request = JobRequest { kind: JobKind::Verify, prefix: String::new(), options: JobOptions::default() };
        let old = Job { complete: Some((1, 2)), run: 1000, ..full() };
        let new = Job::new(7, 9, &request, Some(&old), Timestamp::from_millis(42));
        assert_eq!((new.run, new.state, new.complete), (1001, JobState::Running, Some((1, 2))));
        let new = Job::new(8, 10, &request, Some(&old), Timestamp::from_millis(5000));
        assert_eq!((new.run, new.complete), (5000, None), "another generation knows nothing");
    }

    #[test]
    fn the_time_left_is_told_once_it_can_be() {
        let counts = JobCounts { objects_left: Some(10), bytes_left: Some(1000), ..JobCounts::default() };
        let mut job = Job { counts, ..full() };
        assert_eq!(job.seconds_left(), None);
        (job.bytes_per_second, job.objects_per_kilosecond) = (100, 500);
        assert_eq!(job.seconds_left(), Some(20));
        job.state = JobState::Paused;
        assert_eq!(job.seconds_left(), None);
    }

    const GOLDEN_JOB: &[u8] = b"\x01\x91\x01\x07\x18*ap\x00ar\x85\x04\xf6\xf6\x09\x01B\x01\xff\x87\x01\x00\xf6\x02\x00\x00\x00\x18*\x18*\xf6\x82cn/1\x08\xf6\x00\x00\x09";
    const GOLDEN_NOTE: &[u8] = b"\x01\x85ar\x02\x18*\x03\x81\x82dsizea1";
    const GOLDEN_FOUND: &[u8] = b"\x01\x86ar\x02\x18*\x03\x81\x82dsizea1\x82dcold\xf5";
    const GOLDEN_COUNTS: &[u8] = b"\x01\x88\x00\x00\xf6\xf6\x00\x00\x00\x81\x83at\x02\x03";
}
