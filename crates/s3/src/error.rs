//! Turns errors into what S3 clients expect: one match, nowhere else.

use std::error::Error as StdError;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, LAST_MODIFIED, RETRY_AFTER},
};
use s3s::{
    BodySizeLimitExceeded, S3Error, S3ErrorCode, S3Response,
    stream::{aws_chunked_stream::AwsChunkedStreamError, upload_stream::UploadStreamError},
};
use umbra_core::{Entity, Error, ErrorKind, Fault, MarkerFound};

use crate::{convert::time, post::FileError, slow_body::SlowBody};

/// Says that it was the origin that could not answer, and how.
const ORIGIN: HeaderName = HeaderName::from_static("x-umbra-origin");
const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// What an operation answers.
pub(crate) type Answer<T> = Result<S3Response<T>, Failure>;

/// Why an operation failed: in our words, or already in S3's.
#[derive(Debug)]
pub(crate) enum Failure {
    /// In our words.
    Ours(Error),
    /// In S3's words.
    S3(S3Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        Self::S3(error)
    }
}

impl From<S3ErrorCode> for Failure {
    fn from(code: S3ErrorCode) -> Self {
        Self::S3(code.into())
    }
}

impl From<Failure> for S3Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ours(error) => answer(&error),
            Failure::S3(error) => error,
        }
    }
}

impl Failure {
    /// The code a client would see, and its message: for answers that carry errors of their own.
    pub(crate) fn into_code_and_message(self) -> (String, String) {
        let error = S3Error::from(self);
        (error.code().as_str().to_owned(), error.message().unwrap_or_default().to_owned())
    }
}

/// An error with a code of S3's, a status and a message of ours.
pub(crate) fn custom(code: &'static str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message.into());
    error.set_status_code(status);
    error
}

/// Turns `error` into S3's answer, and logs what a person should look at.
fn answer(error: &Error) -> S3Error {
    log(error);
    let (code, status) = found_in_causes(error).unwrap_or_else(|| code(error.kind()));
    let mut answer = S3Error::new(code);
    answer.set_status_code(status);
    if let Some(message) = message(error) {
        answer.set_message(message);
    }
    let marker = error.source().and_then(|cause| cause.downcast_ref::<MarkerFound>());
    if let Some(headers) = headers(error.kind()).or_else(|| marker.map(|marker| headers_of_marker(error.kind(), marker))) {
        answer.set_headers(headers);
    }
    answer
}

/// Says that a delete marker is what was found. The date is told to who asked for the marker itself.
fn headers_of_marker(kind: ErrorKind, marker: &MarkerFound) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    if let Ok(version) = HeaderValue::try_from(marker.version.to_string()) {
        headers.insert(VERSION_ID, version);
    }
    if kind == ErrorKind::Invalid(Fault::MethodNotAllowed)
        && let Some(date) = time::header(marker.last_modified)
    {
        headers.insert(LAST_MODIFIED, date);
        headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
    }
    headers
}

/// Logs `error` once: this is where it is handled.
pub(crate) fn log(error: &Error) {
    match error.kind() {
        ErrorKind::Internal | ErrorKind::Corrupt => tracing::error!(?error, "a request failed"),
        ErrorKind::Unavailable => tracing::warn!(?error, "a request failed"),
        _ => {}
    }
}

/// The code and status of every kind of error.
fn code(kind: ErrorKind) -> (S3ErrorCode, StatusCode) {
    match kind {
        ErrorKind::NotFound(entity) => missing(entity),
        ErrorKind::AlreadyExists(Entity::Bucket) => (S3ErrorCode::BucketAlreadyExists, StatusCode::CONFLICT),
        ErrorKind::AlreadyExists(_) | ErrorKind::Conflict => (S3ErrorCode::OperationAborted, StatusCode::CONFLICT),
        ErrorKind::Precondition => (S3ErrorCode::PreconditionFailed, StatusCode::PRECONDITION_FAILED),
        ErrorKind::NotModified => (S3ErrorCode::NotModified, StatusCode::NOT_MODIFIED),
        ErrorKind::Invalid(fault) => fault_code(fault),
        ErrorKind::Denied => (S3ErrorCode::AccessDenied, StatusCode::FORBIDDEN),
        ErrorKind::Throttled => (S3ErrorCode::SlowDown, StatusCode::SERVICE_UNAVAILABLE),
        ErrorKind::Unavailable | ErrorKind::DiskFull | ErrorKind::OriginUnavailable | ErrorKind::OriginRefused | ErrorKind::Cancelled => {
            (S3ErrorCode::ServiceUnavailable, StatusCode::SERVICE_UNAVAILABLE)
        }
        ErrorKind::Unsupported => (S3ErrorCode::NotImplemented, StatusCode::NOT_IMPLEMENTED),
        ErrorKind::Corrupt | ErrorKind::Internal => (S3ErrorCode::InternalError, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn missing(entity: Entity) -> (S3ErrorCode, StatusCode) {
    let code = match entity {
        Entity::Bucket => S3ErrorCode::NoSuchBucket,
        Entity::Object => S3ErrorCode::NoSuchKey,
        Entity::Version => S3ErrorCode::NoSuchVersion,
        Entity::Upload => S3ErrorCode::NoSuchUpload,
        Entity::Part => return (S3ErrorCode::InvalidPart, StatusCode::BAD_REQUEST),
        Entity::AccessKey => return (S3ErrorCode::InvalidAccessKeyId, StatusCode::FORBIDDEN),
        Entity::Organization => S3ErrorCode::Custom("NoSuchOrganization".into()),
        Entity::Shadow => S3ErrorCode::Custom("NoSuchShadow".into()),
        Entity::Setting => S3ErrorCode::NoSuchTagSet,
        Entity::Job => S3ErrorCode::Custom("NoSuchJob".into()),
    };
    (code, StatusCode::NOT_FOUND)
}

fn fault_code(fault: Fault) -> (S3ErrorCode, StatusCode) {
    let code = match fault {
        Fault::InvalidArgument => S3ErrorCode::InvalidArgument,
        Fault::InvalidRequest => S3ErrorCode::InvalidRequest,
        Fault::InvalidBucketName => S3ErrorCode::InvalidBucketName,
        Fault::KeyTooLong => S3ErrorCode::KeyTooLongError,
        Fault::InvalidPart => S3ErrorCode::InvalidPart,
        Fault::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
        Fault::EntityTooSmall => S3ErrorCode::EntityTooSmall,
        Fault::EntityTooLarge => S3ErrorCode::EntityTooLarge,
        Fault::InvalidRange => return (S3ErrorCode::InvalidRange, StatusCode::RANGE_NOT_SATISFIABLE),
        Fault::InvalidPartNumber => return (S3ErrorCode::Custom("InvalidPartNumber".into()), StatusCode::RANGE_NOT_SATISFIABLE),
        Fault::BadDigest => S3ErrorCode::BadDigest,
        Fault::InvalidDigest => S3ErrorCode::InvalidDigest,
        Fault::IncompleteBody => S3ErrorCode::IncompleteBody,
        Fault::MetadataTooLarge => S3ErrorCode::MetadataTooLarge,
        Fault::InvalidTag => S3ErrorCode::InvalidTag,
        Fault::InvalidObjectState => return (S3ErrorCode::InvalidObjectState, StatusCode::FORBIDDEN),
        Fault::InvalidBucketState => return (S3ErrorCode::InvalidBucketState, StatusCode::CONFLICT),
        Fault::MethodNotAllowed => return (S3ErrorCode::MethodNotAllowed, StatusCode::METHOD_NOT_ALLOWED),
        Fault::BucketNotEmpty => return (S3ErrorCode::BucketNotEmpty, StatusCode::CONFLICT),
        Fault::MalformedXml => S3ErrorCode::MalformedXML,
        Fault::KmsKeyNotFound => S3ErrorCode::Custom("KMS.NotFoundException".into()),
    };
    (code, StatusCode::BAD_REQUEST)
}

/// What the body's own checks found on the way: it comes back to us as the cause of a body that could not be read.
fn found_in_causes(error: &Error) -> Option<(S3ErrorCode, StatusCode)> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(code) = body_code(error) {
            let status = code.status_code().unwrap_or(StatusCode::BAD_REQUEST);
            return Some((code, status));
        }
        cause = error.source();
    }
    None
}

/// S3's word for what went wrong with a body, if `error` is about that.
pub(crate) fn body_code(error: &(dyn StdError + 'static)) -> Option<S3ErrorCode> {
    if let Some(error) = error.downcast_ref::<FileError>() {
        return Some(error.code());
    }
    match error.downcast_ref() {
        None | Some(AwsChunkedStreamError::Underlying(_)) => {}
        Some(error) => return Some(error.to_s3_error_code()),
    }
    match error.downcast_ref() {
        None | Some(UploadStreamError::Underlying(_)) => {}
        Some(UploadStreamError::Sha256Mismatch) => return Some(S3ErrorCode::Custom(SHA256_MISMATCH.into())),
        Some(error) => return Some(error.to_s3_error_code()),
    }
    if error.is::<BodySizeLimitExceeded>() {
        return Some(S3ErrorCode::EntityTooLarge);
    }
    error.is::<SlowBody>().then_some(S3ErrorCode::RequestTimeout)
}

/// The body is not the one that was signed.
pub(crate) const SHA256_MISMATCH: &str = "XAmzContentSHA256Mismatch";

/// What to tell the client instead of S3's own sentence. Nothing of our inside: that goes to the log or the admin API.
fn message(error: &Error) -> Option<String> {
    match error.kind() {
        ErrorKind::OriginUnavailable => Some("the origin of this bucket cannot answer now; please try again".to_owned()),
        ErrorKind::OriginRefused => Some("the origin of this bucket refused the request; its settings need attention".to_owned()),
        ErrorKind::DiskFull => Some("the disk is full up to its reserve; delete something or add space, then retry".to_owned()),
        ErrorKind::Cancelled => Some("the server is stopping".to_owned()),
        // Where it is more than that it does not exist: that it is gone at the origin.
        ErrorKind::NotFound(Entity::Upload) => {
            Some(error.message().to_owned()).filter(|message| message != Error::not_found(Entity::Upload).message())
        }
        ErrorKind::NotFound(Entity::Bucket | Entity::Object | Entity::Version)
        | ErrorKind::AlreadyExists(_)
        | ErrorKind::Precondition
        | ErrorKind::NotModified
        | ErrorKind::Unavailable
        | ErrorKind::Corrupt
        | ErrorKind::Internal => None,
        _ => Some(error.message().to_owned()),
    }
}

fn headers(kind: ErrorKind) -> Option<HeaderMap> {
    let (origin, wait) = match kind {
        ErrorKind::OriginUnavailable => (Some("unavailable"), "5"),
        ErrorKind::OriginRefused => (Some("refused"), "30"),
        ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::Cancelled => (None, "1"),
        ErrorKind::DiskFull => (None, "30"),
        _ => return None,
    };
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_static(wait));
    if let Some(origin) = origin {
        headers.insert(ORIGIN, HeaderValue::from_static(origin));
    }
    Some(headers)
}

#[cfg(test)]
mod tests;
