//! Has the node that leads answer: it alone changes buckets and keys, and knows how migrations stand.

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{StatusCode, request::Parts};
use http_body_util::Full;
use umbra_cluster::{Face, IsPassed, Relay, RelayError};
use umbra_core::{Error, ErrorKind};

use crate::{
    api::{ErrorBody, ErrorDetail},
    error::{ApiError, NO_LEADER},
    routes::{REQUEST_TIMEOUT, extract::read, too_long},
    state::AdminState,
};

/// What every node knows as well.
const OF_EVERY_NODE: [&str; 3] = ["/v1/openapi.json", "/v1/nodes", "/v1/regions"];

/// Passes a request on where another node leads.
pub(crate) async fn pass(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_of_node = !path.starts_with("/v1/") || OF_EVERY_NODE.contains(&path);
    let is_passed = request.extensions().get::<IsPassed>().is_some();
    match &state.nodes {
        Some((_, relay)) if relay.is_wanted() && !is_of_node => {
            // It was passed on to us, and we do not lead any more: it is not sent in a circle.
            if is_passed { undone("this node does not lead") } else { ask(relay, &state.endpoint, request, next).await }
        }
        _ => next.run(request).await,
    }
}

/// Has the node that leads answer a request of clients who come to `endpoint`.
async fn ask(relay: &Relay, endpoint: &str, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    // Whoever sends it has shown no signature yet.
    let body = match tokio::time::timeout(REQUEST_TIMEOUT, read(body)).await.unwrap_or_else(|_| Err(too_long())) {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    match relay.pass(again(&head, &body).map(Full::new), Face::Admin, endpoint).await {
        Ok(answer) => answer.map(Body::new),
        // Nothing of it was done elsewhere.
        Err(RelayError::Ours) => next.run(again(&head, &body).map(Body::from)).await,
        Err(error @ RelayError::NoLeader) => undone(&error.to_string()),
        Err(error @ RelayError::Lost(_)) => ApiError::from(Error::new(ErrorKind::Unavailable, retry(&error.to_string()))).into_response(),
    }
}

fn again(head: &Parts, body: &Bytes) -> http::Request<Bytes> {
    http::Request::from_parts(head.clone(), body.clone())
}

/// Nobody has begun to carry the request out.
fn undone(why: &str) -> Response {
    tracing::warn!(why, "an admin request found no node that leads");
    let error = ErrorDetail { code: NO_LEADER.to_owned(), message: retry(why) };
    (StatusCode::SERVICE_UNAVAILABLE, Json(ErrorBody { error })).into_response()
}

fn retry(why: &str) -> String {
    format!("{why}; please try again")
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::Arc,
        task::{Context, Poll},
    };

    use axum::{
        Router,
        body::Body,
        extract::{Request, State},
        middleware::{Next, from_fn_with_state},
    };
    use bytes::Bytes;
    use http::StatusCode;
    use hyper::{body::Frame, service::Service};
    use hyper_util::service::TowerToHyperService;
    use tokio::{sync::watch, time::timeout};
    use umbra_cluster::{Door, Leader, LeaderTurn, Relay};
    use umbra_core::SystemClock;

    use super::ask;
    use crate::routes::REQUEST_TIMEOUT;

    /// A body that never comes.
    struct HeldBack;

    impl hyper::body::Body for HeldBack {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_not_waited_for_for_ever() {
        let (_leader, leader) = watch::channel(Leader::Nobody);
        let relay = Relay::new(Door::new(&[1; 32], Arc::new(SystemClock), "ours", None, LeaderTurn::default()), leader);
        let layer = from_fn_with_state(relay, async |State(relay): State<Relay>, request: Request, next: Next| {
            ask(&relay, "-", request, next).await
        });
        let service = TowerToHyperService::new(Router::new().fallback(async || "passed by").layer(layer));
        let request = http::Request::post("/v1/buckets").header("content-length", "60000").body(Body::new(HeldBack)).unwrap();
        let answered = timeout(2 * REQUEST_TIMEOUT, service.call(request)).await;
        assert_eq!(answered.expect("it is waited for").unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
