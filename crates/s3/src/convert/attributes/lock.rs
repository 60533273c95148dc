//! Object lock.

use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetentionMode, Timestamp},
};
use umbra_core::{ObjectLock, Retention, RetentionMode};
use umbra_store::Bucket;

use crate::convert::time;

/// The headers that ask for it.
pub(crate) struct Asked<'a> {
    pub(crate) mode: Option<&'a ObjectLockMode>,
    pub(crate) until: Option<&'a Timestamp>,
    pub(crate) legal_hold: Option<&'a ObjectLockLegalHoldStatus>,
}

/// How the object is to be kept.
pub(crate) fn asked(asked: Asked<'_>, bucket: &Bucket) -> S3Result<ObjectLock> {
    let Asked { mode, until, legal_hold } = asked;
    if mode.is_none() && until.is_none() && legal_hold.is_none() {
        return Ok(ObjectLock::default());
    }
    check_enabled(bucket)?;
    let invalid = |message: &'static str| S3Error::with_message(S3ErrorCode::InvalidArgument, message);
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = parse_mode(mode.as_str()).ok_or_else(|| invalid("Unknown wormMode directive."))?;
            Some(Retention { mode, until: time::taken(until) })
        }
        _ => return Err(invalid("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")),
    };
    let legal_hold = legal_hold.map(|status| parse_legal_hold(status).ok_or_else(|| invalid("Legal Hold must be either of 'ON' or 'OFF'")));
    Ok(ObjectLock { retention, legal_hold: legal_hold.transpose()? })
}

/// Refuses to keep objects of a bucket without object lock.
pub(crate) fn check_enabled(bucket: &Bucket) -> S3Result<()> {
    match bucket.settings.extras.object_lock {
        Some(_) => Ok(()),
        None => Err(S3Error::with_message(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration")),
    }
}

/// Takes a mode; S3 knows no other spelling.
pub(crate) fn parse_mode(mode: &str) -> Option<RetentionMode> {
    match mode {
        ObjectLockRetentionMode::GOVERNANCE => Some(RetentionMode::Governance),
        ObjectLockRetentionMode::COMPLIANCE => Some(RetentionMode::Compliance),
        _ => None,
    }
}

/// A mode as S3 writes it.
pub(crate) const fn mode_shown(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => ObjectLockRetentionMode::GOVERNANCE,
        RetentionMode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
    }
}

/// Takes the status of a legal hold.
pub(crate) fn parse_legal_hold(status: &ObjectLockLegalHoldStatus) -> Option<bool> {
    match status.as_str() {
        ObjectLockLegalHoldStatus::ON => Some(true),
        ObjectLockLegalHoldStatus::OFF => Some(false),
        _ => None,
    }
}

/// The status of a legal hold.
pub(crate) fn legal_hold_shown(on: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(if on { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF })
}

/// Shows in `$output` what keeps the object of `$info`.
macro_rules! show {
    ($output:ident, $info:expr) => {
        let lock = &$info.attributes.lock;
        $output.object_lock_mode =
            lock.retention.map(|kept| s3s::dto::ObjectLockMode::from_static($crate::convert::attributes::lock::mode_shown(kept.mode)));
        $output.object_lock_retain_until_date = lock.retention.map(|kept| $crate::convert::time::shown(kept.until));
        $output.object_lock_legal_hold_status = lock.legal_hold.map($crate::convert::attributes::lock::legal_hold_shown);
    };
}

pub(crate) use show;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use s3s::dto::{ObjectLockLegalHoldStatus, ObjectLockMode};
    use umbra_core::{BucketName, RetentionMode, Timestamp};
    use umbra_store::{Bucket, BucketSettings, Extras, ObjectLockSettings};

    use super::{Asked, asked};
    use crate::convert::time;

    fn bucket(locked: bool) -> Bucket {
        let extras = Extras { object_lock: locked.then(ObjectLockSettings::default), ..Extras::default() };
        Bucket {
            name: BucketName::parse("photos").unwrap(),
            partition: umbra_meta::Partition(1),
            organization: "acme".to_owned(),
            created: Timestamp::default(),
            settings: BucketSettings { extras: Arc::new(extras), ..BucketSettings::default() },
            revision: umbra_meta::Revision(1),
            taken_in: None,
        }
    }

    #[test]
    fn headers_say_how_an_object_is_kept() {
        let until = Timestamp::from_millis(1_900_000_000_000);
        let (mode, odd, date) = (ObjectLockMode::from_static("GOVERNANCE"), ObjectLockMode::from_static("governance"), time::shown(until));
        let (on, maybe) = (ObjectLockLegalHoldStatus::from_static("ON"), ObjectLockLegalHoldStatus::from_static("on"));
        let ask = |mode, until, legal_hold, locked| asked(Asked { mode, until, legal_hold }, &bucket(locked));
        let lock = ask(Some(&mode), Some(&date), Some(&on), true).unwrap();
        assert_eq!(lock.retention.map(|kept| (kept.mode, kept.until)), Some((RetentionMode::Governance, until)));
        assert_eq!(lock.legal_hold, Some(true));
        assert_eq!(ask(None, None, None, false).unwrap(), umbra_core::ObjectLock::default());
        for refused in [
            ask(Some(&mode), Some(&date), None, false),
            ask(None, None, Some(&on), false),
            ask(Some(&mode), None, None, true),
            ask(None, Some(&date), None, true),
            ask(Some(&odd), Some(&date), None, true),
            ask(None, None, Some(&maybe), true),
        ] {
            assert!(refused.is_err(), "{refused:?}");
        }
    }
}
