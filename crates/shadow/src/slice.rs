//! A slice of time for one step of a job.

use tokio_util::sync::CancellationToken;
use umbra_core::{Clock, Timestamp};

/// How long a step begins with further keys, in milliseconds.
const SLICE_MS: i64 = 1000;

/// Tells when a step is to begin with no further key: after a while, or when its job is to stop.
pub(crate) struct Slice<'a> {
    clock: &'a dyn Clock,
    stop: &'a CancellationToken,
    began: Timestamp,
}

impl<'a> Slice<'a> {
    /// A slice that begins now.
    pub(crate) fn new(clock: &'a dyn Clock, stop: &'a CancellationToken) -> Self {
        Self { clock, stop, began: clock.now() }
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.clock.now().as_millis().abs_diff(self.began.as_millis()) >= SLICE_MS.unsigned_abs()
    }
}
