//! GetObjectAcl, PutObjectAcl.

use s3s::{
    S3ErrorCode, S3Request, S3Response,
    dto::{GetObjectAclInput, GetObjectAclOutput, PutObjectAclInput, PutObjectAclOutput},
};
use umbra_core::{Acl, ObjectKey, Permission, VersionId};
use umbra_store::GetOptions;

use super::Operations;
use crate::{
    access::{Judge, is_enforced},
    acl,
    call::Call,
    convert::version,
    error::{Answer, Failure},
};

/// Shows the ACL of an object.
pub(super) async fn get_object_acl(operations: &Operations, request: S3Request<GetObjectAclInput>) -> Answer<GetObjectAclOutput> {
    let call = Call::of(&request)?;
    let version = version::asked(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let kept = current(operations, &call, &key, version, Permission::ReadAcp).await?;
    let owner = &call.bucket()?.organization;
    let (owner, grants) = acl::shown(&kept.unwrap_or_else(|| acl::private(owner)));
    Ok(S3Response::new(GetObjectAclOutput { grants: Some(grants), owner: Some(owner), request_charged: None }))
}

/// Replaces the ACL of an object.
pub(super) async fn put_object_acl(operations: &Operations, request: S3Request<PutObjectAclInput>) -> Answer<PutObjectAclOutput> {
    let call = Call::of(&request)?;
    let version = version::asked(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let asked = acl::Asked::of(&stated!(request));
    let wanted = acl::Wanted { asked, document: request.input.access_control_policy };
    let bucket = call.bucket()?;
    let kept = current(operations, &call, &key, version, Permission::WriteAcp).await?;
    let owner = kept.as_ref().map(|acl| acl.owner.as_str()).filter(|owner| !owner.is_empty()).unwrap_or(&bucket.organization);
    let acl = acl::of_object(&operations.catalog, bucket, owner, wanted).await?;
    operations.objects.put_acl(&call.cx, bucket, &key, version, acl).await?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

/// The ACL of an object that is there, once who asks may do `permission` to it.
async fn current(
    operations: &Operations,
    call: &Call,
    key: &ObjectKey,
    version: Option<VersionId>,
    permission: Permission,
) -> Result<Option<Acl>, Failure> {
    let bucket = call.bucket()?;
    let info = operations
        .objects
        .head(&call.cx, bucket, key, GetOptions { version, is_of_record: true, ..GetOptions::default() })
        .await
        .map_err(|error| call.told(error))?;
    let acl = info.attributes.acl;
    if !Judge::check_reader(call.key.as_deref(), bucket, acl.as_ref(), permission) {
        return Err(S3ErrorCode::AccessDenied.into());
    }
    Ok(acl.filter(|_| !is_enforced(bucket)))
}
