//! PutObjectLockConfiguration and GetObjectLockConfiguration.

use std::sync::Arc;

use http::StatusCode;
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response,
    dto::{
        DefaultRetention as Default_, GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, ObjectLockConfiguration,
        ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule, PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput,
    },
};
use umbra_core::{Error, Fault};
use umbra_store::{BucketSettings, DefaultRetention, ObjectLockSettings, RetentionPeriod, Versioning};

use super::Operations;
use crate::{
    call::Call,
    convert::attributes::lock,
    error::{Answer, Failure, custom},
};

/// The longest default retention. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html>
const DAYS_MAX: i32 = 36_500;
const YEARS_MAX: i32 = 100;

/// Switches object lock on, for good, and says how new versions are kept that do not say so themselves.
pub(super) async fn put_object_lock_configuration(
    operations: &Operations,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> Answer<PutObjectLockConfigurationOutput> {
    let call = Call::of(&request)?;
    let configuration = request.input.object_lock_configuration.ok_or(S3ErrorCode::MalformedXML)?;
    if configuration.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let lock = ObjectLockSettings { default: configuration.rule.map(taken).transpose()? };
    let mut change = |settings: &mut BucketSettings| {
        if settings.versioning != Versioning::Enabled {
            let message = "versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
            return Err(Error::invalid(Fault::InvalidBucketState, message));
        }
        Arc::make_mut(&mut settings.extras).object_lock = Some(lock);
        Ok(())
    };
    operations.catalog.update_bucket(call.bucket()?, &mut change).await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn taken(rule: ObjectLockRule) -> Result<DefaultRetention, Failure> {
    let Default_ { days, mode, years } = rule.default_retention.ok_or(S3ErrorCode::MalformedXML)?;
    let mode = mode.and_then(|mode| lock::parse_mode(mode.as_str())).ok_or(S3ErrorCode::MalformedXML)?;
    let bounded = |number: i32, max: i32| {
        let number = u32::try_from(number).ok().filter(|number| *number > 0 && i64::from(*number) <= i64::from(max));
        number.ok_or_else(|| {
            let message = format!("Default retention period must be a positive integer of at most {DAYS_MAX} days or {YEARS_MAX} years");
            custom("InvalidRetentionPeriod", StatusCode::BAD_REQUEST, message)
        })
    };
    let period = match (days, years) {
        (Some(days), None) => RetentionPeriod::Days(bounded(days, DAYS_MAX)?),
        (None, Some(years)) => RetentionPeriod::Years(bounded(years, YEARS_MAX)?),
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    Ok(DefaultRetention { mode, period })
}

/// Shows the configuration.
pub(super) async fn get_object_lock_configuration(
    _operations: &Operations,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> Answer<GetObjectLockConfigurationOutput> {
    let call = Call::of(&request)?;
    let Some(lock) = call.bucket()?.settings.extras.object_lock else {
        let message = "Object Lock configuration does not exist for this bucket";
        return Err(S3Error::with_message(S3ErrorCode::ObjectLockConfigurationNotFoundError, message).into());
    };
    let configuration = ObjectLockConfiguration {
        object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
        rule: lock.default.map(shown),
    };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) }))
}

fn shown(default: DefaultRetention) -> ObjectLockRule {
    let number = |number: u32| i32::try_from(number).ok();
    let (days, years) = match default.period {
        RetentionPeriod::Days(days) => (number(days), None),
        RetentionPeriod::Years(years) => (None, number(years)),
    };
    let mode = Some(ObjectLockRetentionMode::from_static(lock::mode_shown(default.mode)));
    ObjectLockRule { default_retention: Some(Default_ { days, mode, years }) }
}
