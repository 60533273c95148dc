//! The metrics of the admin API itself.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, info::Info},
    registry::Registry,
};

/// Counts of the admin API.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

impl Metrics {
    /// Registers the metrics.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register("umbra_admin_requests", "Requests to the admin API, by route and status", requests.clone());
        registry.register("umbra_build", "The release that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { requests }
    }

    /// Counts one answered request. `route` is the pattern, so that names of buckets do not become labels.
    pub(crate) fn count(&self, method: &str, route: &str, status: u16) {
        self.requests.get_or_create(&RequestLabels { method: method.to_owned(), route: route.to_owned(), status }).inc();
    }
}
