//! Creating a bucket, with its origin and its key, or nothing at all.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use http::StatusCode;
use umbra_core::{BucketName, Error, Location};
use umbra_shadow::AttachRequest;
use umbra_store::{Bucket, BucketSettings, NewKey, Role};

use crate::{
    api::{CreateBucket, CreatedBucket, ShadowRequest},
    caller::Caller,
    error::{ApiError, ApiResult},
    routes::{RequestId, convert, extract::JsonBody, to_the_end},
    state::{AdminState, CameIn, context},
};

/// A request that was checked.
struct Plan {
    name: BucketName,
    organization: String,
    /// Whether an organization that does not exist is to be created.
    may_create_organization: bool,
    settings: BucketSettings,
    attach: Option<AttachRequest>,
    request_id: String,
    /// Where its clients are told to go, which is where it came in.
    told: CameIn,
}

pub(crate) async fn create(
    State(state): State<AdminState>,
    caller: Caller,
    RequestId(request_id): RequestId,
    came_in: Option<Extension<CameIn>>,
    JsonBody(request): JsonBody<CreateBucket>,
) -> ApiResult<(StatusCode, Json<CreatedBucket>)> {
    let here = || CameIn { endpoint: state.endpoint.clone(), region: None };
    let told = came_in.map_or_else(here, |Extension(came_in)| came_in);
    let plan = check(&caller, request, (request_id, told))?;
    let created = to_the_end(async move { carry_out(&state, plan).await }).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

fn check(caller: &Caller, request: CreateBucket, (request_id, told): (String, CameIn)) -> ApiResult<Plan> {
    let name = BucketName::parse(&request.name)?;
    let organization = caller.one_organization(request.organization.as_deref())?;
    let mut settings = BucketSettings { public: request.public, ..BucketSettings::default() };
    if let Some(place) = request.location {
        settings.location = Location::parse(&place)?;
    }
    let attach = request.shadow.map(|shadow| complete(shadow, &name)).transpose()?;
    Ok(Plan { name, organization, may_create_organization: caller.is_root(), settings, attach, request_id, told })
}

/// Checks that a new shadow lacks nothing; its bucket's name is that of the bucket, and its region `auto`, unless told otherwise.
pub(crate) fn complete(shadow: ShadowRequest, name: &BucketName) -> ApiResult<AttachRequest> {
    let given =
        [("endpoint", shadow.endpoint.is_some()), ("access_key", shadow.access_key.is_some()), ("secret_key", shadow.secret_key.is_some())];
    let missing: Vec<_> = given.into_iter().filter(|(_, given)| !given).map(|(name, _)| name).collect();
    if !missing.is_empty() {
        return Err(ApiError::invalid(format!(
            "a new shadow needs an endpoint, an access key and a secret key; missing: {}",
            missing.join(", ")
        )));
    }
    let mut attach = convert::attach(shadow)?;
    attach.bucket.get_or_insert_with(|| name.to_string());
    Ok(attach)
}

async fn carry_out(state: &AdminState, plan: Plan) -> ApiResult<CreatedBucket> {
    let organization_created = plan.may_create_organization && state.catalog.ensure_organization(&plan.organization).await?;
    let outcome = create_bucket(state, &plan).await;
    if outcome.is_err() && organization_created {
        undone("organization", state.catalog.delete_organization(&plan.organization).await);
    }
    outcome.map(|created| CreatedBucket { organization_created, ..created })
}

async fn create_bucket(state: &AdminState, plan: &Plan) -> ApiResult<CreatedBucket> {
    let made = state.catalog.create_bucket(&plan.name, &plan.organization, plan.settings.clone()).await?;
    let outcome = furnish(state, plan, Arc::clone(&made)).await;
    if outcome.is_err() {
        undone("bucket", state.catalog.destroy_bucket(&made).await);
        state.shadow.forget(&made);
    }
    outcome
}

/// Gives a new bucket its origin and its key.
async fn furnish(state: &AdminState, plan: &Plan, mut bucket: Arc<Bucket>) -> ApiResult<CreatedBucket> {
    if let Some(attach) = &plan.attach {
        bucket = state.shadow.attach(&context(plan.request_id.clone()), &bucket, attach.clone()).await?;
    }
    let key = NewKey { organization: Some(plan.organization.clone()), role: Role::Editor, bucket: Some(plan.name.clone()), fixed: None };
    let key = state.catalog.create_key(key).await?;
    tracing::info!(bucket = %plan.name, organization = plan.organization, shadow = plan.attach.is_some(), "bucket created");
    Ok(CreatedBucket {
        bucket: convert::bucket(&bucket),
        access_key: convert::created_key(&key),
        endpoint: plan.told.endpoint.clone(),
        region: plan.told.region.clone().unwrap_or_else(|| state.region.clone()),
        organization_created: false,
    })
}

/// Notes in the log when what was created could not be taken back.
fn undone(what: &str, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::warn!(?error, "a {what} is left behind by a creation that failed");
    }
}
