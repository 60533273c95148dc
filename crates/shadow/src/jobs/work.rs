//! What a kind of job has to be able to do: one bounded step at a time.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use umbra_core::{ObjectKey, RequestContext, Result};
use umbra_store::Bucket;

use super::{Job, JobCounts, JobKind, Note};
use crate::{Shadow, backfill::Backfill, inventory::InventoryPass, origin::Origin, rollback_work::RollbackWork, verify_work::VerifyWork};

/// The work of one kind of job. One value works on one run from a start of the process, or a resumption, to the next stop.
#[async_trait]
pub(crate) trait Work: Send {
    /// Does a bounded unit of work from `job.cursor` on, within a second or so, and tells how far it came.
    ///
    /// A step may be done again: after a crash, or when another node takes over. It may be dropped while it waits. What can be tried
    /// again later should fail with a kind that says so; the runner backs off, and pauses or fails the job for other kinds.
    async fn step(&mut self, job: &JobContext) -> Result<Progress>;
}

/// What a step works with.
pub(crate) struct JobContext {
    pub(crate) shadow: Shadow,
    pub(crate) cx: RequestContext,
    /// The bucket as it stood when the step began.
    pub(crate) bucket: Bucket,
    pub(crate) origin: Arc<dyn Origin>,
    pub(crate) job: Job,
    /// Cancelled when the step should come to its end.
    pub(crate) stop: CancellationToken,
}

/// What a step came to. It is committed whole, and only then is the next step begun.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Where the next step begins; `None` leaves it.
    pub(crate) cursor: Option<Vec<u8>>,
    /// What is to be added to the job's counts. What is left replaces them, where told.
    pub(crate) counts: JobCounts,
    /// Objects and bytes that were counted as failed, and are not any more.
    pub(crate) mended: (u64, u64),
    /// Notes to keep, and with `None` to drop.
    pub(crate) notes: Vec<(ObjectKey, Option<Note>)>,
    /// What holds it up.
    pub(crate) trouble: Option<String>,
    /// What comes next.
    pub(crate) next: Next,
}

/// What comes after a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next step.
    #[default]
    Step,
    /// The next step, after a while.
    After(Duration),
    /// Nothing: it is done.
    Done,
    /// A pause, with its reason.
    Pause(String),
}

/// The work of a job of `kind`.
pub(super) fn work_of(kind: JobKind) -> Box<dyn Work> {
    match kind {
        JobKind::Inventory => Box::<InventoryPass>::default(),
        JobKind::Backfill => Box::<Backfill>::default(),
        JobKind::Verify => Box::<VerifyWork>::default(),
        JobKind::Rollback => Box::<RollbackWork>::default(),
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext").field("bucket", &self.bucket.name).field("job", &self.job).finish_non_exhaustive()
    }
}
