//! What every operation begins with.

use std::sync::Arc;

use s3s::{S3Request, dto};
use umbra_core::{Error, RequestContext, Result};
use umbra_store::{AccessKey, Action, Bucket};

use crate::layer::{Progress, Stage};

/// Who asks, for which bucket, in which context. The access check puts it into the request.
#[derive(Debug)]
pub(crate) struct Call {
    /// The context that travels on.
    pub(crate) cx: RequestContext,
    /// The access key that signed the request; `None` for an anonymous one.
    pub(crate) key: Option<Arc<AccessKey>>,
    /// The bucket in the path, resolved.
    pub(crate) bucket: Option<Arc<Bucket>>,
}

impl Call {
    /// The call `request` belongs to.
    pub(crate) fn of<T>(request: &S3Request<T>) -> Result<Arc<Self>> {
        if let Some(progress) = request.extensions.get::<Arc<Progress>>() {
            progress.reach(Stage::Reached);
        }
        let call = request.extensions.get::<Arc<Self>>().cloned();
        call.ok_or_else(|| Error::internal("an operation was reached without an access check"))
    }

    /// Whether a delete or a change of a retention that asks for it may end a retention in governance mode before its time: those who manage the
    /// bucket may.
    pub(crate) fn bypasses_governance(&self, asked: Option<bool>) -> Result<bool> {
        let bucket = self.bucket()?;
        Ok(asked == Some(true) && self.key.as_ref().is_some_and(|key| key.may(Action::ManageBuckets, Some(bucket))))
    }

    /// The bucket in the path.
    pub(crate) fn bucket(&self) -> Result<&Arc<Bucket>> {
        self.bucket.as_ref().ok_or_else(|| Error::internal("an operation on a bucket was reached without one"))
    }
}

/// An owner as S3 shows it. Organizations have no other id than their name.
pub(crate) fn owner(organization: &str) -> dto::Owner {
    dto::Owner { id: Some(organization.to_owned()), display_name: Some(organization.to_owned()) }
}
