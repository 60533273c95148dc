//! The nodes of the store.

use axum::{Json, extract::State};

use crate::{
    api::{NodeList, NodeView, ReplicaView},
    caller::Caller,
    error::ApiResult,
    state::AdminState,
};

/// `GET /v1/nodes`
pub(crate) async fn list(State(state): State<AdminState>, caller: Caller) -> ApiResult<Json<NodeList>> {
    caller.require_root()?;
    let members = state.nodes.as_ref().map(|(node, _)| node.members()).unwrap_or_default();
    let nodes = members
        .into_iter()
        .map(|member| NodeView {
            name: member.name,
            url: member.url,
            region: member.region,
            leads: member.leads,
            silent_seconds: member.silence.as_secs(),
            replica: member.replica.map(|replica| ReplicaView { trusted: replica.is_trusted, behind_ms: replica.behind_ms }),
        })
        .collect();
    Ok(Json(NodeList { nodes }))
}
