//! The list of buckets.

use http::Uri;
use percent_encoding::percent_decode_str;
use s3s::{Body, S3ErrorCode, S3Response};
use serde_json::{Value, json};
use umbra_store::{AccessKey, Bucket, Usage};

use super::{answer, metadata::rfc3339, operation::parameters, routes::Tigris};
use crate::{call::Call, error::Failure, operations::list_buckets};

/// Lists the buckets that the caller reaches, a page at a time.
pub(super) async fn list(tigris: &Tigris, call: &Call, uri: &Uri) -> Result<S3Response<Body>, Failure> {
    let key = call.key.as_deref().ok_or(S3ErrorCode::AccessDenied)?;
    let parameter = |wanted: &str| {
        let (_, value) = parameters(uri).find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(percent_decode_str(value).decode_utf8_lossy().into_owned()).filter(|value| !value.is_empty())
    };
    let limit = match parameter("max-buckets") {
        Some(limit) => Some(limit.parse().map_err(|_| S3ErrorCode::InvalidArgument)?),
        None => None,
    };
    let (buckets, next) = list_buckets::page(&tigris.catalog, key, "", parameter("continuation-token").as_deref(), limit).await?;
    let mut document = json!({
        "Owner": { "ID": answer::namespace(key), "DisplayName": answer::namespace(key) },
        "Buckets": { "Bucket": buckets.iter().map(|bucket| shown(bucket)).collect::<Vec<_>>() },
        "ContinuationToken": next.unwrap_or_default(),
    });
    if parameter("IncludeStats").as_deref() == Some("true") {
        document["Stats"] = stats(tigris, key).await?;
    }
    answer::json(&document)
}

fn shown(bucket: &Bucket) -> Value {
    json!({
        "Name": bucket.name.as_str(),
        "CreationDate": rfc3339(bucket.created),
        "Regions": bucket.settings.location.to_places(),
        "Type": "Regular",
        "Visibility": { "IsPublic": bucket.settings.public },
        "ForkInfo": { "HasChildren": false, "Parents": [] },
    })
}

/// How much the caller's buckets hold here, by their counters.
async fn stats(tigris: &Tigris, key: &AccessKey) -> Result<Value, Failure> {
    let (mut count, mut sum, mut after) = (0, Usage::default(), None);
    loop {
        let (buckets, next) = list_buckets::page(&tigris.catalog, key, "", after.as_deref(), None).await?;
        count += buckets.len();
        for bucket in &buckets {
            let usage = tigris.catalog.usage(bucket).await?;
            sum = Usage { objects: sum.objects + usage.objects, bytes: sum.bytes + usage.bytes };
        }
        if next.is_none() {
            break;
        }
        after = next;
    }
    Ok(json!({ "ActiveBuckets": count, "TotalObjects": sum.objects, "TotalUniqueObjects": sum.objects, "TotalStorageBytes": sum.bytes }))
}
