//! What a bucket is and how it is set.

use s3s::{Body, S3Response};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use umbra_core::{Error, ShadowSettings, Timestamp};
use umbra_store::{Action, Bucket, Extras};

use super::{answer, cors, hook, lifecycle, routes::Tigris};
use crate::{access::Stated, call::Call, convert::headers::STANDARD, error::Failure};

/// What shows the same in S3's way. Where one of them is denied, so is the whole.
const SHOWING: [&str; 6] = [
    "s3:ListBucket",
    "s3:GetBucketAcl",
    "s3:GetBucketCORS",
    "s3:GetBucketLocation",
    "s3:GetBucketNotification",
    "s3:GetLifecycleConfiguration",
];

/// Shows a bucket. Who may not manage it is not told how it reaches others.
pub(super) async fn show(tigris: &Tigris, call: &Call, stated: Stated<'_>) -> Result<S3Response<Body>, Failure> {
    for action in SHOWING {
        tigris.judge.require_action(call, stated, action, Action::List).await?;
    }
    let bucket = call.bucket()?;
    let usage = tigris.catalog.usage(bucket).await?;
    let manages = call.key.as_ref().is_some_and(|key| key.may(Action::ManageBuckets, Some(bucket)));
    let mut shown = Map::new();
    let mut show = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    show("estimated_unique_rows", usage.objects.into());
    show("estimated_rows", usage.objects.into());
    show("estimated_size", usage.bytes.into());
    for (name, value) in settings(bucket)? {
        show(&name, value);
    }
    if let Some(shadow) = &bucket.settings.shadow {
        show("shadow_bucket", origin(shadow, manages));
    }
    if let Some(notifications) = bucket.settings.extras.notifications.as_ref().filter(|_| manages) {
        show("object_notifications", hook::shown(notifications));
    }
    answer::json(&shown)
}

/// The settings that hold no secret.
fn settings(bucket: &Bucket) -> Result<Map<String, Value>, Failure> {
    let extras: &Extras = &bucket.settings.extras;
    let mut shown = Map::new();
    let mut show = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    show("name", bucket.name.as_str().into());
    show("type", 0.into());
    show("object_regions", bucket.settings.location.to_places().into());
    show("storage_class", extras.storage_class.as_deref().unwrap_or(STANDARD).into());
    show("acl_settings", json!({ "allow_object_acl": extras.allows_object_acls }));
    show("protection", json!({ "protected": extras.protected }));
    show("soft_delete", json!({ "enabled": false }));
    show("ForkInfo", json!({ "HasChildren": false, "Parents": [] }));
    let acl = if bucket.settings.public { "public-read" } else { "private" };
    let lists = extras.lists_publicly.to_string();
    show("md", json!({ "X-Amz-Acl": acl, "x-amz-acl-public-list-objects-enabled": lists }));
    if let Some(cache_control) = &extras.cache_control {
        show("cache_control", cache_control.as_str().into());
    }
    if let Some(domain) = &extras.domain {
        show("website", json!({ "domain_name": domain }));
    }
    if !extras.headers.is_empty() {
        let headers = extras.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        show("additional_http_headers", Value::Object(headers.collect()));
    }
    let rules = lifecycle::shown(&extras.lifecycle.rules);
    if !rules.is_empty() {
        show("lifecycle_rules", value(&rules)?);
    }
    if !extras.cors.is_empty() {
        show("cors", value(&cors::shown(&extras.cors))?);
    }
    Ok(shown)
}

fn value(shown: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(shown).map_err(|error| Error::internal("a setting cannot be written as JSON").because(error).into())
}

/// Where the old data lives. The secret is never told.
fn origin(shadow: &ShadowSettings, manages: bool) -> Value {
    let mut shown = json!({
        "name": shadow.bucket,
        "endpoint": shadow.endpoint,
        "region": shadow.region,
        "write_through": shadow.write_through,
    });
    if manages {
        shown["access_key"] = shadow.access_key.as_str().into();
    }
    shown
}

/// A time as JSON has it.
pub(super) fn rfc3339(at: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.as_millis()) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).expect("a year of four digits can be written")
}
