//! What access logs count.

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
        registry.register("umbra_access_log_delivered_lines", "Lines of access logs that are in their bucket", self.delivered.clone());
        registry.register("umbra_access_log_dropped_lines", "Lines of access logs that are lost", self.dropped.clone());
        registry.register("umbra_access_log_failed_writes", "Writes of access logs that failed", self.failed.clone());
    }
}
