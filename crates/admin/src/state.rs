//! What the routes work with.

use std::{fmt, sync::Arc};

use prometheus_client::registry::Registry;
use umbra_cluster::{Node, Relay};
use umbra_core::{BucketName, Clock, Entity, Error, ErrorKind, Random, RequestContext};
use umbra_shadow::Shadow;
use umbra_store::{Auditor, Bucket, Catalog};

use crate::{
    Readiness,
    caller::Caller,
    error::{ApiError, ApiResult},
    metrics::Metrics,
};

/// What the admin API is made of.
pub struct AdminParts {
    /// Buckets, organizations and access keys.
    pub catalog: Arc<Catalog>,
    /// Attaches, detaches and tells the status of shadows.
    pub shadow: Shadow,
    /// The time, for signatures.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for request ids.
    pub random: Arc<dyn Random>,
    /// Every metric of the server; the API adds its own.
    pub registry: Registry,
    /// Whether the metrics, which anyone who reaches the admin address may read, name buckets.
    pub metrics_name_buckets: bool,
    /// Whether S3 requests are served.
    pub readiness: Readiness,
    /// The URL S3 clients are told to use.
    pub endpoint: String,
    /// The region S3 clients are told to sign for.
    pub region: String,
    /// Holds where bytes are against the locations of buckets, in a store with regions.
    pub auditor: Option<Arc<Auditor>>,
    /// This server among the nodes of the store, and what has the one that leads answer; `None` for one that is alone.
    pub nodes: Option<(Arc<Node>, Relay)>,
}

impl fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminParts").field("endpoint", &self.endpoint).field("region", &self.region).finish_non_exhaustive()
    }
}

/// Where a request came in that another node has passed on.
#[derive(Clone, Debug)]
pub struct CameIn {
    /// The URL S3 clients are told to use there.
    pub endpoint: String,
    /// The region they are told to sign for, in a store with regions.
    pub region: Option<String>,
}

/// The parts as every route shares them.
#[derive(Clone)]
pub(crate) struct AdminState(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) parts: AdminParts,
    pub(crate) metrics: Metrics,
}

impl AdminState {
    pub(crate) fn new(mut parts: AdminParts) -> Self {
        let metrics = Metrics::register(&mut parts.registry);
        Self(Arc::new(Shared { parts, metrics }))
    }

    /// A fresh request id.
    pub(crate) fn request_id(&self) -> String {
        hex::encode_upper(self.random.array::<8>())
    }

    /// The bucket `name`, if the caller may know of it.
    pub(crate) async fn visible_bucket(&self, caller: &Caller, name: &str) -> ApiResult<Arc<Bucket>> {
        // What the caller may not know of is answered as what does not exist.
        let missing = || Error::no_such(Entity::Bucket, name);
        let found = self.catalog.bucket(&BucketName::parse(name)?).await;
        let bucket = found.map_err(|error| if error.kind() == ErrorKind::NotFound(Entity::Bucket) { missing() } else { error })?;
        if caller.sees(&bucket) { Ok(bucket) } else { Err(missing().into()) }
    }

    /// The bucket `name`, if the caller may change it.
    pub(crate) async fn managed_bucket(&self, caller: &Caller, name: &str) -> ApiResult<Arc<Bucket>> {
        let bucket = self.visible_bucket(caller, name).await?;
        if caller.manages_bucket(&bucket) { Ok(bucket) } else { Err(ApiError::denied("this needs an admin key")) }
    }
}

impl std::ops::Deref for AdminState {
    type Target = AdminParts;

    fn deref(&self) -> &AdminParts {
        &self.0.parts
    }
}

impl AdminState {
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

/// The context of a request that goes on to the object layers.
pub(crate) fn context(request_id: String) -> RequestContext {
    RequestContext { request_id, ..RequestContext::default() }
}
