//! Verify as a job.

use std::sync::Arc;

use async_trait::async_trait;
use minicbor::{CborLen, Decode, Encode};
use umbra_core::{Error, ErrorKind, Result};

use crate::{
    backfill::pace::Pace,
    both::Ahead,
    examine::Look,
    jobs::{JobContext, JobCounts, Next, Progress, Work},
    record::{decode, encode},
    shadow::writes_through,
    slice::Slice,
    verify::Verified,
};

/// Keys compared at once, where nothing else is said.
const PARALLEL: u32 = 16;
/// How often a page is tried of which the origin tells nothing, though it lists it.
const STRIKES_MAX: u32 = 3;

/// Compares both sides, a page at a time.
#[derive(Debug, Default)]
pub(crate) struct VerifyWork {
    pace: Arc<Pace>,
    ahead: Ahead,
    strikes: u32,
}

/// Where a verification got to.
#[derive(Debug, Encode, Decode, CborLen)]
struct Cursor {
    /// Behind this key.
    #[n(0)]
    after: String,
}

#[async_trait]
impl Work for VerifyWork {
    async fn step(&mut self, job: &JobContext) -> Result<Progress> {
        let cursor: Option<Cursor> = job.job.cursor.as_deref().map(|cursor| decode("verify cursor", cursor)).transpose()?;
        let deep = job.job.options.deep == Some(true);
        let look = Look::of(job, &self.pace, PARALLEL, deep).comparing();
        let slice = Slice::new(job.shadow.native().clock(), &job.stop);
        let after = cursor.as_ref().map(|cursor| cursor.after.as_str());
        let mut verified = job.shadow.verify_page(&look, &job.job.prefix, after, deep, &slice, &mut self.ahead).await?;
        if let Some(silence) = verified.silence.take().filter(|_| self.strikes < STRIKES_MAX) {
            // Asked again before that is taken for its answer.
            self.strikes += 1;
            return Err(Error::new(ErrorKind::OriginUnavailable, "the origin lists its keys, but answers nothing that is asked of them")
                .because(silence));
        }
        self.strikes = 0;
        Ok(progress(job, verified, look.received()))
    }
}

fn progress(job: &JobContext, verified: Verified, received: u64) -> Progress {
    let write_through = writes_through(&job.bucket);
    let now = job.shadow.native().clock().now();
    let mut counts = JobCounts {
        objects_done: verified.same.0 + verified.found.len() as u64,
        bytes_done: verified.same.1,
        bytes_egress: received,
        ..JobCounts::default()
    };
    let mut notes = Vec::with_capacity(verified.found.len());
    for found in verified.found {
        let explained = found.kind.is_explained(write_through);
        counts.tally(found.kind.name(), found.size);
        counts.bytes_done += found.size;
        if !explained {
            counts.objects_failed += 1;
            counts.bytes_failed += found.size;
        }
        let (key, note) = found.note(explained, now);
        notes.push((key, Some(note)));
    }
    let next = if verified.next.is_some() { Next::Step } else { Next::Done };
    let cursor = verified.next.map(|after| encode(&Cursor { after }));
    Progress { cursor, counts, notes, next, ..Progress::default() }
}
