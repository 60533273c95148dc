//! PutObjectRetention, GetObjectRetention, PutObjectLegalHold, GetObjectLegalHold.

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response,
    dto::{
        GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockLegalHold,
        ObjectLockRetention, ObjectLockRetentionMode, PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectRetentionInput,
        PutObjectRetentionOutput,
    },
};
use umbra_core::{Attributes, Error, Fault, ObjectKey, ObjectLock, Result, Retention};
use umbra_store::{GetOptions, LockChange};

use super::Operations;
use crate::{
    access::{self, Stated},
    call::Call,
    convert::{attributes::lock, time, version},
    error::{Answer, Failure},
};

/// Says until when a version is kept.
pub(super) async fn put_object_retention(
    operations: &Operations,
    request: S3Request<PutObjectRetentionInput>,
) -> Answer<PutObjectRetentionOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    lock::check_enabled(call.bucket()?)?;
    let retention = match input.retention.ok_or(S3ErrorCode::MalformedXML)? {
        ObjectLockRetention { mode: None, retain_until_date: None } => None,
        ObjectLockRetention { mode: Some(mode), retain_until_date: Some(until) } => {
            let mode = lock::parse_mode(mode.as_str()).ok_or(S3ErrorCode::MalformedXML)?;
            Some(Retention { mode, until: time::taken(&until) })
        }
        _ => return Err(S3ErrorCode::MalformedXML.into()),
    };
    operations.check_in_future(retention)?;
    let bypass_governance = input.bypass_governance_retention == Some(true);
    let (key, version) = (ObjectKey::parse(&input.key)?, version::asked(input.version_id.as_deref())?);
    let change = LockChange::Retention { retention, bypass_governance };
    operations.objects.put_lock(&call.cx, call.bucket()?, &key, version, change).await?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

/// Tells until when a version is kept.
pub(super) async fn get_object_retention(
    operations: &Operations,
    request: S3Request<GetObjectRetentionInput>,
) -> Answer<GetObjectRetentionOutput> {
    let call = Call::of(&request)?;
    let stated = stated!(request);
    let input = request.input;
    let kept = kept(operations, &call, stated, &input.key, input.version_id.as_deref()).await?.retention.ok_or_else(not_kept)?;
    let retention = ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(lock::mode_shown(kept.mode))),
        retain_until_date: Some(time::shown(kept.until)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
}

/// Puts a version under a legal hold, or ends it.
pub(super) async fn put_object_legal_hold(
    operations: &Operations,
    request: S3Request<PutObjectLegalHoldInput>,
) -> Answer<PutObjectLegalHoldOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    lock::check_enabled(call.bucket()?)?;
    let status = input.legal_hold.and_then(|hold| hold.status).ok_or(S3ErrorCode::MalformedXML)?;
    let on = lock::parse_legal_hold(&status).ok_or(S3ErrorCode::MalformedXML)?;
    let (key, version) = (ObjectKey::parse(&input.key)?, version::asked(input.version_id.as_deref())?);
    operations.objects.put_lock(&call.cx, call.bucket()?, &key, version, LockChange::LegalHold(on)).await?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

/// Tells whether a version is under a legal hold.
pub(super) async fn get_object_legal_hold(
    operations: &Operations,
    request: S3Request<GetObjectLegalHoldInput>,
) -> Answer<GetObjectLegalHoldOutput> {
    let call = Call::of(&request)?;
    let stated = stated!(request);
    let input = request.input;
    let on = kept(operations, &call, stated, &input.key, input.version_id.as_deref()).await?.legal_hold.ok_or_else(not_kept)?;
    let legal_hold = ObjectLockLegalHold { status: Some(lock::legal_hold_shown(on)) };
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(legal_hold) }))
}

/// What keeps a version from being deleted.
async fn kept(operations: &Operations, call: &Call, stated: Stated<'_>, key: &str, version: Option<&str>) -> Result<ObjectLock, Failure> {
    let bucket = call.bucket()?;
    lock::check_enabled(bucket)?;
    let version = version::asked(version)?;
    let options = GetOptions { version, ..GetOptions::default() };
    let info = operations.objects.head(&call.cx, bucket, &ObjectKey::parse(key)?, options).await?;
    let asked = access::Request::new(call, bucket, Some(key), stated);
    operations.judge.confirm(access::Request { version, held: Some(access::Held::of(&info)), ..asked }, &call.by_object).await?;
    Ok(info.attributes.lock)
}

fn not_kept() -> S3Error {
    let message = "The specified object does not have a ObjectLock configuration";
    S3Error::with_message(S3ErrorCode::NoSuchObjectLockConfiguration, message)
}

impl Operations {
    /// Refuses to keep what `attributes` are for until a time that has passed.
    pub(super) fn check_lock(&self, attributes: &Attributes) -> Result<()> {
        self.check_in_future(attributes.lock.retention)
    }

    fn check_in_future(&self, retention: Option<Retention>) -> Result<()> {
        match retention {
            Some(retention) if retention.until <= self.judge.clock.now() => {
                Err(Error::invalid(Fault::InvalidArgument, "the retain until date must be in the future"))
            }
            _ => Ok(()),
        }
    }
}
