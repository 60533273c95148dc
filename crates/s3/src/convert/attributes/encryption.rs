//! Server-side encryption.

use s3s::{S3Error, S3ErrorCode, S3Result, dto::ServerSideEncryption};
use umbra_core::Encryption;
use umbra_store::Bucket;

/// The headers that ask for it.
pub(crate) struct Asked<'a> {
    pub(crate) algorithm: Option<&'a ServerSideEncryption>,
    pub(crate) kms_key: Option<&'a str>,
    pub(crate) customer_algorithm: Option<&'a str>,
    pub(crate) customer_key: Option<&'a str>,
}

/// How the object is to be encrypted.
pub(crate) fn asked(asked: Asked<'_>, _bucket: &Bucket) -> S3Result<Option<Encryption>> {
    let Asked { algorithm, kms_key, customer_algorithm, customer_key } = asked;
    if algorithm.is_some() || kms_key.is_some() || customer_algorithm.is_some() || customer_key.is_some() {
        return Err(S3Error::with_message(S3ErrorCode::NotImplemented, "Server side encryption is not supported"));
    }
    Ok(None)
}
