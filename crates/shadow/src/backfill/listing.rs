//! The listing of the origin that a backfill works off: an inventory, made anew for it.

use std::time::Duration;

use umbra_core::{ErrorKind, Result};

use crate::jobs::{Job, JobContext, JobKind, JobOptions, JobRequest, JobState};

/// A listing that began so shortly before the backfill need not be made again, in milliseconds.
const FRESH: Duration = Duration::from_secs(60);

/// How far the listing is.
pub(super) enum Listed {
    /// It went through.
    Through,
    /// It goes on, and has come up to this key; perhaps it is held up.
    Going { upto: Option<String>, trouble: Option<String> },
    /// It does not go on by itself.
    Stuck(String),
}

/// The listing, as one start of a backfill sees it.
#[derive(Debug, Default)]
pub(super) struct Listing {
    is_through: bool,
    /// Whether it was started or resumed for this backfill already: once is enough.
    asked: bool,
}

impl Listing {
    pub(super) const fn is_through(&self) -> bool {
        self.is_through
    }

    /// Looks how far it is, and starts it if need be.
    pub(super) async fn look(&mut self, job: &JobContext) -> Result<Listed> {
        if self.is_through {
            return Ok(Listed::Through);
        }
        let (shadow, bucket) = (&job.shadow, &job.bucket);
        let inventory = shadow.job(bucket, JobKind::Inventory).await?;
        let covers = |inventory: &Job| job.job.prefix.starts_with(&inventory.prefix);
        let since = job.job.started.saturating_sub(FRESH.as_millis() as i64);
        let is_fit = |inventory: &Job| covers(inventory) && inventory.started >= since;
        let stuck = |inventory: &Job| {
            let reason = inventory.reason.as_deref().unwrap_or("for no reason given");
            Ok(Listed::Stuck(format!("the listing of the origin {}: {reason}", inventory.state.said())))
        };
        match &inventory {
            Some(inventory) if inventory.complete.is_some_and(|(began, _)| began >= since) => self.is_through = true,
            Some(inventory) if inventory.state == JobState::Done && is_fit(inventory) => self.is_through = true,
            Some(inventory) if inventory.state == JobState::Running => {
                // What an earlier one listed says nothing of the keys before it.
                let upto = inventory.cursor.clone().filter(|_| is_fit(inventory)).and_then(|cursor| String::from_utf8(cursor).ok());
                return Ok(Listed::Going { upto, trouble: inventory.reason.clone() });
            }
            Some(inventory) if self.asked => return stuck(inventory),
            Some(inventory) if matches!(inventory.state, JobState::Paused | JobState::Failed) && is_fit(inventory) => {
                self.asked = true;
                shadow.resume_job(bucket, JobKind::Inventory, &JobOptions::default()).await?;
                return Ok(Listed::Going { upto: None, trouble: None });
            }
            other => {
                if other.as_ref().is_some_and(Job::is_active) {
                    // One that rests, and would not do if it came to its end: too old, or of other keys.
                    shadow.cancel_job(bucket, JobKind::Inventory).await?;
                }
                let request = JobRequest { kind: JobKind::Inventory, prefix: job.job.prefix.clone(), options: JobOptions::default() };
                match shadow.start_job(bucket, request).await {
                    // Somebody started one meanwhile.
                    Err(error) if !matches!(error.kind(), ErrorKind::Invalid(_)) => return Err(error),
                    Err(_) => {}
                    Ok(_) => self.asked = true,
                }
                return Ok(Listed::Going { upto: None, trouble: None });
            }
        }
        Ok(Listed::Through)
    }
}
