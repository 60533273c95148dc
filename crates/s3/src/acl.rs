//! Canned ACLs. Objects have none of their own here: the bucket's applies to all of them.

use http::Uri;
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result};
use umbra_store::Bucket;

/// Refuses to write an object with `acl` where that would make more promises than the bucket keeps. SDKs send `private` with every write.
pub(crate) fn check_on_write(acl: Option<&str>, uri: &Uri, bucket: &Bucket) -> S3Result<()> {
    let hoisted = acl.is_none().then(|| hoisted(uri)).flatten();
    match acl.or(hoisted.as_deref()) {
        None | Some("private" | "bucket-owner-full-control" | "bucket-owner-read") => Ok(()),
        Some("public-read") if bucket.settings.public => Ok(()),
        Some(_) => Err(refused("The bucket does not allow ACLs: its objects are as public as the bucket is")),
    }
}

/// Refuses to give an object `acl` unless that is what holds already.
pub(crate) fn check_change(acl: Option<&str>, bucket: &Bucket) -> S3Result<()> {
    match (acl, bucket.settings.public) {
        (Some("private"), false) | (Some("public-read"), true) => Ok(()),
        _ => Err(refused("The bucket does not allow ACLs: its objects are as public as the bucket is")),
    }
}

fn refused(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, message)
}

/// The ACL in the query of a presigned write.
fn hoisted(uri: &Uri) -> Option<String> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("x-amz-acl"))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}
