//! GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus.

use std::sync::Arc;

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response,
    dto::{
        DeleteBucketPolicyInput, DeleteBucketPolicyOutput, GetBucketPolicyInput, GetBucketPolicyOutput, GetBucketPolicyStatusInput,
        GetBucketPolicyStatusOutput, PolicyStatus, PutBucketPolicyInput, PutBucketPolicyOutput,
    },
};
use umbra_core::{Error, ErrorKind};
use umbra_store::BucketSettings;

use super::Operations;
use crate::{
    access::public_access,
    acl,
    call::Call,
    error::{Answer, Failure},
    policy::Policy,
};

/// Sets the policy.
pub(super) async fn put_bucket_policy(operations: &Operations, request: S3Request<PutBucketPolicyInput>) -> Answer<PutBucketPolicyOutput> {
    let call = Call::of(&request)?;
    let bucket = call.bucket()?;
    let text = request.input.policy;
    let is_public = Policy::parse(&text, bucket.name.as_str()).map_err(S3Error::from)?.is_public();
    set(operations, &call, Some(text), is_public).await?;
    Ok(S3Response::new(PutBucketPolicyOutput::default()))
}

/// Shows the policy as it was given.
pub(super) async fn get_bucket_policy(_operations: &Operations, request: S3Request<GetBucketPolicyInput>) -> Answer<GetBucketPolicyOutput> {
    let policy = Call::of(&request)?.bucket()?.settings.extras.policy.clone();
    Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy.ok_or(S3ErrorCode::NoSuchBucketPolicy)?) }))
}

/// Removes the policy.
pub(super) async fn delete_bucket_policy(
    operations: &Operations,
    request: S3Request<DeleteBucketPolicyInput>,
) -> Answer<DeleteBucketPolicyOutput> {
    let call = Call::of(&request)?;
    set(operations, &call, None, false).await?;
    Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
}

/// Tells whether the policy or the ACL opens the bucket to the public.
pub(super) async fn get_bucket_policy_status(
    operations: &Operations,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> Answer<GetBucketPolicyStatusOutput> {
    let call = Call::of(&request)?;
    let bucket = call.bucket()?;
    let blocked = public_access(bucket);
    let by_policy = !blocked.restrict && operations.judge.policies.of(bucket)?.is_some_and(|policy| policy.is_public());
    let by_acl = !blocked.ignore_acls && acl::is_public(&acl::shown_bucket(bucket).grants);
    let status = PolicyStatus { is_public: Some(by_policy || by_acl) };
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status: Some(status) }))
}

async fn set(operations: &Operations, call: &Call, policy: Option<String>, is_public: bool) -> Result<(), Failure> {
    let mut change = |settings: &mut BucketSettings| {
        let extras = Arc::make_mut(&mut settings.extras);
        if is_public && extras.public_access.is_some_and(|block| block.block_policy) {
            return Err(Error::new(ErrorKind::Denied, "the bucket's public access block refuses public policies"));
        }
        extras.policy.clone_from(&policy);
        Ok(())
    };
    operations.catalog.update_bucket(call.bucket()?, &mut change).await?;
    Ok(())
}
