//! The routes, and the layers around them: request ids, limits, signatures.

mod access_keys;
mod buckets;
mod convert;
mod create_bucket;
mod doctor;
mod elsewhere;
pub(crate) mod extract;
mod jobs;
mod nodes;
mod organizations;
mod placement;
mod regions;
mod unsigned;
mod update_bucket;

use std::time::Duration;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, patch, post},
};
use http::{HeaderName, HeaderValue};
use umbra_core::{Error, ErrorKind};

use crate::{
    AdminParts,
    error::{ApiError, ApiResult},
    signature,
    state::AdminState,
};

/// The longest a request may take. What changes something is carried on behind it all the same.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// One route of the API.
pub(crate) struct Route {
    /// The method, in lower case as OpenAPI writes it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler knows it too; the test of the description cannot ask that"))]
    pub(crate) method: &'static str,
    /// The pattern of the path.
    pub(crate) path: &'static str,
    handler: MethodRouter<AdminState>,
}

/// The id of the request at hand.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// Everything the admin address answers.
pub fn router(parts: AdminParts) -> Router {
    let state = AdminState::new(parts);
    let signed = assemble(signed()).route_layer(from_fn_with_state(state.clone(), signature::authenticate));
    signed
        .merge(assemble(unsigned()))
        .fallback(unsigned::no_such_route)
        .method_not_allowed_fallback(unsigned::no_such_method)
        .layer(from_fn_with_state(state.clone(), observe))
        .layer(from_fn_with_state(state.clone(), elsewhere::pass))
        .with_state(state)
}

fn assemble(routes: Vec<Route>) -> Router<AdminState> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler))
}

/// The routes that take a signature.
pub(crate) fn signed() -> Vec<Route> {
    let route = |method, path, handler| Route { method, path, handler };
    vec![
        route("get", "/v1/buckets", get(buckets::list)),
        route("post", "/v1/buckets", post(create_bucket::create)),
        route("patch", "/v1/buckets/{name}", patch(update_bucket::update)),
        route("delete", "/v1/buckets/{name}", delete(buckets::destroy)),
        route("get", "/v1/buckets/{name}/status", get(buckets::status)),
        route("get", "/v1/buckets/{name}/placement", get(placement::get)),
        route("post", "/v1/buckets/{name}/placement", post(placement::order)),
        route("post", "/v1/doctor", post(doctor::examine)),
        route("get", "/v1/buckets/{name}/uncarried", get(buckets::uncarried)),
        route("get", "/v1/buckets/{name}/jobs/{kind}", get(jobs::get)),
        route("post", "/v1/buckets/{name}/jobs/{kind}", post(jobs::start)),
        route("post", "/v1/buckets/{name}/jobs/{kind}/pause", post(jobs::pause)),
        route("post", "/v1/buckets/{name}/jobs/{kind}/resume", post(jobs::resume)),
        route("post", "/v1/buckets/{name}/jobs/{kind}/cancel", post(jobs::cancel)),
        route("get", "/v1/buckets/{name}/jobs/{kind}/notes", get(jobs::notes)),
        route("get", "/v1/nodes", get(nodes::list)),
        route("get", "/v1/regions", get(regions::list)),
        route("get", "/v1/organizations", get(organizations::list)),
        route("post", "/v1/organizations", post(organizations::create)),
        route("delete", "/v1/organizations/{name}", delete(organizations::delete)),
        route("get", "/v1/access-keys", get(access_keys::list)),
        route("post", "/v1/access-keys", post(access_keys::create)),
        route("delete", "/v1/access-keys/{access_key}", delete(access_keys::delete)),
    ]
}

/// The routes that take none.
pub(crate) fn unsigned() -> Vec<Route> {
    let route = |path, handler| Route { method: "get", path, handler };
    vec![
        route("/v1/openapi.json", get(unsigned::openapi)),
        route("/readyz", get(unsigned::readyz)),
        route("/healthz", get(unsigned::healthz)),
        route("/metrics", get(unsigned::metrics)),
    ]
}

/// Gives every request an id and a limit of time, and counts it.
async fn observe(State(state): State<AdminState>, route: Option<MatchedPath>, mut request: Request, next: Next) -> Response {
    let id = state.request_id();
    let method = request.method().clone();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_long().into_response(),
    };
    response.headers_mut().insert(REQUEST_ID, HeaderValue::from_str(&id).expect("hexadecimal digits make a header"));
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    state.metrics().count(method.as_str(), route, response.status().as_u16());
    tracing::debug!(request_id = id, %method, route, status = response.status().as_u16(), "admin request");
    response
}

fn too_long() -> ApiError {
    Error::new(ErrorKind::Unavailable, "the request takes too long; it may still be carried out").into()
}

/// Carries `work` to its end even if the client goes away in the middle: what changes several things must not stop half-way.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = ApiResult<T>> + Send + 'static) -> ApiResult<T> {
    tokio::spawn(work).await.unwrap_or_else(|failed| Err(Error::internal("the request was cut short").because(failed).into()))
}
