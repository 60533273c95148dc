//! Listing, looking at and destroying buckets.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use serde::Deserialize;
use umbra_core::{RequestContext, limits::KEYS_PER_PAGE_MAX};

use crate::{
    api::{BucketList, BucketStatus, UncarriedList},
    caller::Caller,
    error::{ApiError, ApiResult},
    routes::{convert, extract::Query, jobs, placement, to_the_end},
    state::AdminState,
};

/// Which buckets to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    organization: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn list(State(state): State<AdminState>, caller: Caller, Query(query): Query<ListQuery>) -> ApiResult<Json<BucketList>> {
    let organization = caller.organization(query.organization.as_deref())?;
    let limit = page_limit(query.limit)?;
    // One more than asked for tells whether there is a next page.
    let mut found = state.catalog.buckets(organization.as_deref(), query.after.as_deref(), limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|bucket| bucket.name.to_string());
    Ok(Json(BucketList { buckets: found.iter().map(|bucket| convert::bucket(bucket)).collect(), next }))
}

pub(crate) async fn status(State(state): State<AdminState>, caller: Caller, Path(name): Path<String>) -> ApiResult<Json<BucketStatus>> {
    let bucket = state.visible_bucket(&caller, &name).await?;
    let usage = state.catalog.usage(&bucket).await?;
    let price = bucket.settings.shadow.as_ref().and_then(|shadow| shadow.price_per_gb);
    let shadow = state.shadow.status(&bucket).await?.map(|status| convert::shadow_status(status, price));
    let jobs = state.shadow.jobs(&bucket).await?.iter().map(jobs::view).collect();
    let placement = placement::of(&state, &bucket).await?;
    Ok(Json(BucketStatus { bucket: convert::bucket(&bucket), objects: usage.objects, bytes: usage.bytes, shadow, jobs, placement }))
}

/// Where a page begins, and how long it may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    after: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn uncarried(
    State(state): State<AdminState>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<UncarriedList>> {
    let bucket = state.visible_bucket(&caller, &name).await?;
    let (found, next) = state.shadow.uncarried(&bucket, query.after.as_deref(), page_limit(query.limit)?).await?;
    Ok(Json(UncarriedList { objects: found.iter().map(convert::uncarried).collect(), next }))
}

fn page_limit(asked: Option<usize>) -> ApiResult<usize> {
    let limit = asked.unwrap_or(KEYS_PER_PAGE_MAX);
    if (1..=KEYS_PER_PAGE_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::invalid(format!("limit must be between 1 and {KEYS_PER_PAGE_MAX}")))
    }
}

pub(crate) async fn destroy(State(state): State<AdminState>, caller: Caller, Path(name): Path<String>) -> ApiResult<StatusCode> {
    let bucket = state.managed_bucket(&caller, &name).await?;
    to_the_end(async move {
        state.shadow.delete_bucket(&RequestContext::default(), &bucket, true).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
