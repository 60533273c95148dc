use http::StatusCode;
use s3s::{
    BodySizeLimitExceeded, S3Error,
    stream::{aws_chunked_stream::AwsChunkedStreamError, upload_stream::UploadStreamError},
};
use umbra_core::{Entity, Error, ErrorKind, Fault};

use super::{Failure, answer};
use crate::slow_body::SlowBody;

fn told(error: Error) -> (String, u16) {
    let answer = answer(&error);
    (answer.code().as_str().to_owned(), answer.status_code().map_or(0, |status| status.as_u16()))
}

#[test]
fn every_kind_has_its_code_and_status() {
    let cases = [
        (ErrorKind::NotFound(Entity::Bucket), "NoSuchBucket", 404),
        (ErrorKind::NotFound(Entity::Object), "NoSuchKey", 404),
        (ErrorKind::NotFound(Entity::Upload), "NoSuchUpload", 404),
        (ErrorKind::NotFound(Entity::Part), "InvalidPart", 400),
        (ErrorKind::NotFound(Entity::AccessKey), "InvalidAccessKeyId", 403),
        (ErrorKind::NotFound(Entity::Organization), "NoSuchOrganization", 404),
        (ErrorKind::NotFound(Entity::Shadow), "NoSuchShadow", 404),
        (ErrorKind::NotFound(Entity::Setting), "NoSuchTagSet", 404),
        (ErrorKind::NotFound(Entity::Job), "NoSuchJob", 404),
        (ErrorKind::AlreadyExists(Entity::Bucket), "BucketAlreadyExists", 409),
        (ErrorKind::AlreadyExists(Entity::Organization), "OperationAborted", 409),
        (ErrorKind::Conflict, "OperationAborted", 409),
        (ErrorKind::Precondition, "PreconditionFailed", 412),
        (ErrorKind::NotModified, "NotModified", 304),
        (ErrorKind::Denied, "AccessDenied", 403),
        (ErrorKind::Throttled, "SlowDown", 503),
        (ErrorKind::Unavailable, "ServiceUnavailable", 503),
        (ErrorKind::DiskFull, "ServiceUnavailable", 503),
        (ErrorKind::OriginUnavailable, "ServiceUnavailable", 503),
        (ErrorKind::OriginRefused, "ServiceUnavailable", 503),
        (ErrorKind::Cancelled, "ServiceUnavailable", 503),
        (ErrorKind::Unsupported, "NotImplemented", 501),
        (ErrorKind::Corrupt, "InternalError", 500),
        (ErrorKind::Internal, "InternalError", 500),
    ];
    for (kind, code, status) in cases {
        assert_eq!(told(Error::new(kind, "inside")), (code.to_owned(), status), "{kind:?}");
    }
}

#[test]
fn every_fault_has_its_code_and_status() {
    let cases = [
        (Fault::InvalidArgument, "InvalidArgument", 400),
        (Fault::InvalidRequest, "InvalidRequest", 400),
        (Fault::InvalidBucketName, "InvalidBucketName", 400),
        (Fault::KeyTooLong, "KeyTooLongError", 400),
        (Fault::InvalidPart, "InvalidPart", 400),
        (Fault::InvalidPartOrder, "InvalidPartOrder", 400),
        (Fault::EntityTooSmall, "EntityTooSmall", 400),
        (Fault::EntityTooLarge, "EntityTooLarge", 400),
        (Fault::InvalidRange, "InvalidRange", 416),
        (Fault::InvalidPartNumber, "InvalidPartNumber", 416),
        (Fault::BadDigest, "BadDigest", 400),
        (Fault::InvalidDigest, "InvalidDigest", 400),
        (Fault::IncompleteBody, "IncompleteBody", 400),
        (Fault::MetadataTooLarge, "MetadataTooLarge", 400),
        (Fault::InvalidTag, "InvalidTag", 400),
        (Fault::InvalidObjectState, "InvalidObjectState", 403),
        (Fault::BucketNotEmpty, "BucketNotEmpty", 409),
        (Fault::MalformedXml, "MalformedXML", 400),
    ];
    for (fault, code, status) in cases {
        assert_eq!(told(Error::invalid(fault, "wrong")), (code.to_owned(), status), "{fault:?}");
    }
}

#[test]
fn what_the_body_checks_found_is_told() {
    let unreadable = || Error::invalid(Fault::IncompleteBody, "unreadable");
    let nested = AwsChunkedStreamError::Underlying(Box::new(SlowBody));
    let cases = [
        (unreadable().because(AwsChunkedStreamError::SignatureMismatch), "SignatureDoesNotMatch", 403),
        (unreadable().because(AwsChunkedStreamError::FormatError), "IncompleteBody", 400),
        (unreadable().because(UploadStreamError::Sha256Mismatch), "XAmzContentSHA256Mismatch", 400),
        (unreadable().because(UploadStreamError::Incomplete), "IncompleteBody", 400),
        (unreadable().because(BodySizeLimitExceeded { size: 2, limit: 1 }), "EntityTooLarge", 400),
        (unreadable().because(SlowBody), "RequestTimeout", 400),
        (unreadable().because(nested), "RequestTimeout", 400),
        (Error::internal("wrapped").because(unreadable().because(SlowBody)), "RequestTimeout", 400),
        (unreadable().because("cut off"), "IncompleteBody", 400),
    ];
    for (error, code, status) in cases {
        assert_eq!(told(error.clone()), (code.to_owned(), status), "{error:?}");
    }
}

#[test]
fn the_origin_is_named_and_the_inside_is_not() {
    let refused = S3Error::from(Failure::Ours(Error::new(ErrorKind::OriginRefused, "key AKIA rejected")));
    assert_eq!(refused.headers().unwrap()["x-umbra-origin"], "refused");
    assert!(refused.headers().unwrap().contains_key("retry-after"));
    assert!(!refused.message().unwrap().contains("AKIA"));
    let away = S3Error::from(Failure::Ours(Error::new(ErrorKind::OriginUnavailable, "connection refused")));
    assert_eq!(away.headers().unwrap()["x-umbra-origin"], "unavailable");
    let internal = S3Error::from(Failure::Ours(Error::internal("row 17 is odd")));
    assert!(!internal.message().unwrap().contains("row 17"));
    assert_eq!(internal.status_code(), Some(StatusCode::INTERNAL_SERVER_ERROR));
}
