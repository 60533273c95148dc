//! What travels with every request through the layers.

/// The context of one request.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The `x-amz-request-id` this request is answered with; it ties log lines together.
    pub request_id: String,
    /// The shadows this request has already passed on its way here, outermost first, each as `store-id/bucket`.
    ///
    /// A store that finds itself in it, for the same bucket, is looking at its own reflection and refuses.
    pub shadow_path: Vec<String>,
    /// Whether it only reads, and does not ask for the newest: then metadata may be read from a replica nearby.
    pub reads_nearby: bool,
}
