//! Carries out lifecycle rules, in the background.
//!
//! # Passes
//! A bucket with rules is passed through at its midnight, and once more when its rules change: its objects, its versions, then its uploads. Each step reads
//! one page of rows, acts on those that are due and saves in row `l` where it got to (`pass.rs`); a restart goes on from there. Buckets
//! take turns, a step each, and after each the worker rests as long as the step took.
//!
//! # Invariants
//! - What is due by a look at a listing is judged again by the whole record, and is deleted only while the record is at that very revision
//!   (`act.rs`): an object that was overwritten is never ended by an old look.
//! - Deletes are those of a user: with a shadow they leave a tombstone, and with write-through the origin comes first.
//! - No request scans for it, and nothing here is cold: what lives only at the origin is left to it.

mod act;
mod pass;
mod versions;

use std::{collections::VecDeque, time::Duration};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use umbra_core::{BucketName, Entity, ErrorKind, Result, Timestamp};
use umbra_store::LifecycleDay;

use self::pass::{Pass, rules_mark};
use crate::Shadow;

/// Buckets asked for at once.
const PAGE: usize = 256;
/// Steps between two looks at which buckets are due.
const STEPS_PER_LOOK: usize = 64;
/// The longest sleep: the clock may be set while the worker sleeps.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// The shortest and the longest rest after a step.
const REST_MIN: Duration = Duration::from_millis(2);
const REST_MAX: Duration = Duration::from_secs(1);

/// How requests talk to the worker.
#[derive(Debug, Default)]
pub(crate) struct LifecycleHandle {
    changed: Notify,
}

impl Shadow {
    /// Begins to carry out lifecycle rules, until [`Shadow::shutdown`].
    pub fn start_lifecycle(&self, day: LifecycleDay) {
        let worker = Worker { shadow: self.clone(), day };
        self.0.tasks.spawn(async move { worker.run().await });
    }

    /// Says that the lifecycle rules of some bucket changed.
    pub fn lifecycle_changed(&self) {
        self.0.lifecycle.changed.notify_one();
    }
}

struct Worker {
    shadow: Shadow,
    day: LifecycleDay,
}

/// Which buckets are due, and when the next of the others is.
#[derive(Default)]
struct Round {
    due: VecDeque<BucketName>,
    next: Option<Timestamp>,
}

impl Worker {
    async fn run(&self) {
        let stopping = self.shadow.0.stopping.clone();
        while !stopping.is_cancelled() {
            let wait = match self.round().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(?error, "lifecycle rules cannot be looked up; trying again");
                    SLEEP_MAX
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                _ = timeout(wait.min(SLEEP_MAX), self.shadow.0.lifecycle.changed.notified()) => {}
            }
        }
    }

    /// Works on what is due for some steps. Tells how long there is nothing to do then.
    async fn round(&self) -> Result<Duration> {
        let mut round = self.look().await?;
        for _ in 0..STEPS_PER_LOOK {
            let Some(name) = round.due.pop_front().filter(|_| !self.is_stopping()) else { break };
            let begun = self.shadow.0.clock.now();
            match self.step(&name).await {
                Ok(true) => round.due.push_back(name),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => {}
                // Left for the next look.
                Err(error) => {
                    tracing::warn!(bucket = %name, ?error, "lifecycle rules are held up; trying again");
                    round.next = Some(self.shadow.0.clock.now().plus(SLEEP_MAX));
                }
            }
            sleep(since(begun, self.shadow.0.clock.now()).clamp(REST_MIN, REST_MAX)).await;
        }
        if !round.due.is_empty() {
            return Ok(Duration::ZERO);
        }
        // What was passed through meanwhile has a next time of its own.
        let now = self.shadow.0.clock.now();
        let next = round.next.map_or(SLEEP_MAX, |next| since(now, next));
        Ok(next.min(since(now, self.day.next_look(now))))
    }

    async fn look(&self) -> Result<Round> {
        let (mut round, mut after): (_, Option<String>) = (Round::default(), None);
        loop {
            let buckets = self.shadow.0.catalog.buckets(None, after.as_deref(), PAGE).await?;
            for bucket in buckets.iter().filter(|bucket| bucket.settings.extras.lifecycle.is_active()) {
                let now = self.shadow.0.clock.now();
                let pass = Pass::read(&self.shadow, bucket).await?;
                match pass.and_then(|pass| pass.next_due(rules_mark(bucket), self.day)) {
                    Some(at) if at > now => round.next = Some(round.next.map_or(at, |next| next.min(at))),
                    _ => round.due.push_back(bucket.name.clone()),
                }
            }
            match buckets.last() {
                Some(last) if buckets.len() == PAGE => after = Some(last.name.to_string()),
                _ => return Ok(round),
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.shadow.0.stopping.is_cancelled()
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.as_millis().saturating_sub(from.as_millis())).unwrap_or(0))
}
