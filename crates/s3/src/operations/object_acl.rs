//! PutObjectAcl.

use s3s::{
    S3ErrorCode, S3Request, S3Response,
    dto::{ObjectCannedACL, PutObjectAclInput, PutObjectAclOutput},
};
use umbra_core::ObjectKey;
use umbra_store::GetOptions;

use super::Operations;
use crate::{acl, call::Call, convert::version, error::Answer};

/// Confirms what the bucket's ACL makes of an object; nothing else can be had.
pub(super) async fn put_object_acl(operations: &Operations, request: S3Request<PutObjectAclInput>) -> Answer<PutObjectAclOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    let version = version::asked(input.version_id.as_deref())?;
    if input.access_control_policy.is_some() {
        return Err(S3ErrorCode::AccessControlListNotSupported.into());
    }
    let bucket = call.bucket()?;
    operations.objects.head(&call.cx, bucket, &ObjectKey::parse(&input.key)?, GetOptions { version, ..GetOptions::default() }).await?;
    acl::check_change(input.acl.as_ref().map(ObjectCannedACL::as_str), bucket)?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
