//! What handlers take from a request, with refusals in the API's own form.

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::{Method, request::Parts};
use serde::de::DeserializeOwned;
use umbra_core::{Error, Fault};

use crate::{caller::Caller, error::ApiError, routes::RequestId};

/// The largest body a request may have. The largest there is, a bucket with an origin, takes about a kilobyte.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// The body, as JSON.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let body = read(request.into_body()).await?;
        serde_json::from_slice(&body).map(Self).map_err(|error| ApiError::invalid(format!("the body of the request: {error}")))
    }
}

/// Reads a body within the limit.
pub(crate) async fn read(body: axum::body::Body) -> Result<bytes::Bytes, ApiError> {
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| Error::invalid(Fault::EntityTooLarge, format!("the body is cut short or exceeds {BODY_BYTES_MAX} bytes")).into())
}

/// The query, which must hold nothing unknown.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| ApiError::invalid(format!("the query: {}", error.body_text())))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::denied("the request is not signed"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self(String::new())))
    }
}

/// Says that `method` is not for this path.
pub(crate) fn wrong_method(method: &Method) -> String {
    format!("{method} is not for this path")
}
