//! Has the node that leads answer: it alone changes buckets and keys, and knows how migrations stand.

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use umbra_cluster::{Face, IsPassed, Relay};
use umbra_core::{Error, ErrorKind};

use crate::{error::ApiError, state::AdminState};

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
            if is_passed { unanswered("this node does not lead") } else { ask(relay, request).await }
        }
        _ => next.run(request).await,
    }
}

async fn ask(relay: &Relay, request: Request) -> Response {
    match relay.pass(request, Face::Admin, "-").await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => unanswered(&error.to_string()),
    }
}

fn unanswered(why: &str) -> Response {
    ApiError::from(Error::new(ErrorKind::Unavailable, format!("{why}; please try again"))).into_response()
}
