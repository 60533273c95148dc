//! Documents in JSON that come in.

use http::header::CONTENT_LENGTH;
use s3s::{Body, S3Error, S3ErrorCode, S3Request};
use serde_json::Value;
use umbra_core::{Error, Fault};

use crate::error::Failure;

/// The longest document: all settings of a bucket fit, of each the most there may be.
const BYTES_MAX: usize = 128 * 1024;

/// Reads the body of `request`, whose signature must cover it.
pub(super) async fn read(request: S3Request<Body>) -> Result<Value, Failure> {
    let hash = request.headers.get("x-amz-content-sha256").map(|hash| hash.as_bytes());
    if !hash.is_some_and(|hash| hash.len() == 64 && hash.iter().all(u8::is_ascii_hexdigit)) {
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, "the signature must cover the body").into());
    }
    // A body whose hash is signed announces its length.
    let length = request.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BYTES_MAX) {
        return Err(Error::invalid(Fault::EntityTooLarge, format!("a document has at most {BYTES_MAX} bytes")).into());
    }
    let mut body = request.input;
    let unread = |cause| Error::invalid(Fault::IncompleteBody, "the request body could not be read to its end").because(cause);
    let bytes = body.store_all_limited(BYTES_MAX).await.map_err(unread)?;
    serde_json::from_slice(&bytes).map_err(|error| malformed(&error).into())
}

/// The error of a document that is not what it has to be. Its text tells where, and nothing of what else was in it.
pub(super) fn malformed(error: &serde_json::Error) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, format!("the document is malformed: {error}"))
}
