//! Changing a bucket, one setting at a time or several.

use axum::{
    Json,
    extract::{Path, State},
};
use umbra_core::Location;
use umbra_store::Bucket;

use crate::{
    api::{BucketView, UpdateBucket},
    caller::Caller,
    error::{ApiError, ApiResult},
    routes::{RequestId, convert, create_bucket::complete, extract::JsonBody, to_the_end},
    state::{AdminState, context},
};

pub(crate) async fn update(
    State(state): State<AdminState>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(name): Path<String>,
    JsonBody(request): JsonBody<UpdateBucket>,
) -> ApiResult<Json<BucketView>> {
    let location = check(&request)?;
    let bucket = state.managed_bucket(&caller, &name).await?;
    to_the_end(async move { carry_out(&state, &bucket, request, location, request_id).await.map(Json) }).await
}

/// Refuses contradictions; gives the location that was asked for.
fn check(request: &UpdateBucket) -> ApiResult<Option<Location>> {
    let shadow = request.shadow.as_ref().is_some_and(|shadow| !shadow.is_empty());
    if request.clear_shadow && shadow {
        return Err(ApiError::invalid("the shadow can be cleared or changed, not both"));
    }
    if request.force && !request.clear_shadow {
        return Err(ApiError::invalid("force is for clearing the shadow"));
    }
    if !shadow && !request.clear_shadow && request.public.is_none() && request.location.is_none() {
        return Err(ApiError::invalid("nothing to change"));
    }
    Ok(request.location.as_deref().map(Location::parse).transpose()?)
}

async fn carry_out(
    state: &AdminState,
    bucket: &Bucket,
    request: UpdateBucket,
    location: Option<Location>,
    request_id: String,
) -> ApiResult<BucketView> {
    let mut latest = None;
    if let Some(location) = location.as_ref().filter(|location| **location != bucket.settings.location) {
        state.catalog.topology().check(location)?;
    }
    // What the origin has a say in comes first: if it fails, nothing has changed.
    if request.clear_shadow {
        latest = Some(state.shadow.detach(&context(request_id), bucket, request.force).await?);
    } else if let Some(shadow) = request.shadow.filter(|shadow| !shadow.is_empty()) {
        let attach = if bucket.settings.shadow.is_some() { convert::attach(shadow)? } else { complete(shadow, &bucket.name)? };
        latest = Some(state.shadow.attach(&context(request_id), bucket, attach).await?);
    }
    if request.public.is_some() || location.is_some() {
        let mut change = |settings: &mut umbra_store::BucketSettings| {
            if let Some(public) = request.public {
                settings.set_public(public)?;
            }
            if let Some(location) = &location {
                settings.location.clone_from(location);
            }
            Ok(())
        };
        latest = Some(state.catalog.update_bucket(bucket, &mut change).await?);
    }
    latest.map(|bucket| convert::bucket(&bucket)).ok_or_else(|| ApiError::invalid("nothing to change"))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::{ShadowRequest, UpdateBucket};

    #[test]
    fn contradictions_are_refused() {
        let shadow = || Some(ShadowRequest { write_through: Some(true), ..ShadowRequest::default() });
        let good = [
            UpdateBucket { public: Some(true), ..UpdateBucket::default() },
            UpdateBucket { location: Some("single:fra".to_owned()), ..UpdateBucket::default() },
            UpdateBucket { shadow: shadow(), ..UpdateBucket::default() },
            UpdateBucket { clear_shadow: true, force: true, ..UpdateBucket::default() },
        ];
        let bad = [
            UpdateBucket::default(),
            UpdateBucket { shadow: Some(ShadowRequest::default()), ..UpdateBucket::default() },
            UpdateBucket { shadow: shadow(), clear_shadow: true, ..UpdateBucket::default() },
            UpdateBucket { public: Some(true), force: true, ..UpdateBucket::default() },
            UpdateBucket { location: Some("here".to_owned()), ..UpdateBucket::default() },
        ];
        for request in good {
            assert!(check(&request).is_ok(), "{request:?}");
        }
        for request in bad {
            assert!(check(&request).is_err(), "{request:?}");
        }
    }
}
