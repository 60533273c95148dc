//! Runs a job: takes its lease, then step by step until it ends, is stopped, or belongs to somebody else.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use umbra_core::{BucketName, Error, ErrorKind, ObjectKey, RequestContext, Result, with_causes};
use umbra_meta::{Batch, Expect, Partition, Projection, Revision, key};
use umbra_store::Bucket;

use super::{Job, JobContext, JobKind, JobState, Lease, Next, Progress, Work, work::work_of};
use crate::{
    Shadow,
    list_advance::Stalled,
    record::{decode, encode},
    shadow::scope_of,
};

/// How long a lease lasts without being renewed: as long another node waits before it takes a job over.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed during a long step.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long a step may take to end once it was told to.
const STOPS_WITHIN: Duration = Duration::from_secs(2);
/// The longest rest after a failure that may pass.
const DELAY_MAX: Duration = Duration::from_secs(30);
/// Over how long the rates are averaged, in milliseconds.
const RATE_WINDOW_MS: u64 = 10_000;
/// Rows dropped at once.
const PAGE: usize = 1000;

impl Shadow {
    /// Runs a job as soon as no other runner of this process does. One that is not running by then is left alone.
    pub(crate) fn spawn_job(&self, bucket: &Bucket, kind: JobKind) {
        let (shadow, name, partition) = (self.clone(), bucket.name.clone(), bucket.partition);
        self.0.tasks.spawn(async move {
            let slot = ObjectKey::parse(kind.name()).expect("a kind's name is a key");
            let _slot = shadow.0.jobs.slots.lock(partition, &slot).await;
            let stop = shadow.0.stopping.child_token();
            shadow.0.jobs.stops.lock().insert((partition, kind), stop.clone());
            let mut runner = Runner { shadow: shadow.clone(), name, partition, kind, stop };
            runner.run().await;
            shadow.0.jobs.stops.lock().remove(&(partition, kind));
            shadow.0.jobs.changed.send_replace(());
        });
    }
}

struct Runner {
    shadow: Shadow,
    name: BucketName,
    partition: Partition,
    kind: JobKind,
    stop: CancellationToken,
}

/// A job whose lease is ours, as we last wrote it.
struct Held {
    job: Job,
    revision: Revision,
}

/// What became of a step.
enum Stepped {
    Progress(Box<Progress>),
    /// It was stopped before it came to anything.
    Stopped,
    /// The job is not ours any more, or does not go on.
    Lost,
}

impl Runner {
    async fn run(&mut self) {
        let mut delay = Delay::new(self.shadow.0.job_retry_delay);
        while !self.stop.is_cancelled() {
            match self.attempt(&mut delay).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(bucket = %self.name, kind = %self.kind, error = ?error, "a job is held up");
                    if !error.kind().is_retryable() {
                        return;
                    }
                    self.rest(delay.next()).await;
                }
            }
        }
    }

    /// Runs the job to wherever it gets. Fails when its row cannot be read or written.
    async fn attempt(&mut self, delay: &mut Delay) -> Result<()> {
        let Some(mut held) = self.claim().await? else { return Ok(()) };
        let mut work = work_of(self.kind);
        self.drop_earlier_notes(&held.job).await?;
        loop {
            let Some(context) = self.context(&held).await? else {
                let gone = Progress { trouble: Some("the shadow was cleared or changed".to_owned()), ..Progress::default() };
                return self.end(&mut held, gone, JobState::Cancelled).await.map(drop);
            };
            let (progress, rest) = match self.step(&mut *work, &context, &mut held).await {
                Ok(Stepped::Progress(progress)) => {
                    delay.reset();
                    let rest = if let Next::After(rest) = progress.next { Some(rest) } else { None };
                    (Outcome::of(*progress), rest)
                }
                Ok(Stepped::Stopped) => (Outcome::of(Progress::default()), None),
                Ok(Stepped::Lost) => return Ok(()),
                Err(error) => failed(&error, delay),
            };
            if !self.record(&mut held, progress).await? || self.stop.is_cancelled() {
                return Ok(());
            }
            if let Some(rest) = rest {
                self.rest(rest).await;
            }
        }
    }

    /// Takes the lease of the job; `None` when it does not run.
    async fn claim(&self) -> Result<Option<Held>> {
        let row = key::job::record(self.kind.code());
        while !self.stop.is_cancelled() {
            let Some(entry) = self.shadow.native().meta().get(self.partition, &row).await? else { return Ok(None) };
            let mut job: Job = decode("job", &entry.body)?;
            if job.state != JobState::Running {
                return Ok(None);
            }
            let now = self.shadow.native().clock().now().as_millis();
            if let Some(lease) = job.lease.as_ref().filter(|lease| lease.expires > now && !self.was_ours(lease)) {
                // Looked at again soon: its owner may give it back any time.
                let wait = Duration::from_millis(lease.expires.abs_diff(now)).min(self.shadow.0.job_retry_delay);
                self.rest(wait).await;
                continue;
            }
            if now > job.updated.saturating_add(LEASE.as_millis() as i64) {
                // It has rested: no process ran it.
                job.options.for_detach = None;
            }
            job.lease = Some(self.lease());
            let batch = self.batch(entry.revision).put(row.clone(), Bytes::new(), encode(&job));
            match self.shadow.native().meta().commit(batch).await {
                Ok(committed) => return Ok(Some(Held { job, revision: committed.revision })),
                Err(umbra_meta::Error::Conflict { key, .. }) if key == row => {}
                // Without settings there is no bucket any more.
                Err(umbra_meta::Error::Conflict { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Whether a lease belongs to this process, or to one before it on the same node: two at once cannot have the data directory.
    fn was_ours(&self, lease: &Lease) -> bool {
        let node = |owner: &str| owner.rsplit_once('/').map(|(node, _)| node.to_owned());
        node(&lease.owner) == node(&self.shadow.0.jobs.owner)
    }

    fn lease(&self) -> Lease {
        let expires = self.shadow.native().clock().now().plus(LEASE).as_millis();
        Lease { owner: self.shadow.0.jobs.owner.clone(), expires }
    }

    fn batch(&self, revision: Revision) -> Batch {
        let row = key::job::record(self.kind.code());
        Batch::new(self.partition).check(key::settings(), Expect::Exists).check(row, Expect::Revision(revision))
    }

    /// What the next step works with; `None` when the shadow the job belongs to is gone.
    async fn context(&self, held: &Held) -> Result<Option<JobContext>> {
        let bucket = match self.shadow.0.catalog.refresh(&self.name).await {
            Ok(bucket) => bucket,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if bucket.partition != self.partition || scope_of(&bucket) != held.job.scope {
            return Ok(None);
        }
        let Some(origin) = self.shadow.origin(&bucket)? else { return Ok(None) };
        let cx = RequestContext { request_id: self.kind.name().to_owned(), ..RequestContext::default() };
        let (job, stop) = (held.job.clone(), self.stop.clone());
        Ok(Some(JobContext { shadow: self.shadow.clone(), cx, bucket: (*bucket).clone(), origin, job, stop }))
    }

    /// One step of the work, the lease being renewed as long as it takes.
    async fn step(&self, work: &mut dyn Work, context: &JobContext, held: &mut Held) -> Result<Stepped> {
        let mut step = work.step(context);
        loop {
            tokio::select! {
                biased;
                done = &mut step => return done.map(|progress| Stepped::Progress(Box::new(progress))),
                () = overdue(&self.stop) => return Ok(Stepped::Stopped),
                () = sleep(RENEWAL) => {
                    if !self.record(held, Outcome::of(Progress::default())).await? {
                        self.stop.cancel();
                        if held.job.state == JobState::Running {
                            return Ok(Stepped::Lost);
                        }
                    }
                }
            }
        }
    }

    async fn end(&self, held: &mut Held, progress: Progress, state: JobState) -> Result<bool> {
        self.record(held, Outcome { progress, state }).await
    }

    /// Commits what a step came to and renews the lease. Whether the job goes on, with us.
    ///
    /// Its owner may have paused or cancelled it, or changed its options, meanwhile: what was done counts all the same.
    async fn record(&self, held: &mut Held, outcome: Outcome) -> Result<bool> {
        let row = key::job::record(self.kind.code());
        let mut attempted: Option<Vec<u8>> = None;
        let mut delay = Delay::new(self.shadow.0.job_retry_delay);
        loop {
            let mut job = held.job.clone();
            outcome.apply(&mut job, self.shadow.native().clock().now().as_millis());
            let goes_on = job.state == JobState::Running && !self.stop.is_cancelled();
            job.lease = goes_on.then(|| self.lease());
            let body = encode(&job);
            let batch = self.batch(held.revision).put(row.clone(), Bytes::new(), body.clone());
            let batch = outcome.progress.notes.iter().fold(batch, |batch, (key, note)| {
                let row = key::job::note(self.kind.code(), job.run, key);
                match note {
                    Some(note) => batch.put(row, Bytes::new(), encode(note)),
                    None => batch.delete(row),
                }
            });
            match self.shadow.native().meta().commit(batch).await {
                Ok(committed) => {
                    *held = Held { job, revision: committed.revision };
                    break;
                }
                Err(umbra_meta::Error::Conflict { key, current }) => {
                    let Some(current) = current.filter(|_| key == row) else { return Ok(false) };
                    let is_done = attempted.as_deref() == Some(&current.body[..]);
                    let now: Job = decode("job", &current.body)?;
                    if now.run != held.job.run
                        || (!is_done && now.lease.as_ref().is_none_or(|lease| lease.owner != self.shadow.0.jobs.owner))
                    {
                        return Ok(false);
                    }
                    *held = Held { job: now, revision: current.revision };
                    if is_done {
                        break;
                    }
                }
                Err(error) => {
                    let error = Error::from(error);
                    if !error.kind().is_retryable() || self.stop.is_cancelled() {
                        return Err(error);
                    }
                    // It may have been written all the same: then the next attempt finds what this one wrote.
                    attempted = Some(body);
                    self.rest(delay.next()).await;
                }
            }
        }
        self.shadow.0.jobs.changed.send_replace(());
        if held.job.state != JobState::Running {
            tracing::info!(bucket = %self.name, kind = %self.kind, state = %held.job.state, reason = held.job.reason, "job stopped");
        }
        Ok(held.job.state == JobState::Running)
    }

    /// Drops the notes of earlier runs, page by page.
    async fn drop_earlier_notes(&self, job: &Job) -> Result<()> {
        let range = key::job::notes_before(self.kind.code(), job.run);
        while !self.stop.is_cancelled() {
            let rows = self.shadow.native().meta().scan(self.partition, range.clone(), PAGE, Projection::Head).await?;
            if rows.is_empty() {
                break;
            }
            let batch = rows.into_iter().fold(Batch::new(self.partition), |batch, row| batch.delete(row.key.to_vec()));
            self.shadow.native().meta().commit(batch).await?;
        }
        Ok(())
    }

    async fn rest(&self, rest: Duration) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = sleep(rest) => {}
        }
    }
}

/// Ends some time after `stop` was cancelled.
fn overdue(stop: &CancellationToken) -> impl Future<Output = ()> + use<> {
    let stop = stop.clone();
    async move {
        stop.cancelled().await;
        sleep(STOPS_WITHIN).await;
    }
}

/// What a failure of a step means for the job: most pass, some need a person.
fn failed(error: &Error, delay: &mut Delay) -> (Outcome, Option<Duration>) {
    let reason = reason(error);
    let state = match error.kind() {
        ErrorKind::Cancelled => JobState::Running,
        // Asking again would cost as much again and come to the same.
        _ if Stalled::is_source_of(error) => JobState::Failed,
        kind if kind.is_retryable() => JobState::Running,
        ErrorKind::OriginRefused | ErrorKind::DiskFull => JobState::Paused,
        _ => JobState::Failed,
    };
    let progress = Progress { trouble: Some(reason), ..Progress::default() };
    (Outcome { progress, state }, Some(delay.next()))
}

/// The line for a person, with what the origin said.
pub(crate) fn reason(error: &Error) -> String {
    let is_of_origin = matches!(error.kind(), ErrorKind::OriginUnavailable | ErrorKind::OriginRefused);
    if is_of_origin { with_causes(error) } else { error.message().to_owned() }
}

/// What is to be committed after a step.
struct Outcome {
    progress: Progress,
    state: JobState,
}

impl Outcome {
    fn of(mut progress: Progress) -> Self {
        let state = match &mut progress.next {
            Next::Step | Next::After(_) => JobState::Running,
            Next::Done => JobState::Done,
            Next::Pause(reason) => {
                progress.trouble = Some(std::mem::take(reason));
                JobState::Paused
            }
        };
        Self { progress, state }
    }

    fn apply(&self, job: &mut Job, now: i64) {
        let Progress { cursor, counts: more, mended, trouble, .. } = &self.progress;
        if let Some(cursor) = cursor {
            job.cursor = Some(cursor.clone());
        }
        let counts = &mut job.counts;
        counts.objects_done += more.objects_done;
        counts.bytes_done += more.bytes_done;
        counts.objects_left = more.objects_left.or(counts.objects_left);
        counts.bytes_left = more.bytes_left.or(counts.bytes_left);
        counts.objects_failed = (counts.objects_failed + more.objects_failed).saturating_sub(mended.0);
        counts.bytes_failed = (counts.bytes_failed + more.bytes_failed).saturating_sub(mended.1);
        counts.bytes_egress += more.bytes_egress;
        more.tallies().iter().for_each(|tally| counts.add_tally(tally));
        let elapsed = now.saturating_sub(job.updated).unsigned_abs();
        // Bytes of a large object count as they arrive, or nothing would seem to go on before it is whole.
        let arrived = if job.kind == JobKind::Backfill { more.bytes_egress } else { more.bytes_done };
        job.bytes_per_second = average(job.bytes_per_second, arrived.saturating_mul(1000), elapsed);
        job.objects_per_kilosecond = average(job.objects_per_kilosecond, more.objects_done.saturating_mul(1_000_000), elapsed);
        job.updated = now;
        // Somebody may have paused or cancelled it meanwhile; a job that came to its end is done nevertheless.
        if job.state == JobState::Running || (self.state == JobState::Done && job.state == JobState::Paused) {
            (job.state, job.reason) = (self.state, trouble.clone());
            if !job.is_active() {
                job.ended = Some(now);
            }
            if job.state == JobState::Done && job.prefix.is_empty() {
                job.complete = Some((job.started, now));
            }
        }
    }
}

/// A moving average of a rate: `amount` came in the latest `elapsed` milliseconds, in the unit of the rate times a thousand.
fn average(rate: u64, amount: u64, elapsed: u64) -> u64 {
    let weight = elapsed.clamp(1, RATE_WINDOW_MS);
    let latest = u128::from(amount) / u128::from(elapsed.max(1));
    let mixed = (u128::from(rate) * u128::from(RATE_WINDOW_MS - weight) + latest * u128::from(weight)) / u128::from(RATE_WINDOW_MS);
    u64::try_from(mixed).unwrap_or(u64::MAX)
}

/// Doubles from one failure to the next.
struct Delay {
    first: Duration,
    next: Duration,
}

impl Delay {
    const fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    fn next(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(DELAY_MAX);
        delay
    }

    fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::average;

    #[test]
    fn rates_follow_what_happens() {
        let mut rate = 0;
        for _ in 0..100 {
            rate = average(rate, 5000 * 1000, 1000);
        }
        assert!((4900..=5000).contains(&rate), "{rate}");
        assert_eq!(average(rate, 0, 20_000), 0, "nothing came for longer than the window");
        assert_eq!(average(0, u64::MAX, 0), u64::MAX / 10_000);
    }
}
