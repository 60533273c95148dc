//! Backfill: brings the rest here in the background.
//!
//! It works off the inventory, which is listed anew for it, and may move the first keys while the last are still being listed. Objects come
//! through the same single flight as those that users ask for, so no byte leaves the origin twice. Its cursor is the key up to which
//! everything is settled: after a crash what was under way is looked at again, and what had arrived is no longer in the inventory.
//!
//! # Order
//! By key, or by class of size ([`CLASSES`]): one walk through the inventory for each class, which moving makes ever shorter.
//!
//! # Failures
//! Each is a note. An origin that pushes back or cannot be reached is waited for, with fewer objects at once; that counts against no
//! object. What fails although the origin answers is tried again in later rounds, and left as failed after [`ATTEMPTS_MAX`].

mod flight;
mod listing;
pub(crate) mod pace;
mod source;
mod throttle;
mod under_way;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};
use umbra_core::{ObjectKey, Result};

use self::{
    flight::{Landed, Outcome},
    pace::Pace,
    source::Source,
    throttle::Throttle,
    under_way::{Stalled, UnderWay},
};
use crate::jobs::{JobContext, Next, Note, Progress, Work, reason};

/// Objects moved at once, unless the job says otherwise.
const PARALLEL: u32 = 16;
/// How often an object is tried.
const ATTEMPTS_MAX: u32 = 4;
/// How long a step takes about, and how many notes it may bring: what is between two commits.
const STEP: Duration = Duration::from_millis(250);
const NOTES_MAX: usize = 256;
/// How long a step waits at most for the listing of the origin to bring more.
const LISTING_DELAY: Duration = Duration::from_millis(100);

/// The bounds of the classes of size, in bytes: a class holds what is smaller than its bound and not than the one before.
const CLASSES: [u64; 5] = [64 << 10, 1 << 20, 16 << 20, 256 << 20, u64::MAX];

/// The work of a backfill.
#[derive(Default)]
pub(crate) struct Backfill {
    source: Option<Source>,
    throttle: Option<Throttle>,
    pace: Arc<Pace>,
    under_way: UnderWay,
    /// Nothing is begun before this.
    resting_until: Option<Instant>,
    trouble: Option<String>,
}

#[async_trait]
impl Work for Backfill {
    async fn step(&mut self, job: &JobContext) -> Result<Progress> {
        let options = &job.job.options;
        self.pace.set(options.bytes_per_second, options.requests_per_second);
        let mut source = match self.source.take() {
            Some(source) => source,
            None => Source::new(job)?,
        };
        let mut progress = Progress::default();
        let worked = self.work(job, &mut source, &mut progress).await;
        let is_idle = self.under_way.is_empty();
        match worked.map(|stalled| stalled.filter(|_| is_idle && progress.next == Next::Step)) {
            Ok(None) => {}
            Ok(Some(Stalled::Nothing)) => {
                let failed = (job.job.counts.objects_failed + progress.counts.objects_failed).saturating_sub(progress.mended.0);
                progress.next = source.next_phase(job, failed);
            }
            Ok(Some(Stalled::Listing(trouble))) => {
                self.trouble = trouble;
            }
            Ok(Some(Stalled::Stuck(reason))) => progress.next = Next::Pause(reason),
            Err(error) if !error.kind().is_retryable() => return Err(error),
            // What landed before counts all the same.
            Err(error) => {
                self.trouble = Some(reason(&error));
                progress.next = Next::After(job.shadow.0.job_retry_delay);
            }
        }
        progress.cursor = Some(source.cursor(is_idle));
        progress.trouble.clone_from(&self.trouble);
        source.tell_left(job, &mut progress).await.unwrap_or_else(|error| tracing::debug!(error = ?error, "what is left is not known"));
        self.source = Some(source);
        Ok(progress)
    }
}

impl Backfill {
    /// Goes on for as long as a step takes; tells why it cannot, when it cannot.
    async fn work(&mut self, job: &JobContext, source: &mut Source, progress: &mut Progress) -> Result<Option<Stalled>> {
        let (began, mut stalled_until) = (Instant::now(), None);
        let mut steps = job.shadow.watch_jobs();
        loop {
            let stalled = self.cycle(job, source, progress).await?;
            let is_over = began.elapsed() >= STEP || progress.notes.len() >= NOTES_MAX || job.stop.is_cancelled();
            if is_over || progress.next != Next::Step {
                return Ok(stalled);
            }
            match &stalled {
                Some(Stalled::Listing(_)) if self.under_way.is_empty() => {}
                Some(_) if self.under_way.is_empty() => return Ok(stalled),
                _ => {
                    stalled_until = None;
                    continue;
                }
            }
            tokio::select! {
                biased;
                () = job.stop.cancelled() => return Ok(stalled),
                () = sleep_until(*stalled_until.get_or_insert_with(|| Instant::now() + LISTING_DELAY)) => return Ok(stalled),
                // The listing may have come further.
                _ = steps.changed() => {}
            }
        }
    }

    /// Begins what may be begun and takes what lands.
    async fn cycle(&mut self, job: &JobContext, source: &mut Source, progress: &mut Progress) -> Result<Option<Stalled>> {
        let parallel = job.job.options.parallel.unwrap_or(PARALLEL) as usize;
        let throttle = self.throttle.get_or_insert_with(|| Throttle::new(parallel, job.shadow.0.job_retry_delay));
        let resting_until = self.resting_until.filter(|until| *until > Instant::now());
        let stalled = if resting_until.is_some() || job.stop.is_cancelled() {
            None
        } else {
            let width = throttle.width(parallel, job.shadow.0.users.active());
            self.under_way.begin(job, source, &self.pace, width, progress.counts.bytes_egress).await?
        };
        let landed = self.under_way.land(job, resting_until).await;
        progress.counts.bytes_egress += self.under_way.count_received();
        for Landed { number, key, size, outcome } in landed {
            match settle(progress, &key, size, outcome) {
                Landing::Moved => {
                    throttle.succeeded(parallel);
                    self.trouble = None;
                    self.under_way.settle(number);
                }
                Landing::Settled => self.under_way.settle(number),
                Landing::Refused(reason) => {
                    progress.next = Next::Pause(reason);
                    self.under_way.put_off(number);
                }
                Landing::PutOff(reason) => {
                    // Of those that were under way together only the first to come back counts.
                    if reason.is_some() && self.resting_until.is_none_or(|until| until <= Instant::now()) {
                        self.resting_until = Some(Instant::now() + throttle.pushed_back());
                    }
                    self.trouble = reason.or(self.trouble.take());
                    self.under_way.put_off(number);
                }
            }
        }
        self.under_way.pass_settled(source);
        Ok(stalled)
    }
}

/// What becomes of an object that came back.
enum Landing {
    Moved,
    Settled,
    /// It is begun once more; with a reason, the origin pushed back.
    PutOff(Option<String>),
    /// Nothing goes on before somebody mends this.
    Refused(String),
}

/// Takes what became of an object into the progress.
fn settle(progress: &mut Progress, key: &ObjectKey, size: u64, outcome: Outcome) -> Landing {
    match outcome {
        Outcome::Moved(noted) => {
            progress.counts.objects_done += 1;
            progress.counts.bytes_done += size;
            mend(progress, key, size, noted);
            Landing::Moved
        }
        Outcome::Gone(noted) => {
            mend(progress, key, size, noted);
            Landing::Settled
        }
        Outcome::Failed { note, is_new } => {
            progress.counts.objects_failed += u64::from(is_new);
            progress.counts.bytes_failed += if is_new { size } else { 0 };
            progress.notes.push((key.clone(), Some(note)));
            Landing::Settled
        }
        Outcome::PushedBack(reason) => Landing::PutOff(Some(reason)),
        Outcome::Stopped => Landing::PutOff(None),
        Outcome::Refused(reason) => Landing::Refused(reason),
    }
}

/// An object that had failed before is settled after all.
fn mend(progress: &mut Progress, key: &ObjectKey, size: u64, noted: Option<Note>) {
    if let Some(note) = noted {
        progress.mended.0 += 1;
        progress.mended.1 += note.size.unwrap_or(size);
        progress.notes.push((key.clone(), None));
    }
}
