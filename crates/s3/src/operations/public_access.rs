//! GetPublicAccessBlock, PutPublicAccessBlock, DeletePublicAccessBlock.

use std::sync::Arc;

use http::StatusCode;
use s3s::{
    S3Request, S3Response,
    dto::{
        DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput,
        PublicAccessBlockConfiguration, PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
    },
};
use umbra_store::{BucketSettings, PublicAccessBlock};

use super::Operations;
use crate::{
    call::Call,
    error::{Answer, Failure, custom},
};

/// Sets what is kept from becoming public.
pub(super) async fn put_public_access_block(
    operations: &Operations,
    request: S3Request<PutPublicAccessBlockInput>,
) -> Answer<PutPublicAccessBlockOutput> {
    let call = Call::of(&request)?;
    let given = request.input.public_access_block_configuration;
    let block = PublicAccessBlock {
        block_acls: given.block_public_acls.unwrap_or(false),
        ignore_acls: given.ignore_public_acls.unwrap_or(false),
        block_policy: given.block_public_policy.unwrap_or(false),
        restrict: given.restrict_public_buckets.unwrap_or(false),
    };
    set(operations, &call, Some(block)).await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}

/// Shows what is kept from becoming public.
pub(super) async fn get_public_access_block(
    _operations: &Operations,
    request: S3Request<GetPublicAccessBlockInput>,
) -> Answer<GetPublicAccessBlockOutput> {
    let block = Call::of(&request)?.bucket()?.settings.extras.public_access;
    let absent = || {
        let message = "The public access block configuration was not found";
        custom("NoSuchPublicAccessBlockConfiguration", StatusCode::NOT_FOUND, message)
    };
    let PublicAccessBlock { block_acls, ignore_acls, block_policy, restrict } = block.ok_or_else(absent)?;
    let shown = PublicAccessBlockConfiguration {
        block_public_acls: Some(block_acls),
        block_public_policy: Some(block_policy),
        ignore_public_acls: Some(ignore_acls),
        restrict_public_buckets: Some(restrict),
    };
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration: Some(shown) }))
}

/// Keeps nothing from becoming public any more.
pub(super) async fn delete_public_access_block(
    operations: &Operations,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> Answer<DeletePublicAccessBlockOutput> {
    let call = Call::of(&request)?;
    set(operations, &call, None).await?;
    Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
}

async fn set(operations: &Operations, call: &Call, block: Option<PublicAccessBlock>) -> Result<(), Failure> {
    let mut change = |settings: &mut BucketSettings| {
        Arc::make_mut(&mut settings.extras).public_access = block;
        Ok(())
    };
    operations.catalog.update_bucket(call.bucket()?, &mut change).await?;
    Ok(())
}
