//! Grants in headers.

use s3s::{S3Error, S3ErrorCode, S3Result};
use umbra_core::Acl;
use umbra_store::Bucket;

/// The headers that ask for them.
pub(crate) struct Asked<'a> {
    pub(crate) full_control: Option<&'a str>,
    pub(crate) read: Option<&'a str>,
    pub(crate) read_acp: Option<&'a str>,
    pub(crate) write_acp: Option<&'a str>,
}

/// The ACL the object is to have.
pub(crate) fn asked(asked: Asked<'_>, _bucket: &Bucket) -> S3Result<Option<Acl>> {
    let Asked { full_control, read, read_acp, write_acp } = asked;
    if full_control.is_some() || read.is_some() || read_acp.is_some() || write_acp.is_some() {
        return Err(S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs"));
    }
    Ok(None)
}
