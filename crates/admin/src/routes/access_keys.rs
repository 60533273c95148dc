//! Access keys: their secrets are told when they are created, and never again.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use serde::Deserialize;
use umbra_core::{Entity, Error};
use umbra_store::NewKey;

use crate::{
    api::{AccessKeyList, CreateAccessKey, CreatedAccessKey},
    caller::Caller,
    error::{ApiError, ApiResult},
    routes::{
        convert,
        extract::{JsonBody, Query},
    },
    state::AdminState,
};

/// Whose keys to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    organization: Option<String>,
}

pub(crate) async fn list(
    State(state): State<AdminState>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> ApiResult<Json<AccessKeyList>> {
    let organization = caller.organization(query.organization.as_deref())?;
    let keys = state.catalog.keys(organization.as_deref()).await?;
    Ok(Json(AccessKeyList { access_keys: keys.iter().map(|key| convert::key(key)).collect() }))
}

pub(crate) async fn create(
    State(state): State<AdminState>,
    caller: Caller,
    JsonBody(request): JsonBody<CreateAccessKey>,
) -> ApiResult<(StatusCode, Json<CreatedAccessKey>)> {
    let bucket = match &request.bucket {
        Some(name) => Some(state.visible_bucket(&caller, name).await?),
        None => None,
    };
    let asked = request.organization.as_deref().or(bucket.as_ref().map(|bucket| bucket.organization.as_str()));
    let organization = caller.one_organization(asked)?;
    if let Some(bucket) = &bucket
        && bucket.organization != organization
    {
        return Err(Error::no_such(Entity::Bucket, &bucket.name).into());
    }
    let bucket = bucket.map(|bucket| bucket.name.clone());
    let key = NewKey { organization: Some(organization), role: request.role.into(), bucket, fixed: None };
    let key = state.catalog.create_key(key).await?;
    Ok((StatusCode::CREATED, Json(convert::created_key(&key))))
}

pub(crate) async fn delete(State(state): State<AdminState>, caller: Caller, Path(access_key): Path<String>) -> ApiResult<StatusCode> {
    let missing = || ApiError::from(Error::no_such(Entity::AccessKey, &access_key));
    let key = state.catalog.key(&access_key).await?.ok_or_else(missing)?;
    match &key.organization {
        None if caller.is_root() => return Err(ApiError::invalid("the root key is changed where the server is started, not here")),
        Some(organization) if caller.manages(organization) => {}
        _ => return Err(missing()),
    }
    state.catalog.delete_key(&access_key).await?;
    Ok(StatusCode::NO_CONTENT)
}
