//! What a shadow may take and how it goes about its work.

use std::{num::NonZeroU64, time::Duration};

/// What an operator can set.
#[derive(Clone, Debug)]
pub struct ShadowLimits {
    /// Memory that all hydrations together may hold, in bytes. More lets more cold objects come in at once, and a crash lose more of what is on
    /// its way.
    pub hydration_memory_bytes: u64,
    /// The name of this node among those that share the store. Two processes of one name never run at once.
    pub node: String,
    /// How long a job rests after a failure that may pass; longer after each that follows.
    pub job_retry_delay: Duration,
    /// The size of the pieces in which large cold objects come in. All that is asked of an origin at once, or stored, is a multiple of it: with
    /// small ones a small object comes in like a large one.
    pub piece_bytes: NonZeroU64,
    /// Whether another process may keep the buckets with an origin: then this one refuses them until [`Shadow::start`](crate::Shadow::start).
    pub is_shared: bool,
}

impl Default for ShadowLimits {
    fn default() -> Self {
        Self {
            hydration_memory_bytes: 64 * 1024 * 1024,
            node: "local".to_owned(),
            job_retry_delay: Duration::from_secs(1),
            piece_bytes: const { NonZeroU64::new(1024 * 1024).expect("it is not 0") },
            is_shared: false,
        }
    }
}
