//! GetBucketOwnershipControls, PutBucketOwnershipControls, DeleteBucketOwnershipControls.

use std::sync::Arc;

use s3s::{
    S3ErrorCode, S3Request, S3Response, dto,
    dto::{
        DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput, GetBucketOwnershipControlsInput,
        GetBucketOwnershipControlsOutput, OwnershipControls, OwnershipControlsRule, PutBucketOwnershipControlsInput,
        PutBucketOwnershipControlsOutput,
    },
};
use umbra_store::{BucketSettings, ObjectOwnership};

use super::Operations;
use crate::{
    acl,
    call::Call,
    error::{Answer, Failure},
};

/// Sets who owns what others write.
pub(super) async fn put_bucket_ownership_controls(
    operations: &Operations,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> Answer<PutBucketOwnershipControlsOutput> {
    let call = Call::of(&request)?;
    let [rule] = request.input.ownership_controls.rules.as_slice() else { return Err(S3ErrorCode::MalformedXML.into()) };
    let ownership = parse(&rule.object_ownership)?;
    let bucket = call.bucket()?;
    if ownership == ObjectOwnership::BucketOwnerEnforced && acl::shown_bucket(bucket) != acl::private(&bucket.organization) {
        return Err(S3ErrorCode::InvalidBucketAclWithObjectOwnership.into());
    }
    set(operations, &call, Some(ownership)).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}

/// Shows who owns what others write, where it was set.
pub(super) async fn get_bucket_ownership_controls(
    _operations: &Operations,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> Answer<GetBucketOwnershipControlsOutput> {
    let ownership = Call::of(&request)?.bucket()?.settings.extras.ownership;
    let shown = match ownership.ok_or(S3ErrorCode::OwnershipControlsNotFoundError)? {
        ObjectOwnership::BucketOwnerEnforced => dto::ObjectOwnership::BUCKET_OWNER_ENFORCED,
        ObjectOwnership::BucketOwnerPreferred => dto::ObjectOwnership::BUCKET_OWNER_PREFERRED,
        ObjectOwnership::ObjectWriter => dto::ObjectOwnership::OBJECT_WRITER,
    };
    let rules = vec![OwnershipControlsRule { object_ownership: dto::ObjectOwnership::from_static(shown) }];
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules }) }))
}

/// Leaves what others write to them again.
pub(super) async fn delete_bucket_ownership_controls(
    operations: &Operations,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> Answer<DeleteBucketOwnershipControlsOutput> {
    let call = Call::of(&request)?;
    set(operations, &call, None).await?;
    Ok(S3Response::new(DeleteBucketOwnershipControlsOutput::default()))
}

/// Who owns what others write, by the name that S3 has for it.
pub(super) fn parse(name: &dto::ObjectOwnership) -> Result<ObjectOwnership, Failure> {
    match name.as_str() {
        dto::ObjectOwnership::BUCKET_OWNER_ENFORCED => Ok(ObjectOwnership::BucketOwnerEnforced),
        dto::ObjectOwnership::BUCKET_OWNER_PREFERRED => Ok(ObjectOwnership::BucketOwnerPreferred),
        dto::ObjectOwnership::OBJECT_WRITER => Ok(ObjectOwnership::ObjectWriter),
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}

async fn set(operations: &Operations, call: &Call, ownership: Option<ObjectOwnership>) -> Result<(), Failure> {
    let bucket = call.bucket()?;
    let mut change = |settings: &mut BucketSettings| {
        // What allowed it must still hold.
        if settings.extras.acl != bucket.settings.extras.acl || settings.public != bucket.settings.public {
            return Err(super::changed_meanwhile());
        }
        Arc::make_mut(&mut settings.extras).ownership = ownership;
        Ok(())
    };
    operations.catalog.update_bucket(bucket, &mut change).await?;
    Ok(())
}
