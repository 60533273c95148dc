//! Where a bucket's bytes are: told, and put right.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{Path, State},
};
use umbra_core::{Error, ErrorKind};
use umbra_store::{Auditor, Bucket, PlacementStatus};

use crate::{
    api::{AuditView, PlacementView, RegionUseView, rfc3339},
    caller::Caller,
    error::{ApiError, ApiResult},
    routes::to_the_end,
    state::AdminState,
};

pub(crate) async fn get(State(state): State<AdminState>, caller: Caller, Path(name): Path<String>) -> ApiResult<Json<PlacementView>> {
    let bucket = state.visible_bucket(&caller, &name).await?;
    Ok(Json(view(&bucket, auditor(&state)?.status(&bucket).await?)))
}

pub(crate) async fn order(State(state): State<AdminState>, caller: Caller, Path(name): Path<String>) -> ApiResult<Json<PlacementView>> {
    let bucket = state.managed_bucket(&caller, &name).await?;
    to_the_end(async move {
        let auditor = auditor(&state)?;
        auditor.order(&bucket).await?;
        Ok(Json(view(&bucket, auditor.status(&bucket).await?)))
    })
    .await
}

/// The same for the status of a bucket; `None` in a store without regions.
pub(crate) async fn of(state: &AdminState, bucket: &Bucket) -> ApiResult<Option<PlacementView>> {
    match &state.auditor {
        Some(auditor) => Ok(Some(view(bucket, auditor.status(bucket).await?))),
        None => Ok(None),
    }
}

fn auditor(state: &AdminState) -> ApiResult<&Auditor> {
    let none = || ApiError::from(Error::new(ErrorKind::Unsupported, "this store has no regions"));
    state.auditor.as_deref().ok_or_else(none)
}

fn view(bucket: &Bucket, status: PlacementStatus) -> PlacementView {
    let (location, PlacementStatus { audit, due }) = (&bucket.settings.location, status);
    let last = audit.as_ref().and_then(|audit| audit.last.as_ref());
    let counted = last.map(|last| &last.findings.regions);
    let names: BTreeSet<&String> = counted.into_iter().flat_map(|regions| regions.keys()).chain(due.keys()).collect();
    let regions = names.into_iter().map(|name| {
        let used = counted.and_then(|regions| regions.get(name)).copied().unwrap_or_default();
        let due = due.get(name).cloned().unwrap_or_default();
        RegionUseView {
            region: name.clone(),
            homes: used.homes,
            home_bytes: used.home_bytes,
            copies: used.copies,
            copy_bytes: used.copy_bytes,
            due: due.count,
            due_since: due.since.map(rfc3339),
            failing: due.failing,
            failure: due.reason,
        }
    });
    let is_running = audit.as_ref().is_some_and(umbra_store::Audit::is_running);
    let is_settled = |last: &umbra_store::FinishedAudit| last.location == *location && last.findings.is_settled();
    PlacementView {
        location: location.to_string(),
        regions: regions.collect(),
        audit: last.map(|last| AuditView {
            location: last.location.to_string(),
            began: rfc3339(last.began),
            ended: rfc3339(last.ended),
            missing: last.findings.missing,
            lost: last.findings.lost,
            removed: last.findings.removed,
            moved: last.findings.moved,
            pending: last.findings.pending,
            failed: last.findings.failed,
            failure: last.findings.failure.clone(),
            gone: last.findings.gone,
        }),
        auditing_since: audit.as_ref().filter(|_| is_running).map(|audit| rfc3339(audit.began)),
        settled: !is_running && due.is_empty() && last.is_some_and(is_settled),
    }
}
