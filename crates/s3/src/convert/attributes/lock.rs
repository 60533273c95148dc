//! Object lock.

use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{ObjectLockLegalHoldStatus, ObjectLockMode, Timestamp},
};
use umbra_core::ObjectLock;
use umbra_store::Bucket;

/// The headers that ask for it.
pub(crate) struct Asked<'a> {
    pub(crate) mode: Option<&'a ObjectLockMode>,
    pub(crate) until: Option<&'a Timestamp>,
    pub(crate) legal_hold: Option<&'a ObjectLockLegalHoldStatus>,
}

/// How the object is to be kept.
pub(crate) fn asked(asked: Asked<'_>, _bucket: &Bucket) -> S3Result<ObjectLock> {
    let Asked { mode, until, legal_hold } = asked;
    if mode.is_some() || until.is_some() || legal_hold.is_some() {
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration"));
    }
    Ok(ObjectLock::default())
}
