//! GetBucketAcl, PutBucketAcl.

use std::sync::Arc;

use s3s::{
    S3Request, S3Response,
    dto::{GetBucketAclInput, GetBucketAclOutput, PutBucketAclInput, PutBucketAclOutput},
};
use umbra_store::BucketSettings;

use super::Operations;
use crate::{acl, call::Call, error::Answer};

/// Shows the ACL.
pub(super) async fn get_bucket_acl(_operations: &Operations, request: S3Request<GetBucketAclInput>) -> Answer<GetBucketAclOutput> {
    let call = Call::of(&request)?;
    let (owner, grants) = acl::shown(&acl::shown_bucket(call.bucket()?));
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(grants), owner: Some(owner) }))
}

/// Replaces the ACL, and with it what made the bucket public in Tigris's way.
pub(super) async fn put_bucket_acl(operations: &Operations, request: S3Request<PutBucketAclInput>) -> Answer<PutBucketAclOutput> {
    let call = Call::of(&request)?;
    let asked = acl::Asked::of(&stated!(request));
    let wanted = acl::Wanted { asked, document: request.input.access_control_policy };
    let bucket = call.bucket()?;
    let acl = acl::of_bucket(&operations.catalog, bucket, wanted).await?;
    let mut change = |settings: &mut BucketSettings| {
        // What allowed it must still hold.
        let judged = (settings.extras.ownership, settings.extras.public_access);
        if judged != (bucket.settings.extras.ownership, bucket.settings.extras.public_access) {
            return Err(super::changed_meanwhile());
        }
        let extras = Arc::make_mut(&mut settings.extras);
        extras.acl.clone_from(&acl);
        settings.public = false;
        Ok(())
    };
    operations.catalog.update_bucket(bucket, &mut change).await?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}
