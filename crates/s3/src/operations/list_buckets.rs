//! ListBuckets.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use s3s::{
    S3Request, S3Response, dto,
    dto::{ListBucketsInput, ListBucketsOutput},
};
use umbra_core::{Error, Fault, Result};
use umbra_store::{AccessKey, Action, Bucket, Catalog};

use super::Operations;
use crate::{
    call::{Call, owner},
    convert::time,
    error::Answer,
};

/// The most buckets of one page. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>
const PAGE_MAX: i32 = 10_000;
/// How many buckets are read at a time.
const BATCH: usize = 1000;

/// Lists the buckets of the access key's organization that it reaches; without one, none.
pub(super) async fn list_buckets(operations: &Operations, request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    let Some(key) = call.key.as_deref() else {
        return Ok(S3Response::new(ListBucketsOutput { buckets: Some(Vec::new()), prefix: input.prefix, ..ListBucketsOutput::default() }));
    };
    let here = input.bucket_region.as_ref().is_none_or(|region| *region == operations.settings.region);
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let (mut buckets, mut next) = page(&operations.catalog, key, prefix, input.continuation_token.as_deref(), input.max_buckets).await?;
    if !here {
        (buckets, next) = (Vec::new(), None);
    }
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets.iter().map(|bucket| shown(bucket, &operations.settings.region)).collect()),
        continuation_token: next,
        owner: Some(owner(key.organization.as_deref().unwrap_or("root"))),
        prefix: input.prefix,
    }))
}

/// A page of the buckets that `key` reaches whose names begin with `prefix`, and the token of the next.
pub(crate) async fn page(
    catalog: &Catalog,
    key: &AccessKey,
    prefix: &str,
    token: Option<&str>,
    limit: Option<i32>,
) -> Result<(Vec<Arc<Bucket>>, Option<String>)> {
    let limit = match limit {
        None => PAGE_MAX,
        Some(limit @ 1..=PAGE_MAX) => limit,
        Some(_) => return Err(Error::invalid(Fault::InvalidArgument, "max-buckets must be an integer between 1 and 10000")),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let after = token.filter(|token| !token.is_empty()).map(decode).transpose()?;
    let mut buckets = gather(catalog, key, prefix, after, limit + 1).await?;
    let more = buckets.len() > limit;
    buckets.truncate(limit);
    let next = buckets.last().filter(|_| more).map(|bucket| URL_SAFE_NO_PAD.encode(bucket.name.as_str()));
    Ok((buckets, next))
}

/// Up to `wanted` buckets that `key` reaches, by name.
async fn gather(catalog: &Catalog, key: &AccessKey, prefix: &str, mut after: Option<String>, wanted: usize) -> Result<Vec<Arc<Bucket>>> {
    let mut found = Vec::new();
    loop {
        let batch = catalog.buckets(key.organization.as_deref(), after.as_deref(), BATCH).await?;
        let Some(last) = batch.last() else { return Ok(found) };
        after = Some(last.name.to_string());
        let done = batch.len() < BATCH || (last.name.as_str() > prefix && !last.name.as_str().starts_with(prefix));
        found.extend(
            batch.into_iter().filter(|bucket| bucket.name.as_str().starts_with(prefix) && key.may(Action::ListBuckets, Some(bucket))),
        );
        if done || found.len() >= wanted {
            return Ok(found);
        }
    }
}

fn decode(token: &str) -> Result<String> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok());
    name.ok_or_else(|| Error::invalid(Fault::InvalidArgument, "the continuation token provided is incorrect"))
}

fn shown(bucket: &Bucket, region: &str) -> dto::Bucket {
    dto::Bucket {
        bucket_arn: None,
        bucket_region: Some(region.to_owned()),
        creation_date: Some(time::shown(bucket.created)),
        name: Some(bucket.name.to_string()),
    }
}
