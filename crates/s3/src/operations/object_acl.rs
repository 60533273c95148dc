//! GetObjectAcl, PutObjectAcl.

use s3s::{
    S3Request, S3Response,
    dto::{GetObjectAclInput, GetObjectAclOutput, PutObjectAclInput, PutObjectAclOutput},
};
use umbra_core::{Acl, ETag, ErrorKind, ObjectKey, Permission, VersionId};
use umbra_store::{AclChange, GetOptions};

use super::Operations;
use crate::{
    access::{Stated, is_enforced},
    acl,
    call::Call,
    convert::version,
    error::{Answer, Failure},
};

/// How often an ACL is decided anew because another object took the place of the one that was judged.
const RETRIES_MAX: usize = 3;

/// Shows the ACL of an object.
pub(super) async fn get_object_acl(operations: &Operations, request: S3Request<GetObjectAclInput>) -> Answer<GetObjectAclOutput> {
    let call = Call::of(&request)?;
    let version = version::asked(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let (_, kept) = current(operations, &call, stated!(request), (&key, version), Permission::ReadAcp).await?;
    let bucket = call.bucket()?;
    let owner = &bucket.organization;
    let (owner, grants) = acl::shown(&kept.filter(|_| !is_enforced(bucket)).unwrap_or_else(|| acl::private(owner)));
    Ok(S3Response::new(GetObjectAclOutput { grants: Some(grants), owner: Some(owner), request_charged: None }))
}

/// Replaces the ACL of an object.
pub(super) async fn put_object_acl(operations: &Operations, request: S3Request<PutObjectAclInput>) -> Answer<PutObjectAclOutput> {
    let call = Call::of(&request)?;
    let version = version::asked(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let stated = stated!(request);
    let asked = acl::Asked::of(&stated);
    let wanted = acl::Wanted { asked, document: request.input.access_control_policy };
    let bucket = call.bucket()?;
    let mut retries = 0;
    loop {
        let (etag, kept) = current(operations, &call, stated, (&key, version), Permission::WriteAcp).await?;
        let owner =
            kept.as_ref().filter(|acl| !acl.owner.is_empty() && !is_enforced(bucket)).map_or(&bucket.organization, |acl| &acl.owner);
        let acl = acl::of_object(&operations.catalog, bucket, owner, wanted.clone()).await?;
        let change = AclChange { judged: Some((etag, kept)), acl };
        match operations.objects.put_acl(&call.cx, bucket, &key, version, change).await {
            // Another object is there than the one that was judged: it has its turn.
            Err(error) if error.kind() == ErrorKind::Conflict && retries < RETRIES_MAX => retries += 1,
            done => break done?,
        }
    }
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

/// The ETag and the ACL of an object that is there, once who asks may do `permission` to it.
async fn current(
    operations: &Operations,
    call: &Call,
    stated: Stated<'_>,
    (key, version): (&ObjectKey, Option<VersionId>),
    permission: Permission,
) -> Result<(ETag, Option<Acl>), Failure> {
    let bucket = call.bucket()?;
    let info = operations
        .objects
        .head(&call.cx, bucket, key, GetOptions { version, is_of_record: true, ..GetOptions::default() })
        .await
        .map_err(|error| call.told(error))?;
    call.check_reader(&operations.judge, stated, (key, &info), permission).await?;
    Ok((info.etag, info.attributes.acl))
}
