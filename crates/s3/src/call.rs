//! What every operation begins with.

use std::sync::Arc;

use s3s::{S3ErrorCode, S3Request, dto};
use umbra_core::{Entity, Error, ErrorKind, ObjectInfo, ObjectKey, Permission, RequestContext, Result};
use umbra_store::{AccessKey, Bucket};

use crate::{
    access::{Held, Judge, Need, Request, Stated},
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
    /// What was allowed for the sake of the object that was there, its ACL or its tags: it is judged again by the object that is read.
    pub(crate) by_object: Vec<Need>,
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

    /// Refuses `permission` to an object that was read and belongs to another organization than its bucket, unless its ACL gives it, and
    /// everything that was allowed for the sake of the object that was there before, unless this one allows it too.
    pub(crate) async fn check_reader(
        &self,
        judge: &Judge,
        stated: Stated<'_>,
        read: (&ObjectKey, &ObjectInfo),
        permission: Permission,
    ) -> Result<(), Failure> {
        let (key, info) = read;
        let request = Request {
            version: stated.version(),
            held: Some(Held::of(info)),
            ..Request::new(self, self.bucket()?, Some(key.as_str()), stated)
        };
        if !Judge::check_reader(request, permission) {
            return Err(S3ErrorCode::AccessDenied.into());
        }
        judge.confirm(request, &self.by_object).await
    }

    /// The failure of a read, as much of it as who asks may learn.
    pub(crate) fn told(&self, error: Error) -> Failure {
        if self.hides_absence && matches!(error.kind(), ErrorKind::NotFound(Entity::Object | Entity::Version)) {
            return S3ErrorCode::AccessDenied.into();
        }
        error.into()
    }

    /// The organization that asks, if anybody's key does.
    pub(crate) fn organization(&self) -> Option<&str> {
        self.key.as_ref()?.organization.as_deref()
    }

    /// The bucket in the path.
    pub(crate) fn bucket(&self) -> Result<&Arc<Bucket>> {
        self.bucket.as_ref().ok_or_else(|| Error::internal("an operation on a bucket was reached without one"))
    }
}

/// Who began an upload, as S3 shows it.
pub(crate) fn initiator(organization: &str) -> dto::Initiator {
    dto::Initiator { id: Some(organization.to_owned()), display_name: Some(organization.to_owned()) }
}

/// An owner as S3 shows it. Organizations have no other id than their name.
pub(crate) fn owner(organization: &str) -> dto::Owner {
    dto::Owner { id: Some(organization.to_owned()), display_name: Some(organization.to_owned()) }
}
