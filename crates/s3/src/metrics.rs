//! The metrics of the S3 front.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Bounds of the buckets of durations, in seconds: from a read out of memory to a large write.
const BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

/// Counts and durations of requests, by operation and class of status.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    status: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { requests: Family::default(), seconds: Family::new_with_constructor(|| Histogram::new(BOUNDS)) }
    }
}

impl Metrics {
    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("umbra_s3_requests", "S3 requests, by operation and class of status", self.requests.clone());
        let help = "Seconds until the answer to an S3 request began, by operation and class of status";
        registry.register("umbra_s3_request_seconds", help, self.seconds.clone());
    }

    /// Counts one answered request. `operation` is `none` for one that did not come as far as an operation.
    pub(crate) fn count(&self, operation: Option<&'static str>, status: StatusCode, took: Duration) {
        let labels = Labels { operation: operation.unwrap_or("none"), status: class_of(status) };
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// The class of a status, as it is written.
const fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use prometheus_client::{encoding::text, registry::Registry};

    use super::Metrics;

    #[test]
    fn requests_are_told_apart_by_operation_and_class() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        for (operation, status) in [(Some("get_object"), 200), (Some("get_object"), 206), (Some("get_object"), 404), (None, 503)] {
            metrics.count(operation, StatusCode::from_u16(status).unwrap(), Duration::from_millis(2));
        }
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [
            r#"umbra_s3_requests_total{operation="get_object",status="2xx"} 2"#,
            r#"umbra_s3_requests_total{operation="get_object",status="4xx"} 1"#,
            r#"umbra_s3_requests_total{operation="none",status="5xx"} 1"#,
            r#"umbra_s3_request_seconds_bucket{le="0.0025",operation="get_object",status="2xx"} 2"#,
            r#"umbra_s3_request_seconds_bucket{le="0.001",operation="get_object",status="2xx"} 0"#,
        ] {
            assert!(shown.contains(line), "{line}\n{shown}");
        }
    }
}
