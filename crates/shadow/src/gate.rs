//! The gate before the end of a shadow: nothing may be left at the origin alone.
//!
//! What the inventory knows to be left refuses at once. Before it lets go, though, the origin must have been listed through since it was
//! asked, or shortly before: what its owner put there in the meantime would be lost. A pass that takes long goes on as a job.

use std::{fmt, time::Duration};

use tokio::time::{Instant, timeout_at};
use umbra_core::{Error, ErrorKind, Fault, Result};
use umbra_meta::key;
use umbra_store::Bucket;

use crate::{
    Shadow,
    detach::counted,
    jobs::{Job, JobKind, JobOptions, JobRequest, JobState},
};

/// How long one request waits for the origin to be listed. Well below what the admin API allows a request.
const PATIENCE: Duration = Duration::from_secs(20);
/// A pass that began so shortly before the request counts, in milliseconds.
const SHORTLY: i64 = 10_000;
/// So long after its end a pass made for the gate counts, in milliseconds, if it went through without a rest: who keeps asking gets its answer,
/// however long it took.
const COUNTS_FOR: i64 = 30_000;
/// How many of the keys that remain a refusal names.
const KEYS_NAMED: usize = 3;
/// Repairs that are counted.
const REPAIRS_COUNTED: usize = 1000;

/// The origin is still being listed to find out what is left: the answer is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillListing {
    /// Objects listed so far.
    pub listed: u64,
    /// How many of them live only there.
    pub cold: u64,
}

impl StillListing {
    /// What an error says of it.
    pub fn of(error: &Error) -> Option<Self> {
        std::error::Error::source(error)?.downcast_ref().copied()
    }
}

impl fmt::Display for StillListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} so far, {} only there", counted(self.listed, "object", "objects"), self.cold)
    }
}

impl std::error::Error for StillListing {}

impl Shadow {
    /// Refuses while anything is left at the origin alone, or to be repaired.
    pub(crate) async fn gate(&self, bucket: &Bucket) -> Result<()> {
        let asked = self.native().clock().now().as_millis();
        let pass = self.job(bucket, JobKind::Inventory).await?.and_then(|pass| pass.complete);
        if let Some((began, _)) = pass {
            let refusal = self.refuse_cold(bucket).await;
            if refusal.is_err() && began < asked - SHORTLY {
                // What its owner took away at the origin in the meantime is found out for the next time.
                self.begin_pass(bucket).await?;
            }
            refusal?;
        }
        self.listed_through(bucket, asked).await?;
        self.refuse_cold(bucket).await?;
        self.refuse_repairs(bucket).await
    }

    async fn refuse_cold(&self, bucket: &Bucket) -> Result<()> {
        let cold = self.cold_totals(bucket).await?.objects;
        if cold == 0 {
            return Ok(());
        }
        let page = self.cold_page(bucket, key::inventory_range(""), KEYS_NAMED).await?;
        let mut some: Vec<_> = page.keys.iter().map(|(key, _)| format!("{:?}", key.as_str())).collect();
        if cold > some.len() as u64 {
            some.push("…".to_owned());
        }
        let message = format!(
            "{} still only at the origin ({}); move {them} with `umbra storage migrate`, or clear the shadow with --force to \
            leave {them} behind",
            counted(cold, "object is", "objects are"),
            some.join(", "),
            them = if cold == 1 { "it" } else { "them" }
        );
        Err(Error::invalid(Fault::InvalidRequest, message))
    }

    pub(crate) async fn refuse_repairs(&self, bucket: &Bucket) -> Result<()> {
        let repairs = self.pending_repairs(bucket, REPAIRS_COUNTED).await?.len() as u64;
        if repairs == 0 {
            return Ok(());
        }
        let message = format!(
            "{} pending; wait until `umbra storage status` shows none, or clear the shadow with --force to give {} up",
            counted(repairs, "repair is", "repairs are"),
            if repairs == 1 { "it" } else { "them" }
        );
        Err(Error::invalid(Fault::InvalidRequest, message))
    }

    /// Waits, within reason, for a pass through the origin's listing that is recent enough, and begins one if need be.
    async fn listed_through(&self, bucket: &Bucket, asked: i64) -> Result<()> {
        let mut changed = self.watch_jobs();
        let until = Instant::now() + PATIENCE;
        let hindered = self.job(bucket, JobKind::Inventory).await?.and_then(|pass| pass.reason);
        let mut begun = false;
        loop {
            let pass = self.job(bucket, JobKind::Inventory).await?;
            match &pass {
                Some(pass) if is_recent(pass, asked) => return Ok(()),
                // What hindered it before it was asked may be over: then it is awaited like any other.
                Some(Job { state: JobState::Running, reason: Some(reason), .. }) if begun || hindered.as_ref() != Some(reason) => {
                    return Err(cannot_list(ErrorKind::OriginUnavailable, reason));
                }
                Some(Job { state: JobState::Running, .. }) => {}
                Some(Job { reason, .. }) if begun => {
                    return Err(cannot_list(ErrorKind::OriginRefused, reason.as_deref().unwrap_or("it was stopped")));
                }
                _ => {
                    self.begin_pass(bucket).await?;
                    begun = true;
                }
            }
            if timeout_at(until, changed.changed()).await.is_err() {
                if let Some(Job { state: JobState::Running, reason: Some(reason), .. }) = &pass {
                    return Err(cannot_list(ErrorKind::OriginUnavailable, reason));
                }
                return Err(self.still_listing(bucket, pass.as_ref()).await?);
            }
        }
    }

    async fn begin_pass(&self, bucket: &Bucket) -> Result<()> {
        match self.job(bucket, JobKind::Inventory).await?.map(|pass| pass.state) {
            Some(JobState::Running) => return Ok(()),
            // Nobody knows for how long: what it listed before may have changed since.
            Some(JobState::Paused) => drop(self.cancel_job(bucket, JobKind::Inventory).await?),
            _ => {}
        }
        let options = JobOptions { for_detach: Some(true), ..JobOptions::default() };
        match self.start_job(bucket, JobRequest { kind: JobKind::Inventory, prefix: String::new(), options }).await {
            // Somebody began one meanwhile.
            Err(error) if !matches!(error.kind(), ErrorKind::Invalid(_)) => Err(error),
            _ => Ok(()),
        }
    }

    async fn still_listing(&self, bucket: &Bucket, pass: Option<&Job>) -> Result<Error> {
        let listed = pass.map_or(0, |pass| pass.counts.objects_done);
        let still = StillListing { listed, cold: self.cold_totals(bucket).await?.objects };
        Ok(Error::new(ErrorKind::Unavailable, format!("the origin is still being listed: {still}; ask again")).because(still))
    }
}

/// Whether what a pass found out may be relied on.
fn is_recent(pass: &Job, asked: i64) -> bool {
    let Some((began, ended)) = pass.complete else { return false };
    let for_gate = pass.state == JobState::Done && pass.options.for_detach == Some(true) && pass.started == began;
    began >= asked - SHORTLY || (for_gate && ended >= asked - COUNTS_FOR)
}

fn cannot_list(kind: ErrorKind, reason: &str) -> Error {
    Error::new(kind, format!("the origin cannot be listed, so nobody knows what is left there: {reason}"))
}
