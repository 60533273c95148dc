//! Who signed a request: the layer before every route that takes a signature.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use umbra_client::{
    Credentials,
    sigv4::{VerifyError, sha256_hex, verify_request},
};
use umbra_store::AccessKey;

use crate::{
    caller::Caller,
    error::{ApiError, ApiResult},
    routes::extract::read,
    state::AdminState,
};

/// The service that requests to the admin API are signed for.
pub(crate) const SERVICE: &str = "umbra";
/// How far the clocks of the two sides may be apart, as with S3.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// Lets a request pass that a known key has signed, and notes whose it is.
pub(crate) async fn authenticate(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    match admit(&state, request).await {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn admit(state: &AdminState, request: Request) -> ApiResult<Request> {
    let (mut parts, body) = request.into_parts();
    let body: bytes::Bytes = read(body).await?;
    let mut found = Ok(None);
    let slot = &mut found;
    let lookup = move |access_key: String| async move {
        *slot = state.catalog.key(&access_key).await;
        slot.as_ref().ok()?.as_deref().map(credentials)
    };
    let verified = verify_request(&parts, &sha256_hex(&body), SERVICE, state.clock.now(), SKEW_MAX, lookup).await;
    // A catalog that cannot answer is not a key that does not exist.
    let key = found?;
    verified.map_err(|error: VerifyError| ApiError::denied(error.to_string()))?;
    let key = key.ok_or_else(|| ApiError::denied(VerifyError::UnknownKey.to_string()))?;
    parts.extensions.insert(Caller::new(key));
    Ok(Request::from_parts(parts, Body::from(body)))
}

fn credentials(key: &AccessKey) -> Credentials {
    Credentials::new(key.id.clone(), key.secret.expose())
}
