//! What needs no signature: health, metrics, the API's description, and answers to what does not exist.

use std::fmt;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header::CONTENT_TYPE};
use prometheus_client::encoding::text;
use serde_json::Value;
use umbra_core::Error;

use crate::{
    api::{ErrorBody, ErrorDetail},
    error::{ApiError, ApiResult},
    openapi,
    routes::extract::wrong_method,
    state::AdminState,
};

/// What Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn openapi() -> Json<Value> {
    Json(openapi::document())
}

pub(crate) async fn readyz(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    if state.readiness.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

pub(crate) async fn healthz() -> &'static str {
    "alive\n"
}

pub(crate) async fn metrics(State(state): State<AdminState>) -> ApiResult<Response> {
    let mut lines = String::new();
    let failed = |error: fmt::Error| ApiError::from(Error::internal("the metrics cannot be written").because(error));
    text::encode_registry(&mut lines, &state.registry).map_err(failed)?;
    state.shadow.write_metrics(&mut lines, state.metrics_name_buckets).await?;
    text::encode_eof(&mut lines).map_err(failed)?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], lines).into_response())
}

pub(crate) async fn no_such_route() -> Response {
    refusal(StatusCode::NOT_FOUND, "no_such_path", "there is nothing at this path".to_owned())
}

pub(crate) async fn no_such_method(method: Method) -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", wrong_method(&method))
}

fn refusal(status: StatusCode, code: &str, message: String) -> Response {
    (status, Json(ErrorBody { error: ErrorDetail { code: code.to_owned(), message } })).into_response()
}
