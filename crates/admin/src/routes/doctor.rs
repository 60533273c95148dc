//! Looking at an origin before it is attached.

use axum::{Json, extract::State};
use umbra_shadow::{Examination, Verdict};
use umbra_store::Secret;

use crate::{
    api::{DoctorReport, FindingView, ShadowRequest},
    caller::Caller,
    error::{ApiError, ApiResult},
    routes::{RequestId, extract::JsonBody, to_the_end},
    state::{AdminState, context},
};

pub(crate) async fn examine(
    State(state): State<AdminState>,
    caller: Caller,
    RequestId(request_id): RequestId,
    JsonBody(request): JsonBody<ShadowRequest>,
) -> ApiResult<Json<DoctorReport>> {
    // Whoever may attach an origin may look at one.
    caller.organization(None)?;
    let examination = complete(request)?;
    // Carried to its end: keys written for a try are deleted again.
    let findings = to_the_end(async move { Ok(state.shadow.examine(&context(request_id), &examination).await?) }).await?;
    let healthy = findings.iter().all(|finding| finding.verdict != Verdict::Failed);
    let views = findings.into_iter().map(|finding| FindingView {
        check: finding.check.to_owned(),
        verdict: finding.verdict.to_string(),
        meaning: finding.meaning,
        advice: finding.advice,
    });
    Ok(Json(DoctorReport { healthy, findings: views.collect() }))
}

fn complete(request: ShadowRequest) -> ApiResult<Examination> {
    let missing = |what: &str| ApiError::invalid(format!("looking at an origin needs its {what}"));
    Ok(Examination {
        endpoint: request.endpoint.ok_or_else(|| missing("endpoint"))?,
        region: request.region.unwrap_or_else(|| "auto".to_owned()),
        bucket: request.name.ok_or_else(|| missing("name"))?,
        access_key: request.access_key.ok_or_else(|| missing("access_key"))?,
        secret_key: request.secret_key.map(|secret| Secret::new(secret.expose())).ok_or_else(|| missing("secret_key"))?,
        write_through: request.write_through.unwrap_or(false),
    })
}
