//! PutBucketLogging, GetBucketLogging. [`crate::access_log`] acts on it.

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, dto,
    dto::{GetBucketLoggingInput, GetBucketLoggingOutput, PartitionDateSource, PutBucketLoggingInput, PutBucketLoggingOutput},
};
use umbra_core::{BucketName, Entity, Error, ErrorKind, Fault, ObjectKey};
use umbra_store::{Bucket, LogKeys, Logging};

use super::{Operations, settings::change_extras};
use crate::{
    access_log, acl,
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
        target_grants: acl::shown_of_logs(&logging.grants),
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

/// The configuration that `enabled` is, if the bucket it names takes logs of the bucket of `call`.
async fn taken(operations: &Operations, call: &Call, enabled: dto::LoggingEnabled) -> Result<Logging, Failure> {
    let Operations { catalog, judge, settings, random, .. } = operations;
    let keys = keys(enabled.target_object_key_format)?;
    let target = match catalog.bucket(&BucketName::parse(&enabled.target_bucket)?).await {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => return Err(no_target()),
        Err(error) => return Err(error.into()),
    };
    let source = call.bucket()?;
    check_target(source, &target)?;
    let grants = acl::of_logs(catalog, &target, enabled.target_grants.unwrap_or_default()).await?;
    let logging = Logging { bucket: target.name.to_string(), prefix: enabled.target_prefix, keys, grants };
    let key = access_log::sample_key(&logging, source, &settings.region, judge.clock.now(), &**random);
    let too_long = |_| Error::invalid(Fault::InvalidArgument, "the prefix is too long: keys of logs would have more than 1024 bytes");
    ObjectKey::parse(&key).map_err(too_long)?;
    if !judge.takes_logs(source, &target, &logging.prefix, &key)? {
        let message = "The target bucket does not let logs in: its policy must allow s3:PutObject to the service principal \
                       logging.s3.amazonaws.com, or its ACL must grant the log delivery group WRITE and READ_ACP.";
        return Err(S3Error::with_message(S3ErrorCode::AccessDenied, message).into());
    }
    Ok(logging)
}

fn keys(format: Option<dto::TargetObjectKeyFormat>) -> Result<LogKeys, Failure> {
    match format {
        None | Some(dto::TargetObjectKeyFormat { partitioned_prefix: None, simple_prefix: Some(_) }) => Ok(LogKeys::Simple),
        Some(dto::TargetObjectKeyFormat { partitioned_prefix: Some(partitioned), simple_prefix: None }) => {
            match partitioned.partition_date_source.as_ref().map(PartitionDateSource::as_str) {
                None | Some(PartitionDateSource::DELIVERY_TIME) => Ok(LogKeys::ByDeliveryTime),
                Some(PartitionDateSource::EVENT_TIME) => Ok(LogKeys::ByEventTime),
                Some(_) => Err(S3ErrorCode::MalformedXML.into()),
            }
        }
        Some(_) => Err(S3ErrorCode::MalformedXML.into()),
    }
}

/// A bucket may be its own target, and the target may have a log of its own: what is written as a log is not logged.
fn check_target(source: &Bucket, target: &Bucket) -> Result<(), Failure> {
    if target.organization != source.organization {
        return Err(no_target());
    }
    if target.settings.extras.requester_pays {
        let message = "the requesters pay for the target bucket, and nobody would for its logs";
        return Err(Error::invalid(Fault::InvalidArgument, message).into());
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
