//! What travels with every request through the layers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The context of one request.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The `x-amz-request-id` this request is answered with; it ties log lines together.
    pub request_id: String,
    /// The shadows this request has already passed on its way here, outermost first, each as `store-id/bucket`.
    ///
    /// A store that finds itself in it, for the same bucket, is looking at its own reflection and refuses.
    pub shadow_path: Vec<String>,
    /// Whether another process has to answer it.
    pub elsewhere: Elsewhere,
    /// Whether it only reads, and does not ask for the newest: then metadata may be read from a replica nearby.
    pub reads_nearby: bool,
}

/// A sign that a request is for another process, from whoever finds that out below to whoever can pass the request on. Clones are the same sign.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere(Option<Arc<AtomicBool>>);

impl Elsewhere {
    /// A sign that somebody looks at. The default one is nobody's.
    pub fn watched() -> Self {
        Self(Some(Arc::default()))
    }

    /// Says that the request is for another process, whatever else is answered.
    pub fn say(&self) {
        if let Some(said) = &self.0 {
            said.store(true, Ordering::SeqCst);
        }
    }

    /// Whether it was said.
    pub fn is_said(&self) -> bool {
        self.0.as_ref().is_some_and(|said| said.load(Ordering::SeqCst))
    }
}
