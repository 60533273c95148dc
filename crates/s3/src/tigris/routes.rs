//! The custom routes of s3s: it verifies what they match, then hands it over.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::{Extensions, HeaderMap, Method, Uri};
use s3s::{Body, S3Request, S3Response, S3Result, route::S3Route};
use umbra_core::Clock;
use umbra_shadow::Shadow;
use umbra_store::{Action, Catalog};

use super::{answer, buckets, document, metadata, operation::Operation, presign, update};
use crate::{
    S3Settings,
    access::{self, Judge, Stated, Way},
    error::Failure,
    layer::Stage,
    lenient::Lenient,
};

/// Everything that s3s lets others answer.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) lenient: Lenient,
    pub(crate) tigris: Tigris,
}

#[async_trait]
impl S3Route for Routes {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        extensions.get::<Operation>().is_some() || self.lenient.is_match(method, uri, headers, extensions)
    }

    /// Each checks for itself.
    async fn check_access(&self, _request: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        match request.extensions.get::<Operation>().copied() {
            Some(operation) => self.tigris.answer(operation, request).await.map_err(Into::into),
            None => self.lenient.call(request).await,
        }
    }
}

/// Answers Tigris's own requests.
pub(crate) struct Tigris {
    pub(crate) settings: Arc<S3Settings>,
    pub(crate) shadow: Shadow,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) judge: Judge,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Tigris {
    async fn answer(&self, operation: Operation, request: S3Request<Body>) -> Result<S3Response<Body>, Failure> {
        let action = match operation {
            Operation::ListBuckets | Operation::Presign | Operation::WhoAmI => Action::ListBuckets,
            Operation::Metadata => Action::List,
            Operation::Update => Action::ManageBuckets,
        };
        let bucket = matches!(operation, Operation::Metadata | Operation::Update).then(|| request.uri.path().trim_matches('/').to_owned());
        let call = access::admit_signed(&self.catalog, &request, action, bucket.as_deref()).await?;
        call.progress.reach(Stage::Reached);
        match operation {
            Operation::ListBuckets => buckets::list(self, &call, &request.uri).await,
            Operation::Metadata => {
                metadata::show(self, &call, Stated::new(&request.uri, &request.headers, Way::of(&request.extensions))).await
            }
            Operation::Update => {
                let (uri, headers, way) = (request.uri.clone(), request.headers.clone(), Way::of(&request.extensions));
                update::update(self, call, Stated::new(&uri, &headers, way), document::read(request).await?).await
            }
            Operation::Presign => {
                let address = presign::Address::of(&request);
                presign::presign(self, &call, &address, document::read(request).await?)
            }
            Operation::WhoAmI => {
                let key = call.key.as_deref().ok_or(s3s::S3ErrorCode::AccessDenied)?;
                answer::json(&serde_json::json!({ "UserId": key.id, "NamespaceId": answer::namespace(key) }))
            }
        }
    }
}

impl fmt::Debug for Tigris {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tigris").field("settings", &self.settings).finish_non_exhaustive()
    }
}
