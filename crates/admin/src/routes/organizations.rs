//! Organizations: created and deleted by the root key, seen by their own admin keys.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use umbra_core::{Entity, Error};

use crate::{
    api::{CreateOrganization, OrganizationList, OrganizationView},
    caller::Caller,
    error::ApiResult,
    routes::{convert, extract::JsonBody},
    state::AdminState,
};

pub(crate) async fn list(State(state): State<AdminState>, caller: Caller) -> ApiResult<Json<OrganizationList>> {
    let own = caller.organization(None)?;
    let all = state.catalog.organizations().await?;
    let seen = all.iter().filter(|organization| own.as_ref().is_none_or(|own| *own == organization.name));
    Ok(Json(OrganizationList { organizations: seen.map(convert::organization).collect() }))
}

pub(crate) async fn create(
    State(state): State<AdminState>,
    caller: Caller,
    JsonBody(request): JsonBody<CreateOrganization>,
) -> ApiResult<(StatusCode, Json<OrganizationView>)> {
    caller.require_root()?;
    state.catalog.create_organization(&request.name).await?;
    let all = state.catalog.organizations().await?;
    let created = all.iter().find(|organization| organization.name == request.name).map(convert::organization);
    let created = created.ok_or_else(|| Error::no_such(Entity::Organization, &request.name))?;
    Ok((StatusCode::CREATED, Json(created)))
}

pub(crate) async fn delete(State(state): State<AdminState>, caller: Caller, Path(name): Path<String>) -> ApiResult<StatusCode> {
    caller.require_root()?;
    state.catalog.delete_organization(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
