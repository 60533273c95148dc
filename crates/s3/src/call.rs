//! What every operation begins with.

use std::sync::Arc;

use s3s::{S3ErrorCode, S3Request, dto};
use umbra_core::{Entity, Error, ErrorKind, ObjectInfo, Permission, RequestContext, Result};
use umbra_store::{AccessKey, Bucket};

use crate::{
    access::{Judge, Need},
    error::Failure,
    layer::{Progress, Stage},
};

/// Who asks, for which bucket, in which context. The access check puts it into the request.
#[derive(Debug)]
pub(crate) struct Call {
    /// The context that travels on.
    pub(crate) cx: RequestContext,
    /// The access key that signed the request; `None` for an anonymous one.
    pub(crate) key: Option<Arc<AccessKey>>,
    /// The bucket in the path, resolved.
    pub(crate) bucket: Option<Arc<Bucket>>,
    /// Whether who asks must not learn that an object is absent.
    pub(crate) hides_absence: bool,
    /// What the ACL of the object that was there allowed, where nothing else did: it is asked again of the object that is read.
    pub(crate) by_acl: Option<Need>,
    /// How far it got, and what was learned on the way.
    pub(crate) progress: Arc<Progress>,
}

impl Call {
    /// The call `request` belongs to.
    pub(crate) fn of<T>(request: &S3Request<T>) -> Result<Arc<Self>> {
        let call = request.extensions.get::<Arc<Self>>().cloned();
        let call = call.ok_or_else(|| Error::internal("an operation was reached without an access check"))?;
        call.progress.reach(Stage::Reached);
        Ok(call)
    }

    /// Refuses `permission` to an object that belongs to another organization than its bucket, and to one whose ACL alone could give it,
    /// unless its ACL does.
    pub(crate) fn check_reader(&self, info: &ObjectInfo, permission: Permission) -> Result<(), Failure> {
        let (key, bucket, acl) = (self.key.as_deref(), &**self.bucket()?, info.attributes.acl.as_ref());
        let may =
            Judge::check_reader(key, bucket, acl, permission) && self.by_acl.is_none_or(|need| Judge::acl_opens(key, bucket, acl, need));
        if may { Ok(()) } else { Err(S3ErrorCode::AccessDenied.into()) }
    }

    /// The failure of a read, as much of it as who asks may learn.
    pub(crate) fn told(&self, error: Error) -> Failure {
        if self.hides_absence && matches!(error.kind(), ErrorKind::NotFound(Entity::Object | Entity::Version)) {
            return S3ErrorCode::AccessDenied.into();
        }
        error.into()
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
