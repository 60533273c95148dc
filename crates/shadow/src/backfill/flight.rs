//! One object on its way here, and what became of it.

use std::sync::Arc;

use umbra_core::{Error, ErrorKind, Fault, ObjectKey, RequestContext, Result};
use umbra_meta::key;
use umbra_store::Bucket;

use super::ATTEMPTS_MAX;
use crate::{
    Shadow,
    hydrate::Wanted,
    inventory::Cold,
    jobs::{JobKind, Note, reason},
    origin::{Origin, OriginList},
    record::decode,
    shadow::scope_of,
    transfer::End,
};

/// How often an object is put off because the origin pushes back on it alone, before that counts as its own failure.
const PUT_OFF_MAX: u32 = 2;

/// How often an object may change while it is moved.
const CHANGES_MAX: u32 = 8;

/// An object to be moved.
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) shadow: Shadow,
    pub(super) cx: RequestContext,
    pub(super) bucket: Bucket,
    /// The run of the job.
    pub(super) run: u64,
    pub(super) key: ObjectKey,
    /// How often it was put off.
    pub(super) put_off: u32,
    pub(super) size: u64,
    pub(super) origin: Arc<dyn Origin>,
}

/// An object that was under way.
pub(super) struct Landed {
    pub(super) number: u64,
    pub(super) key: ObjectKey,
    pub(super) size: u64,
    pub(super) outcome: Outcome,
}

/// What became of it. Where it had failed before, with the note that says so.
pub(super) enum Outcome {
    /// It is here.
    Moved(Option<Note>),
    /// It is not cold any more, through no doing of ours.
    Gone(Option<Note>),
    /// It failed, though the origin answers.
    Failed { note: Note, is_new: bool },
    /// The origin cannot take it now.
    PushedBack(String),
    /// Nothing can be moved before somebody mends this.
    Refused(String),
    /// It was stopped.
    Stopped,
}

impl Flight {
    /// Moves the object.
    pub(super) async fn fly(self) -> Landed {
        // What fails in our own storage concerns every object: it is waited for.
        let outcome = self.attempt().await.unwrap_or_else(|error| Outcome::PushedBack(reason(&error)));
        Landed { number: self.number, key: self.key, size: self.size, outcome }
    }

    async fn attempt(&self) -> Result<Outcome> {
        let (shadow, bucket, key) = (&self.shadow, &self.bucket, &self.key);
        let (noted, is_cold) = self.look().await?;
        if !is_cold {
            return Ok(Outcome::Gone(noted));
        }
        let mut changes = 0;
        let error = loop {
            match shadow.hydrate_wanting(&self.cx, bucket, key, &self.origin, Wanted::WholeOf(self.size)).ended().await {
                End::Failed(error) => break error,
                End::Complete { kept: true } => return Ok(Outcome::Moved(noted)),
                End::Complete { .. } | End::Superseded if !shadow.is_in_inventory(bucket, key).await? => return Ok(Outcome::Moved(noted)),
                End::Complete { .. } => break Error::internal("the copy could not be kept"),
                // It changed at the origin, or something newer here.
                End::Superseded if changes < CHANGES_MAX => changes += 1,
                End::Superseded => break Error::internal("the object keeps changing"),
            }
        };
        match error.kind() {
            ErrorKind::Cancelled => Ok(Outcome::Stopped),
            ErrorKind::DiskFull => Ok(Outcome::Refused(reason(&error))),
            ErrorKind::NotFound(_) => {
                shadow.gone_at_origin(&self.cx, bucket, key, &*self.origin).await?;
                Ok(Outcome::Gone(noted))
            }
            ErrorKind::OriginUnavailable if self.put_off < PUT_OFF_MAX || !self.is_known_there().await => {
                Ok(Outcome::PushedBack(reason(&error)))
            }
            ErrorKind::OriginRefused => match self.listing_refused().await {
                Some(refusal) if refusal.kind() == ErrorKind::OriginRefused => Ok(Outcome::Refused(reason(&refusal))),
                Some(failure) => Ok(Outcome::PushedBack(reason(&failure))),
                None => Ok(self.failed(&error, noted)),
            },
            ErrorKind::Unavailable | ErrorKind::Conflict | ErrorKind::Throttled => Ok(Outcome::PushedBack(reason(&error))),
            _ => Ok(self.failed(&error, noted)),
        }
    }

    /// The note of an earlier failure, and whether the key is in the inventory.
    async fn look(&self) -> Result<(Option<Note>, bool)> {
        let (note, cold) = (key::job::note(JobKind::Backfill.code(), self.run, &self.key), key::inventory(&self.key));
        let rows = self.shadow.native().meta().multi_get(self.bucket.partition, &[&note, &cold]).await?;
        let mut rows = rows.into_iter();
        let mut next = || rows.next().flatten();
        let (note, cold) = (next(), next());
        let note = note.map(|row| decode("note", &row.body)).transpose()?;
        let cold = cold.map(|row| Cold::decode(&row)).transpose()?;
        Ok((note, cold.is_some_and(|cold| cold.scope == scope_of(&self.bucket))))
    }

    /// Whether the origin answers when asked of the object: then it is this object that it cannot give.
    async fn is_known_there(&self) -> bool {
        match self.origin.head(&self.shadow.path(&self.cx, &self.bucket), &self.key).await {
            Ok(_) => true,
            Err(error) => !error.error.kind().is_retryable(),
        }
    }

    /// Why the origin cannot be listed either; `None` when it can: then it is this object that it refuses.
    async fn listing_refused(&self) -> Option<Error> {
        let list = OriginList { limit: 1, ..OriginList::default() };
        self.origin.list(&self.shadow.path(&self.cx, &self.bucket), &list).await.err().map(|error| error.error)
    }

    fn failed(&self, error: &Error, noted: Option<Note>) -> Outcome {
        let for_good = matches!(error.kind(), ErrorKind::Invalid(Fault::InvalidObjectState) | ErrorKind::Unsupported);
        let attempts = if for_good { ATTEMPTS_MAX } else { noted.as_ref().map_or(0, |note| note.attempts) + 1 };
        let at = self.shadow.native().clock().now().as_millis();
        let note = Note { reason: reason(error), attempts, at, size: Some(self.size), differences: Vec::new(), finding: None };
        Outcome::Failed { note, is_new: noted.is_none() }
    }
}
