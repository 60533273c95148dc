//! Rollback as a job.
//!
//! First write-through is switched on, so that from then on every write goes both ways. Then both sides are walked once. What failed is
//! tried again, a few times; what fails even then stays noted with its reason.

use std::sync::Arc;

use async_trait::async_trait;
use minicbor::{CborLen, Decode, Encode};
use umbra_core::{Error, ErrorKind, Fault, ObjectKey, Result};

use crate::{
    AttachRequest, Note,
    backfill::pace::Pace,
    both::Ahead,
    detach::counted,
    examine::Look,
    jobs::{Finding, JobContext, JobCounts, JobKind, Next, Progress, Work, reason},
    record::{decode, encode},
    rollback::Rolled,
    shadow::writes_through,
    slice::Slice,
};

/// Keys worked on at once, where nothing else is said.
const PARALLEL: u32 = 16;
/// How often a page is tried of which everything fails.
const STRIKES_MAX: u32 = 3;
/// How often what failed is tried again.
const ROUNDS_MAX: u32 = 3;
/// The sort of keys that were changed on both sides.
const CONFLICT: &str = "conflict";
/// Failures looked at by one step.
const NOTES: usize = 100;

/// Copies back what is newer here, a page at a time.
#[derive(Debug, Default)]
pub(crate) struct RollbackWork {
    pace: Arc<Pace>,
    ahead: Ahead,
    strikes: u32,
}

/// Where a rollback got to. None at all: write-through may still be off.
#[derive(Debug, Encode, Decode, CborLen)]
struct Cursor {
    /// How often what failed was tried again; 0 on the walk through all keys.
    #[n(0)]
    round: u32,
    /// Behind this key.
    #[n(1)]
    after: Option<String>,
}

#[async_trait]
impl Work for RollbackWork {
    async fn step(&mut self, job: &JobContext) -> Result<Progress> {
        let cursor: Option<Cursor> = job.job.cursor.as_deref().map(|cursor| decode("rollback cursor", cursor)).transpose()?;
        let Some(cursor) = cursor else { return begin(job).await };
        if !is_dry_run(job) && !writes_through(&job.bucket) {
            let message = "write-through was switched off, so what is written now is missing at the origin; start the rollback anew";
            return Err(Error::invalid(Fault::InvalidRequest, message));
        }
        let look = Look::of(job, &self.pace, PARALLEL, false);
        match cursor.round {
            0 => self.walk(job, &look, cursor).await,
            _ => try_again(job, &look, cursor).await,
        }
    }
}

impl RollbackWork {
    /// The next page of all keys.
    async fn walk(&mut self, job: &JobContext, look: &Look<'_>, cursor: Cursor) -> Result<Progress> {
        let slice = Slice::new(job.shadow.native().clock(), &job.stop);
        let (prefix, after) = (&job.job.prefix, cursor.after.as_deref());
        let page = job.shadow.roll_back_page(look, prefix, after, is_dry_run(job), &slice, &mut self.ahead).await?;
        let nothing_went = !page.keys.is_empty() && page.keys.iter().all(|(_, outcome)| outcome.is_err());
        if let Some((_, Err(error))) = page.keys.first()
            && nothing_went
            && self.strikes < STRIKES_MAX
        {
            // Rather a fault of the origin than of those keys: tried again before it is held against them.
            self.strikes += 1;
            return Err(Error::new(ErrorKind::OriginUnavailable, "the origin takes none of the objects back now").because(error.clone()));
        }
        self.strikes = 0;
        let counts = JobCounts { objects_done: page.same, ..JobCounts::default() };
        let mut progress = Progress { counts, ..Progress::default() };
        for (key, outcome) in page.keys {
            match outcome {
                Ok(rolled) => done(job, &mut progress, key, rolled),
                Err(error) => {
                    progress.counts.objects_failed += 1;
                    progress.notes.push((key, Some(failure(job, &error, 1))));
                }
            }
        }
        match page.next {
            Some(after) => progress.cursor = Some(encode(&Cursor { after: Some(after), ..cursor })),
            None => end_round(job, &mut progress, 0),
        }
        Ok(progress)
    }
}

/// Switches write-through on, which probes the rights it needs.
async fn begin(job: &JobContext) -> Result<Progress> {
    let mut progress = Progress { cursor: Some(encode(&Cursor { round: 0, after: None })), ..Progress::default() };
    if !is_dry_run(job) && !writes_through(&job.bucket) {
        let on = AttachRequest { write_through: Some(true), ..AttachRequest::default() };
        job.shadow.attach(&job.cx, &job.bucket, on).await?;
        progress.counts.tally("write-through-switched-on", 0);
    }
    Ok(progress)
}

/// The next failures, once more.
async fn try_again(job: &JobContext, look: &Look<'_>, cursor: Cursor) -> Result<Progress> {
    let mut progress = Progress::default();
    let page = job.shadow.job_notes(&job.bucket, JobKind::Rollback, cursor.after.as_deref(), NOTES).await?;
    let slice = Slice::new(job.shadow.native().clock(), &job.stop);
    let mut next = page.next;
    for (key, note) in page.notes {
        if note.finding.is_none() {
            match job.shadow.roll_back_key(look, &key, is_dry_run(job)).await {
                Ok(rolled) => {
                    progress.mended.0 += 1;
                    progress.notes.push((key.clone(), None));
                    done(job, &mut progress, key.clone(), rolled);
                }
                Err(error) => progress.notes.push((key.clone(), Some(failure(job, &error, note.attempts + 1)))),
            }
        }
        if slice.is_over() {
            next = Some(key.as_str().to_owned());
            break;
        }
    }
    match next {
        Some(after) => progress.cursor = Some(encode(&Cursor { after: Some(after), ..cursor })),
        None => end_round(job, &mut progress, cursor.round),
    }
    Ok(progress)
}

/// What follows a round: another one, a while later, as long as something failed and there is hope.
fn end_round(job: &JobContext, progress: &mut Progress, round: u32) {
    let failed = (job.job.counts.objects_failed + progress.counts.objects_failed).saturating_sub(progress.mended.0);
    let conflicts = conflicts(&job.job.counts) + conflicts(&progress.counts);
    if failed > conflicts && round < ROUNDS_MAX {
        progress.cursor = Some(encode(&Cursor { round: round + 1, after: None }));
        progress.next = Next::After(job.shadow.0.job_retry_delay * 2_u32.pow(round));
        return;
    }
    progress.next = Next::Done;
    progress.trouble = (failed > 0).then(|| format!("{} could not be brought to the origin", counted(failed, "key", "keys")));
}

/// Keys that stand among the failed ones and are not tried again: a person has to say which side is right.
fn conflicts(counts: &JobCounts) -> u64 {
    counts.tallies().iter().find(|tally| tally.name == CONFLICT).map_or(0, |tally| tally.objects)
}

/// Counts and notes what was done about a key.
fn done(job: &JobContext, progress: &mut Progress, key: ObjectKey, rolled: Rolled) {
    let (name, size, detail) = match rolled {
        Rolled::Same => {
            progress.counts.objects_done += 1;
            return;
        }
        Rolled::Copied(size) => ("copied", size, "newer here"),
        Rolled::Tagged => ("tagged", 0, "its tags are newer here"),
        Rolled::Deleted(size) => ("deleted", size, "deleted here"),
        Rolled::Conflict(difference) => {
            progress.counts.objects_failed += 1;
            progress.counts.bytes_failed += difference.size;
            progress.counts.tally(CONFLICT, difference.size);
            let (key, note) = difference.note(false, job.shadow.native().clock().now());
            let finding = Some(Finding { name: CONFLICT.to_owned(), explained: false });
            return progress.notes.push((key, Some(Note { finding, ..note })));
        }
        Rolled::Left(difference) => {
            progress.counts.objects_done += 1;
            progress.counts.tally("left", difference.size);
            let (key, note) = difference.note(false, job.shadow.native().clock().now());
            return progress.notes.push((key, Some(note)));
        }
    };
    progress.counts.objects_done += 1;
    progress.counts.bytes_done += size;
    progress.counts.tally(name, size);
    if is_dry_run(job) {
        let finding = Some(Finding { name: name.to_owned(), explained: true });
        let at = job.shadow.native().clock().now().as_millis();
        let note = Note { reason: detail.to_owned(), attempts: 1, at, size: Some(size), differences: vec![], finding };
        progress.notes.push((key, Some(note)));
    }
}

fn failure(job: &JobContext, error: &Error, attempts: u32) -> Note {
    let at = job.shadow.native().clock().now().as_millis();
    Note { reason: reason(error), attempts, at, size: None, differences: vec![], finding: None }
}

fn is_dry_run(job: &JobContext) -> bool {
    job.job.options.dry_run == Some(true)
}
