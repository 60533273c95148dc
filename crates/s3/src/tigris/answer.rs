//! Answers in JSON.

use http::{HeaderValue, header::CONTENT_TYPE};
use s3s::{Body, S3Response};
use serde::Serialize;
use umbra_core::Error;
use umbra_store::AccessKey;

use crate::error::Failure;

/// An answer of `value`.
pub(super) fn json(value: &impl Serialize) -> Result<S3Response<Body>, Failure> {
    let text = serde_json::to_vec(value).map_err(|error| Error::internal("an answer cannot be written as JSON").because(error))?;
    let mut response = S3Response::new(Body::from(text));
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The organization of a key, as Tigris's clients show it. A root key has none.
pub(super) fn namespace(key: &AccessKey) -> &str {
    key.organization.as_deref().unwrap_or("root")
}
