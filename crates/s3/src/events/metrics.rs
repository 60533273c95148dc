//! What the delivery of events counts.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// Counts since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) delivered: Counter,
    pub(super) failed: Counter,
    pub(super) dropped: Counter,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("umbra_events_delivered", "Events that their receiver took", self.delivered.clone());
        registry.register("umbra_events_failed_posts", "Posts of events that their receiver did not take", self.failed.clone());
        registry.register("umbra_events_dropped", "Events that waited too long, or were too many", self.dropped.clone());
    }
}
