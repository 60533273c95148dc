//! Access logs: a request to a bucket that has one becomes a line in an object of another.
//!
//! # Lines
//! A request is noted when it comes ([`Entry`]), whether or not it is let in, and written when the last byte of its answer is gone or its
//! client is. A delivery is no request: a bucket may be its own target, and logs do not grow by being written.
//!
//! # Delivery
//! At best effort, as S3 has it: lines gather in memory ([`buffer`]), and a worker writes them as objects ([`AccessLogDelivery`]), a last
//! time when the server stops. A crash loses what has gathered since. No request waits for its line, or fails by it.
//!
//! # Rights
//! The target is of the same organization and lets logs in ([`rights`]). That is asked when it is named, and again at each delivery.

mod buffer;
mod delivery;
mod entry;
mod line;
mod metrics;
mod names;
mod operation;
mod rights;
mod text;

use std::{sync::Arc, time::Duration};

use umbra_core::{BucketName, Clock, Random, Timestamp};
use umbra_store::{Bucket, Catalog, Logging};

pub use self::delivery::AccessLogDelivery;
pub(crate) use self::entry::{Answered, Asked, Entry};

use self::buffer::Buffer;

/// Where requests leave their lines.
#[derive(Clone)]
pub(crate) struct AccessLog {
    buffer: Arc<Buffer>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
}

impl AccessLog {
    /// A log in which a line waits for others so long.
    pub(crate) fn new(interval: Duration, catalog: Arc<Catalog>, clock: Arc<dyn Clock>) -> Self {
        Self { buffer: Arc::new(Buffer::new(interval)), catalog, clock }
    }

    /// The bucket `name`, if its requests are to be logged. What cannot be told is not logged.
    async fn logged(&self, name: &str) -> Option<Arc<Bucket>> {
        let bucket = self.catalog.bucket(&BucketName::parse(name).ok()?).await.ok()?;
        bucket.settings.extras.logging.is_some().then_some(bucket)
    }

    fn add(&self, bucket: &Arc<Bucket>, event: Timestamp, line: &str) {
        self.buffer.add(bucket, event, line, self.clock.now());
    }
}

/// The key that a log of `source` would have now, as long as any it can have.
pub(crate) fn sample_key(logging: &Logging, source: &Bucket, region: &str, now: Timestamp, random: &dyn Random) -> String {
    names::key(logging, source, region, now, now, random)
}

#[cfg(test)]
mod tests;
