//! PutBucketVersioning and GetBucketVersioning.

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response,
    dto::{
        BucketVersioningStatus, GetBucketVersioningInput, GetBucketVersioningOutput, PutBucketVersioningInput, PutBucketVersioningOutput,
    },
};
use umbra_core::{Error, Fault};
use umbra_store::{BucketSettings, Versioning};

use super::Operations;
use crate::{call::Call, error::Answer};

/// Enables or suspends versioning. Whether deletes would need a second factor is not for this store to ask.
pub(super) async fn put_bucket_versioning(
    operations: &Operations,
    request: S3Request<PutBucketVersioningInput>,
) -> Answer<PutBucketVersioningOutput> {
    let call = Call::of(&request)?;
    let status = request.input.versioning_configuration.status;
    let versioning = match status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        Some(_) => return Err(S3ErrorCode::MalformedXML.into()),
        None => {
            let message = "The Versioning element must be specified";
            return Err(S3Error::with_message(S3ErrorCode::IllegalVersioningConfigurationException, message).into());
        }
    };
    let change = move |settings: &mut BucketSettings| {
        if settings.extras.object_lock.is_some() && versioning != Versioning::Enabled {
            let message = "an Object Lock configuration is present on this bucket, so the versioning state cannot be changed";
            return Err(Error::invalid(Fault::InvalidBucketState, message));
        }
        settings.versioning = versioning;
        Ok(())
    };
    operations.shadow.change_versioning(call.bucket()?, change).await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

/// Shows whether versioning is enabled or suspended; nothing, where it never was either.
pub(super) async fn get_bucket_versioning(
    _operations: &Operations,
    request: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    let call = Call::of(&request)?;
    let status = match call.bucket()?.settings.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}
