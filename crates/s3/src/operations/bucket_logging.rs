//! PutBucketLogging, GetBucketLogging. The configuration is kept and checked; no log is written by it.

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, dto,
    dto::{GetBucketLoggingInput, GetBucketLoggingOutput, PartitionDateSource, PutBucketLoggingInput, PutBucketLoggingOutput},
};
use umbra_core::{BucketName, Entity, Error, ErrorKind, Fault, limits};
use umbra_store::{Bucket, LogKeys, Logging};

use super::{Operations, settings::change_extras};
use crate::{
    call::Call,
    error::{Answer, Failure},
};

/// Sets where the access log goes, or that there is none.
pub(super) async fn put_bucket_logging(
    operations: &Operations,
    request: S3Request<PutBucketLoggingInput>,
) -> Answer<PutBucketLoggingOutput> {
    let call = Call::of(&request)?;
    let logging = match request.input.bucket_logging_status.logging_enabled {
        Some(enabled) => Some(taken(operations, &call, enabled).await?),
        None => None,
    };
    change_extras(operations, &call, |extras| extras.logging.clone_from(&logging)).await?;
    Ok(S3Response::new(PutBucketLoggingOutput::default()))
}

/// Shows it.
pub(super) async fn get_bucket_logging(
    _operations: &Operations,
    request: S3Request<GetBucketLoggingInput>,
) -> Answer<GetBucketLoggingOutput> {
    let call = Call::of(&request)?;
    let shown = |logging: Logging| dto::LoggingEnabled {
        target_bucket: logging.bucket,
        target_grants: None,
        target_object_key_format: Some(match logging.keys {
            LogKeys::Simple => dto::TargetObjectKeyFormat { simple_prefix: Some(dto::SimplePrefix {}), partitioned_prefix: None },
            LogKeys::ByEventTime => by(PartitionDateSource::EVENT_TIME),
            LogKeys::ByDeliveryTime => by(PartitionDateSource::DELIVERY_TIME),
        }),
        target_prefix: logging.prefix,
    };
    Ok(S3Response::new(GetBucketLoggingOutput { logging_enabled: call.bucket()?.settings.extras.logging.clone().map(shown) }))
}

fn by(source: &'static str) -> dto::TargetObjectKeyFormat {
    let partition_date_source = Some(PartitionDateSource::from_static(source));
    dto::TargetObjectKeyFormat { partitioned_prefix: Some(dto::PartitionedPrefix { partition_date_source }), simple_prefix: None }
}

/// Grants on logs are not kept: the owner of the target bucket has them.
async fn taken(operations: &Operations, call: &Call, enabled: dto::LoggingEnabled) -> Result<Logging, Failure> {
    let keys = match enabled.target_object_key_format {
        None => LogKeys::Simple,
        Some(dto::TargetObjectKeyFormat { partitioned_prefix: None, simple_prefix: Some(_) }) => LogKeys::Simple,
        Some(dto::TargetObjectKeyFormat { partitioned_prefix: Some(partitioned), simple_prefix: None }) => {
            match partitioned.partition_date_source.as_ref().map(PartitionDateSource::as_str) {
                None | Some(PartitionDateSource::DELIVERY_TIME) => LogKeys::ByDeliveryTime,
                Some(PartitionDateSource::EVENT_TIME) => LogKeys::ByEventTime,
                Some(_) => return Err(S3ErrorCode::MalformedXML.into()),
            }
        }
        Some(_) => return Err(S3ErrorCode::MalformedXML.into()),
    };
    if enabled.target_prefix.len() > limits::KEY_BYTES_MAX {
        return Err(Error::invalid(Fault::InvalidArgument, "the prefix of logs has at most 1024 bytes").into());
    }
    let target = match operations.catalog.bucket(&BucketName::parse(&enabled.target_bucket)?).await {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => return Err(no_target()),
        Err(error) => return Err(error.into()),
    };
    check_target(call.bucket()?, &target)?;
    Ok(Logging { bucket: target.name.to_string(), prefix: enabled.target_prefix, keys })
}

fn check_target(source: &Bucket, target: &Bucket) -> Result<(), Failure> {
    let refused = |message: &str| Err(Error::invalid(Fault::InvalidArgument, message).into());
    if target.organization != source.organization {
        return Err(no_target());
    }
    if target.partition == source.partition {
        return refused("a bucket cannot log its requests to itself");
    }
    if target.settings.extras.logging.is_some() {
        return refused("the target bucket has an access log of its own");
    }
    if target.settings.extras.requester_pays {
        return refused("the requesters pay for the target bucket, and nobody would for its logs");
    }
    Ok(())
}

fn no_target() -> Failure {
    S3Error::with_message(
        S3ErrorCode::InvalidTargetBucketForLogging,
        "The target bucket for logging does not exist, or is not owned by you",
    )
    .into()
}
