//! Durable jobs of a bucket with an origin: one of each kind at a time.
//!
//! # States
//! `running → paused → running …`, and at the end `done`, `cancelled` or `failed`. A job that failed can be resumed. Starting one anew is a
//! new *run*: counts and notes begin at nothing.
//!
//! # Invariants
//! - Everything about a job is its row (`record.rs`), changed by compare-and-set. What a run found out of single keys are notes, a row each.
//! - Whoever runs a job holds its lease, renewed with every step; a commit of somebody who lost it fails. So it never runs twice at once:
//!   at worst one step is done again, and every step may be (`runner.rs`).
//! - A job belongs to one origin in one generation. When the shadow is cleared, or changed for another, it ends as cancelled; with the shadow
//!   its rows go.
//!
//! # Crash consistency
//! A job that was running is found at the start and goes on from its cursor.

mod kind;
mod record;
mod runner;
mod work;

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use umbra_core::{Entity, Error, ErrorKind, Fault, ObjectKey, Result};
use umbra_meta::{Batch, Entry, Expect, Partition, Projection, Revision, is_outcome_unknown, key};
use umbra_store::Bucket;

pub use self::{
    kind::{JobKind, JobOptions, JobOrder},
    record::{Difference, Finding, Job, JobCounts, JobState, Note, Tally},
};
pub(crate) use self::{
    record::Lease,
    runner::reason,
    work::{JobContext, Next, Progress, Work},
};
use crate::{
    Shadow,
    key_locks::KeyLocks,
    record::{decode, encode},
    shadow::scope_of,
};

/// How often a change of a job begins anew because its runner wrote meanwhile.
const ATTEMPTS_MAX: usize = 64;

/// What a job is to do.
#[derive(Clone, Debug)]
pub struct JobRequest {
    /// What kind of work.
    pub kind: JobKind,
    /// Only keys that begin with this; empty for all.
    pub prefix: String,
    /// How it is to be done.
    pub options: JobOptions,
}

/// A page of notes, by key.
#[derive(Clone, Debug, Default)]
pub struct NotesPage {
    /// Keys and what was noted of them.
    pub notes: Vec<(ObjectKey, Note)>,
    /// The key to go on behind; `None` on the last page.
    pub next: Option<String>,
}

/// The jobs that this process runs.
#[derive(Debug)]
pub(crate) struct Jobs {
    /// Names this process in leases: the node, a slash, and a number of its own for each start.
    owner: String,
    /// One runner of a job at a time within the process.
    slots: KeyLocks,
    /// Stops the runner of a job.
    stops: Mutex<HashMap<(Partition, JobKind), CancellationToken>>,
    /// Told whenever a job of this process took a step.
    changed: watch::Sender<()>,
}

impl Jobs {
    /// The jobs of a process on `node`, told from its earlier processes by `start`.
    pub(crate) fn new(node: &str, start: [u8; 8]) -> Self {
        let owner = format!("{node}/{:016x}", u64::from_be_bytes(start));
        Self { owner, slots: KeyLocks::default(), stops: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &str {
        self.owner.rsplit_once('/').map_or(self.owner.as_str(), |(node, _)| node)
    }

    /// Stops the runners of a bucket's jobs: its shadow was cleared.
    pub(crate) fn stop(&self, partition: Partition) {
        for ((of, _), stop) in self.stops.lock().iter() {
            if *of == partition {
                stop.cancel();
            }
        }
    }
}

/// There is no job of this kind.
pub fn no_such_job(bucket: &Bucket, kind: JobKind) -> Error {
    Error::new(ErrorKind::NotFound(Entity::Job), format!("the bucket {} has no {kind}", bucket.name))
}

impl Shadow {
    /// Starts a job. Refused while one of its kind is running or paused.
    pub async fn start_job(&self, bucket: &Bucket, request: JobRequest) -> Result<Job> {
        if bucket.settings.shadow.is_none() {
            return Err(Error::new(ErrorKind::NotFound(Entity::Shadow), format!("the bucket {} has no shadow", bucket.name)));
        }
        request.options.check(request.kind)?;
        for _ in 0..ATTEMPTS_MAX {
            let found = self.read_job(bucket, request.kind).await?;
            let (expect, old) = match &found {
                Some((job, revision)) => (Expect::Revision(*revision), Some(job)),
                None => (Expect::Absent, None),
            };
            if let Some(old) = old.filter(|old| old.is_active() && old.scope == scope_of(bucket)) {
                return Err(active(old));
            }
            let job = Job::new(bucket.settings.generation, scope_of(bucket), &request, old, self.native().clock().now());
            let row = key::job::record(request.kind.code());
            let batch = Batch::new(bucket.partition)
                .check(key::settings(), Expect::Revision(bucket.revision))
                .check(row.clone(), expect)
                .put(row, Bytes::new(), encode(&job));
            match self.native().meta().commit(batch).await {
                Ok(_) => {
                    tracing::info!(bucket = %bucket.name, kind = %job.kind, prefix = %job.prefix, "job started");
                    self.spawn_job(bucket, job.kind);
                    return Ok(job);
                }
                Err(umbra_meta::Error::Conflict { key, .. }) if key != key::settings() => {}
                Err(error) => {
                    // It may be there all the same: then it runs.
                    self.spawn_job(bucket, job.kind);
                    return Err(error.into());
                }
            }
        }
        Err(contended())
    }

    /// A job as it stands; `None` when none of its kind was started since the shadow was set.
    pub async fn job(&self, bucket: &Bucket, kind: JobKind) -> Result<Option<Job>> {
        let found = self.read_job(bucket, kind).await?;
        Ok(found.map(|(job, _)| job).filter(|job| job.scope == scope_of(bucket)))
    }

    /// The latest job of each kind that was started since the shadow was set; none without one.
    pub async fn jobs(&self, bucket: &Bucket) -> Result<Vec<Job>> {
        let mut found = Vec::new();
        if bucket.settings.shadow.is_some() {
            for kind in JobKind::ALL {
                found.extend(self.job(bucket, kind).await?);
            }
        }
        Ok(found)
    }

    /// Pauses a job until it is resumed. Pausing what is paused is no error.
    pub async fn pause_job(&self, bucket: &Bucket, kind: JobKind) -> Result<Job> {
        let change = |job: &mut Job| match job.state {
            JobState::Running => {
                (job.state, job.reason) = (JobState::Paused, Some("on request".to_owned()));
                Ok(())
            }
            JobState::Paused => Ok(()),
            _ => Err(over(job)),
        };
        let job = self.change_job(bucket, kind, change).await?;
        self.stop_runner(bucket, kind);
        Ok(job)
    }

    /// Lets a paused or failed job go on where it was. What `options` name is changed, also of a job that is running.
    pub async fn resume_job(&self, bucket: &Bucket, kind: JobKind, options: &JobOptions) -> Result<Job> {
        options.check(kind)?;
        let change = |job: &mut Job| match job.state {
            JobState::Running | JobState::Paused | JobState::Failed => {
                if job.state != JobState::Running {
                    (job.state, job.reason, job.ended) = (JobState::Running, None, None);
                    job.options.for_detach = None;
                }
                job.options.merge(options);
                Ok(())
            }
            _ => Err(over(job)),
        };
        let job = self.change_job(bucket, kind, change).await?;
        self.spawn_job(bucket, kind);
        Ok(job)
    }

    /// Ends a job for good. Cancelling what is over is no error.
    pub async fn cancel_job(&self, bucket: &Bucket, kind: JobKind) -> Result<Job> {
        let now = self.native().clock().now();
        let change = |job: &mut Job| {
            if job.state != JobState::Done && job.state != JobState::Cancelled {
                (job.state, job.reason, job.ended) = (JobState::Cancelled, Some("on request".to_owned()), Some(now.as_millis()));
            }
            Ok(())
        };
        let job = self.change_job(bucket, kind, change).await?;
        self.stop_runner(bucket, kind);
        Ok(job)
    }

    /// What the latest run of a job noted, behind the key `after`, at most `limit` notes.
    pub async fn job_notes(&self, bucket: &Bucket, kind: JobKind, after: Option<&str>, limit: usize) -> Result<NotesPage> {
        let job = self.job(bucket, kind).await?.ok_or_else(|| no_such_job(bucket, kind))?;
        let mut range = key::job::note_range(kind.code(), job.run, "");
        if let Some(after) = after {
            range = range.after(&key::job::note_prefix(kind.code(), job.run, after));
        }
        let mut rows = self.native().meta().scan(bucket.partition, range, limit.saturating_add(1), Projection::Full).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let mut page = NotesPage::default();
        for row in &rows {
            page.notes.extend(note_of(row)?);
        }
        page.next = page.notes.last().filter(|_| more).map(|(key, _)| key.to_string());
        Ok(page)
    }

    /// Waits until a job of this process took a step, from the moment this is called.
    pub(crate) fn watch_jobs(&self) -> watch::Receiver<()> {
        self.0.jobs.changed.subscribe()
    }

    /// Starts the jobs again that were running when an earlier process ended.
    pub(crate) async fn start_jobs(&self, bucket: &Bucket) -> Result<()> {
        for kind in JobKind::ALL {
            match self.job(bucket, kind).await {
                Ok(Some(job)) if job.state == JobState::Running => self.spawn_job(bucket, kind),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(bucket = %bucket.name, %kind, error = ?error, "the record of a job is damaged; it does not go on");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn read_job(&self, bucket: &Bucket, kind: JobKind) -> Result<Option<(Job, Revision)>> {
        let entry = self.native().meta().get(bucket.partition, &key::job::record(kind.code())).await?;
        entry.map(|entry| Ok((decode("job", &entry.body)?, entry.revision))).transpose()
    }

    async fn change_job(&self, bucket: &Bucket, kind: JobKind, change: impl Fn(&mut Job) -> Result<()>) -> Result<Job> {
        let row = key::job::record(kind.code());
        for _ in 0..ATTEMPTS_MAX {
            let found = self.read_job(bucket, kind).await?.filter(|(job, _)| job.scope == scope_of(bucket));
            let (mut job, revision) = found.ok_or_else(|| no_such_job(bucket, kind))?;
            let before = job.clone();
            change(&mut job)?;
            if job == before {
                return Ok(job);
            }
            job.updated = self.native().clock().now().as_millis();
            let batch = Batch::new(bucket.partition).check(key::settings(), Expect::Exists).check(row.clone(), Expect::Revision(revision));
            match self.native().meta().commit(batch.put(row.clone(), Bytes::new(), encode(&job))).await.map_err(Error::from) {
                Ok(_) => return Ok(job),
                Err(error) if error.kind() == ErrorKind::Conflict || is_outcome_unknown(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(contended())
    }

    fn stop_runner(&self, bucket: &Bucket, kind: JobKind) {
        if let Some(stop) = self.0.jobs.stops.lock().get(&(bucket.partition, kind)) {
            stop.cancel();
        }
    }
}

/// The key and the note of a row, unless it is no note.
pub(crate) fn note_of(row: &Entry) -> Result<Option<(ObjectKey, Note)>> {
    let Some((_, _, key)) = key::job::parse_note(&row.key) else { return Ok(None) };
    Ok(Some((ObjectKey::parse(key)?, decode("note", &row.body)?)))
}

fn active(job: &Job) -> Error {
    let first = if job.state == JobState::Paused { "resume or cancel it first" } else { "wait for its end or cancel it first" };
    Error::invalid(Fault::InvalidRequest, format!("the {} of this bucket {} already; {first}", job.kind, job.state.said()))
}

fn over(job: &Job) -> Error {
    Error::invalid(Fault::InvalidRequest, format!("the {} of this bucket {}; start a new one", job.kind, job.state.said()))
}

fn contended() -> Error {
    Error::new(ErrorKind::Conflict, "the job keeps changing; please try again")
}
