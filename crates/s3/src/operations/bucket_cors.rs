//! PutBucketCors, GetBucketCors, DeleteBucketCors.

use std::sync::Arc;

use s3s::{
    S3ErrorCode, S3Request, S3Response,
    dto::{
        CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput, GetBucketCorsOutput, PutBucketCorsInput,
        PutBucketCorsOutput,
    },
};
use umbra_store::CorsRule;

use super::Operations;
use crate::{
    call::Call,
    cors::{METHODS, check},
    error::{Answer, Failure},
};

/// Sets the rules.
pub(super) async fn put_bucket_cors(operations: &Operations, request: S3Request<PutBucketCorsInput>) -> Answer<PutBucketCorsOutput> {
    let call = Call::of(&request)?;
    let rules: Vec<_> = request.input.cors_configuration.cors_rules.into_iter().map(taken).collect();
    check(&rules)?;
    set(operations, &call, rules).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

/// Shows the rules.
pub(super) async fn get_bucket_cors(_operations: &Operations, request: S3Request<GetBucketCorsInput>) -> Answer<GetBucketCorsOutput> {
    let rules = &Call::of(&request)?.bucket()?.settings.extras.cors.clone();
    if rules.is_empty() {
        return Err(S3ErrorCode::NoSuchCORSConfiguration.into());
    }
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(rules.iter().map(shown).collect()) }))
}

/// Removes the rules.
pub(super) async fn delete_bucket_cors(
    operations: &Operations,
    request: S3Request<DeleteBucketCorsInput>,
) -> Answer<DeleteBucketCorsOutput> {
    let call = Call::of(&request)?;
    set(operations, &call, Vec::new()).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}

async fn set(operations: &Operations, call: &Call, rules: Vec<CorsRule>) -> Result<(), Failure> {
    let mut change = |settings: &mut umbra_store::BucketSettings| {
        Arc::make_mut(&mut settings.extras).cors.clone_from(&rules);
        Ok(())
    };
    operations.catalog.update_bucket(call.bucket()?, &mut change).await?;
    Ok(())
}

fn taken(rule: CORSRule) -> CorsRule {
    CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers: rule.allowed_headers.unwrap_or_default(),
        exposed: rule.expose_headers.unwrap_or_default(),
        max_age_seconds: rule.max_age_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
    }
}

fn shown(rule: &CorsRule) -> CORSRule {
    let rule = rule.clone();
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    // S3 has no word for all of them.
    let all = rule.methods.iter().any(|method| method == "*");
    CORSRule {
        allowed_headers: some(rule.headers),
        allowed_methods: if all { METHODS.map(str::to_owned).to_vec() } else { rule.methods },
        allowed_origins: rule.origins,
        expose_headers: some(rule.exposed),
        id: rule.id,
        max_age_seconds: rule.max_age_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
    }
}
