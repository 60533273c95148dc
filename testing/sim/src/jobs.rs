//! Who starts jobs, holds them up and ends them; and what a job must say once everything is at rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use umbra_core::{Error, ErrorKind, Result};
use umbra_shadow::{Job, JobKind, JobOptions, JobOrder, JobRequest, JobState, Note};

use crate::{history::Mode, life::Life, origin::Change, sides::Sides};

/// How long a job may take at rest, in looks and in the world's own time between two.
const LOOKS_MAX: usize = 600;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who changed a key at the origin last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Nobody,
    /// Us, in the generation that there is.
    Ours,
    /// Us, before it; or its owner, as far as one can tell after some of our writes and before others.
    Owners,
    /// Its owner, who put something there after all of our writes had ended.
    OwnersAfterOurs,
}

impl Life {
    /// Starts, pauses, resumes and cancels jobs.
    pub(crate) async fn run_jobs(self) {
        let env = self.world.env.clone();
        for _ in 0..1 + env.below(8) {
            tokio::time::sleep(Duration::from_millis(20 + env.below(600) as u64)).await;
            let kind = *env.pick(&[JobKind::Inventory, JobKind::Backfill, JobKind::Backfill, JobKind::Verify]);
            let Ok(bucket) = self.bucket().await else { continue };
            let outcome = match env.below(6) {
                0..=2 => self.start_job(kind, self.some_options(kind)).await,
                3 => self.shadow.pause_job(&bucket, kind).await,
                4 => self.shadow.resume_job(&bucket, kind, &self.some_options(kind)).await,
                _ => self.shadow.cancel_job(&bucket, kind).await,
            };
            if let Err(error) = outcome
                && matches!(error.kind(), ErrorKind::Internal | ErrorKind::Corrupt)
            {
                self.world.complain("", format!("a {kind} fails: {error:?}"));
            }
        }
    }

    fn some_options(&self, kind: JobKind) -> JobOptions {
        let env = &self.world.env;
        let maybe = |most: usize| env.chance(0.3).then(|| 1 + env.below(most));
        let mut options = JobOptions { parallel: maybe(4).and_then(|n| u32::try_from(n).ok()), ..JobOptions::default() };
        options.requests_per_second = maybe(50).and_then(|n| u32::try_from(n).ok());
        if kind == JobKind::Backfill {
            options.bytes_per_second = maybe(1_000_000).map(|n| n as u64);
            options.egress_bytes = maybe(4 * env.dials.origin_size_max).map(|n| n as u64);
            options.order = Some(*env.pick(&[JobOrder::Key, JobOrder::Smallest]));
        }
        options
    }

    async fn start_job(&self, kind: JobKind, options: JobOptions) -> Result<Job> {
        let prefix = *self.world.env.pick(&["", "", "", "b/"]);
        self.shadow.start_job(&*self.bucket().await?, JobRequest { kind, prefix: prefix.to_owned(), options }).await
    }

    /// Runs a job over all keys to its end, while nothing goes wrong.
    pub(crate) async fn run_job(&self, kind: JobKind, options: JobOptions) -> Result<Job> {
        let bucket = self.bucket().await?;
        if self.shadow.job(&bucket, kind).await?.is_some_and(|job| job.is_active()) {
            self.shadow.cancel_job(&bucket, kind).await?;
        }
        self.shadow.start_job(&bucket, JobRequest { kind, prefix: String::new(), options }).await?;
        for _ in 0..LOOKS_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.shadow.job(&*self.bucket().await?, kind).await? {
                Some(job) if !job.is_active() => return Ok(job),
                _ => {}
            }
        }
        Err(Error::internal(format!("the {kind} does not end")))
    }

    /// Holds what the jobs find at rest against what there is.
    pub(crate) async fn audit_jobs(&self) -> Result<()> {
        if self.stored_mode().await? == Mode::Detached {
            return Ok(());
        }
        self.world.origin.is_looked_at();
        let sides = self.both_sides().await?;
        let inventory = self.run_job(JobKind::Inventory, JobOptions::default()).await?;
        let cold = self.shadow.cold_totals(&*self.bucket().await?).await?;
        let expected = sides.values().filter_map(Sides::cold_bytes).fold((0, 0), |(objects, bytes), size| (objects + 1, bytes + size));
        if inventory.state != JobState::Done || (cold.objects, cold.bytes) != expected {
            self.world.complain("", format!("{expected:?} objects and bytes are cold, the inventory says {cold:?}: {inventory:?}"));
        }
        let deep = self.world.env.chance(0.5);
        let verify = self.run_job(JobKind::Verify, JobOptions { deep: Some(deep), ..JobOptions::default() }).await?;
        let notes = self.shadow.job_notes(&*self.bucket().await?, JobKind::Verify, None, 1000).await?.notes;
        let notes: BTreeMap<_, _> = notes.into_iter().map(|(key, note)| (key.to_string(), note)).collect();
        if verify.state != JobState::Done {
            self.world.complain("", format!("a verification does not come to its end: {verify:?}"));
        }
        if let Some(key) = notes.keys().find(|key| !sides.contains_key(*key)) {
            self.world.complain(key, "a verification finds a key that nobody put there");
        }
        for (key, sides) in &sides {
            let found = notes.get(key).map(|note| note.finding.as_ref().map_or("a failure", |finding| finding.name.as_str()));
            if !sides.findings().contains(&found) {
                self.world.complain(key, format!("a verification finds {found:?} instead of {:?}: {sides:?}", sides.findings()));
            }
        }
        Ok(())
    }

    /// Copies everything back to the origin, which must then be as the bucket is.
    pub(crate) async fn roll_back(&self) -> Result<()> {
        if !self.world.env.dials.rolls_back || self.stored_mode().await? == Mode::Detached {
            return Ok(());
        }
        let from = self.world.env.tick();
        self.world.history.lock().rolled_back = Some(from);
        let before = self.both_sides().await?;
        let rollback = self.run_job(JobKind::Rollback, JobOptions::default()).await?;
        let conflicts = self.conflicts().await?;
        if rollback.state != JobState::Done || rollback.counts.objects_failed != conflicts.len() as u64 {
            self.world.complain("", format!("a rollback does not come to its end: {rollback:?}"));
        }
        for (key, after) in self.both_sides().await? {
            let before = &before[&key];
            let is_same = match (&before.here, &after.here) {
                (Some(before), Some(after)) => before.is(after),
                (before, after) => before.is_none() && after.is_none(),
            };
            if !is_same || after.gone != before.gone {
                self.world.complain(&key, format!("a rollback changes {before:?} to {after:?} here"));
            }
            let owner_was_last = self.owner_was_last(&key, from);
            if conflicts.contains(&key) {
                if !after.has_same_origin(before) || owner_was_last == Last::Ours {
                    self.world.complain(&key, format!("a rollback takes {before:?} for a conflict and makes of it: {after:?}"));
                }
            } else if !after.is_rolled_back(before) {
                self.world.complain(&key, format!("a rollback makes of {before:?}: {after:?}"));
            } else if owner_was_last == Last::OwnersAfterOurs && !after.has_same_origin(before) {
                self.world.complain(&key, format!("a rollback makes of {before:?}, which its owner changed last: {after:?}"));
            }
        }
        Ok(())
    }

    /// The keys that the last rollback took for conflicts.
    async fn conflicts(&self) -> Result<BTreeSet<String>> {
        let notes = self.shadow.job_notes(&*self.bucket().await?, JobKind::Rollback, None, 1000).await?.notes.into_iter();
        let is_conflict = |note: &Note| note.finding.as_ref().is_some_and(|finding| finding.name == "conflict");
        Ok(notes.filter(|(_, note)| is_conflict(note)).map(|(key, _)| key.to_string()).collect())
    }

    /// Who changed `key` at the origin last before `until`.
    fn owner_was_last(&self, key: &str, until: u64) -> Last {
        let changes = self.world.origin.changes();
        // Tags alone leave the object whose it was.
        let counts = |change: &&Change| change.key == key && change.tick < until && change.doing != "put tags";
        let Some(last) = changes.iter().rfind(counts) else { return Last::Nobody };
        let history = self.world.history.lock();
        let detached = history.switches.iter().rfind(|switch| switch.mode == Mode::Detached);
        let since = detached.map_or(0, |switch| switch.ended.unwrap_or(u64::MAX));
        match last.ours {
            // One that was under way then belongs to the generation before, of which nothing is known any more.
            true if last.begun > since => return Last::Ours,
            true => return Last::Owners,
            false => {}
        }
        let mut writes = history.ops.iter().filter(|op| op.key == key && op.intended.is_some()).peekable();
        let any = writes.peek().is_some();
        // What its owner took away nothing is lost of.
        if any && last.now.is_some() && writes.all(|op| op.ended.is_some_and(|ended| ended < last.tick)) {
            Last::OwnersAfterOurs
        } else {
            Last::Owners
        }
    }
}
