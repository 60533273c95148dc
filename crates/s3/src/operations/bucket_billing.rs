//! Sub-resources that are about what Amazon bills: request payment and transfer acceleration. They are kept and change nothing.

use s3s::{
    S3ErrorCode, S3Request, S3Response,
    dto::{
        BucketAccelerateStatus, GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput,
        GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, Payer, PutBucketAccelerateConfigurationInput,
        PutBucketAccelerateConfigurationOutput, PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput,
    },
};
use umbra_core::{Error, Fault};

use super::{Operations, settings::change_extras};
use crate::{call::Call, error::Answer};

/// Sets who pays.
pub(super) async fn put_bucket_request_payment(
    operations: &Operations,
    request: S3Request<PutBucketRequestPaymentInput>,
) -> Answer<PutBucketRequestPaymentOutput> {
    let call = Call::of(&request)?;
    let requester_pays = match request.input.request_payment_configuration.payer.as_str() {
        Payer::REQUESTER => true,
        Payer::BUCKET_OWNER => false,
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    change_extras(operations, &call, |extras| extras.requester_pays = requester_pays).await?;
    Ok(S3Response::new(PutBucketRequestPaymentOutput::default()))
}

/// Shows who pays.
pub(super) async fn get_bucket_request_payment(
    _operations: &Operations,
    request: S3Request<GetBucketRequestPaymentInput>,
) -> Answer<GetBucketRequestPaymentOutput> {
    let call = Call::of(&request)?;
    let payer = if call.bucket()?.settings.extras.requester_pays { Payer::REQUESTER } else { Payer::BUCKET_OWNER };
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(payer)) }))
}

/// Sets whether transfers are accelerated.
pub(super) async fn put_bucket_accelerate_configuration(
    operations: &Operations,
    request: S3Request<PutBucketAccelerateConfigurationInput>,
) -> Answer<PutBucketAccelerateConfigurationOutput> {
    let call = Call::of(&request)?;
    let status = request.input.accelerate_configuration.status;
    let accelerated = match status.as_ref().map(BucketAccelerateStatus::as_str) {
        Some(BucketAccelerateStatus::ENABLED) => true,
        Some(BucketAccelerateStatus::SUSPENDED) => false,
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    if call.bucket()?.name.as_str().contains('.') {
        let message = "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names";
        return Err(Error::invalid(Fault::InvalidRequest, message).into());
    }
    change_extras(operations, &call, |extras| extras.accelerated = Some(accelerated)).await?;
    Ok(S3Response::new(PutBucketAccelerateConfigurationOutput::default()))
}

/// Shows whether transfers are accelerated; nothing for a bucket that never was told.
pub(super) async fn get_bucket_accelerate_configuration(
    _operations: &Operations,
    request: S3Request<GetBucketAccelerateConfigurationInput>,
) -> Answer<GetBucketAccelerateConfigurationOutput> {
    let call = Call::of(&request)?;
    let status = |on: bool| {
        BucketAccelerateStatus::from_static(if on { BucketAccelerateStatus::ENABLED } else { BucketAccelerateStatus::SUSPENDED })
    };
    let status = call.bucket()?.settings.extras.accelerated.map(status);
    Ok(S3Response::new(GetBucketAccelerateConfigurationOutput { status, ..GetBucketAccelerateConfigurationOutput::default() }))
}
