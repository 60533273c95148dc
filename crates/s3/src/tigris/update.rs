//! Changes of a bucket's settings: all of a document, or nothing of it.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::{Body, S3Error, S3ErrorCode, S3Response};
use serde_json::{Map, Value, json};
use umbra_core::{Error, ErrorKind, Fault, Location, Result as CoreResult};
use umbra_store::{Action, Bucket, BucketSettings, Catalog, CorsRule, Extras, Notifications, ObjectOwnership, lifecycle::LifecycleRule};

use super::{answer, cors, document::malformed, hook, lifecycle, routes::Tigris, shadow};
use crate::{
    access::Stated,
    call::Call,
    convert::headers::STANDARD,
    error::Failure,
    operations::{is_public, lists_publicly},
};

/// The most characters of a header's value.
const CHARACTERS_MAX: usize = 1024;
/// The most headers that reads carry beside an object's own.
const HEADERS_MAX: usize = 10;

/// A change of one setting.
enum Change {
    Public(bool),
    ListsPublicly(bool),
    Location(Location),
    ObjectAcls(bool),
    Protected(bool),
    StorageClass(Option<String>),
    CacheControl(Option<String>),
    Domain(Option<String>),
    Headers(Vec<(String, String)>),
    Cors(Vec<CorsRule>),
    Lifecycle(Vec<LifecycleRule>),
    Notifications(Option<Notifications>),
}

/// Changes what `document` and `headers` name, and nothing else.
pub(super) async fn update(tigris: &Tigris, call: Call, stated: Stated<'_>, document: Value) -> Result<S3Response<Body>, Failure> {
    let Value::Object(mut document) = document else {
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, "the document is a JSON object").into());
    };
    let bucket = Arc::clone(call.bucket()?);
    let shadow = document.remove("shadow_bucket").map(shadow::taken).transpose()?.flatten();
    let changes = changes(document, stated.headers, &bucket, &tigris.catalog)?;
    for change in &changes {
        tigris.judge.require_action(&call, stated, change.action(), Action::ManageBuckets).await?;
        change.check(&bucket.settings)?;
    }
    if shadow.is_some() {
        tigris.judge.require_action(&call, stated, SHADOWING, Action::ManageBuckets).await?;
    }
    let (own, catalog) = (tigris.shadow.clone(), Arc::clone(&tigris.catalog));
    // Runs to its end, whoever leaves.
    let work = tokio::spawn(async move {
        // What the origin has a say in comes first: if it fails, nothing has changed.
        if let Some(change) = shadow {
            shadow::carry_out(change, &own, &call.cx, &bucket).await?;
        }
        let mut apply = |settings: &mut BucketSettings| {
            // What allowed them must still hold.
            changes.iter().try_for_each(|change| change.check(settings))?;
            changes.iter().try_for_each(|change| change.apply(settings))
        };
        catalog.update_bucket(&bucket, &mut apply).await?;
        own.lifecycle_changed();
        own.event_bell().ring(&bucket.name);
        Ok::<_, Failure>(())
    });
    work.await.unwrap_or_else(|error| Err(Error::internal("the request was cut short").because(error).into()))?;
    answer::json(&json!({ "status": "success" }))
}

fn changes(document: Map<String, Value>, headers: &HeaderMap, bucket: &Bucket, catalog: &Catalog) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    if let Some(acl) = headers.get("x-amz-acl") {
        let acl = acl.to_str().map_err(|_| S3ErrorCode::InvalidArgument)?.to_owned();
        changes.push(Change::Public(is_public(Some(&acl.into()))?));
    }
    changes.extend(lists_publicly(headers)?.map(Change::ListsPublicly));
    for (name, value) in document {
        changes.extend(change(&name, value, bucket, catalog)?);
    }
    Ok(changes)
}

/// The change that one member of the document is; `None` for one that changes nothing.
fn change(name: &str, value: Value, bucket: &Bucket, catalog: &Catalog) -> Result<Option<Change>, Failure> {
    // Terraform's provider sends `null` for what it does not change; to end these there are values.
    let is_left_alone = value.is_null() && !matches!(name, "cors" | "additional_http_headers" | "lifecycle_rules" | "object_notifications");
    if is_left_alone {
        return Ok(None);
    }
    Ok(Some(match name {
        "object_regions" => Change::Location(location(&text(name, &value)?, &bucket.settings, catalog)?),
        "storage_class" => Change::StorageClass(storage_class(&text(name, &value)?)?),
        "cache_control" => Change::CacheControl(header_value(text(name, &value)?)?),
        "website" => Change::Domain(domain(&text(name, &value["domain_name"])?)?),
        "acl_settings" => Change::ObjectAcls(flag(name, &value["allow_object_acl"])?),
        "protection" => Change::Protected(flag(name, &value["protected"])?),
        "additional_http_headers" => Change::Headers(additional_headers(value)?),
        "cors" => Change::Cors(cors::taken(parsed(value)?)?),
        "lifecycle_rules" => Change::Lifecycle(lifecycle::taken(parsed(value)?)?),
        "object_notifications" => Change::Notifications(match value {
            Value::Null => None,
            value => hook::taken(parsed::<Option<_>>(value)?.ok_or(S3ErrorCode::InvalidArgument)?, bucket, catalog)?,
        }),
        "type" if value == 0 => return Ok(None),
        "soft_delete" if value["enabled"] == false => return Ok(None),
        "shares" if value.as_array().is_some_and(Vec::is_empty) => return Ok(None),
        "type" => return Err(unserved("a bucket with snapshots is")),
        "soft_delete" => return Err(unserved("soft deletion is")),
        "shares" => return Err(unserved("sharing with a team or a user is")),
        other => return Err(unserved(&format!("the setting {other:?} is"))),
    }))
}

/// Where objects are to live. What the bucket has already is taken again, whatever the store has.
fn location(places: &str, settings: &BucketSettings, catalog: &Catalog) -> CoreResult<Location> {
    let location = catalog.topology().location_of(places)?;
    if location != settings.location {
        catalog.topology().check(&location)?;
    }
    Ok(location)
}

/// What changing where a bucket's old data lives is to a policy.
const SHADOWING: &str = "s3:PutReplicationConfiguration";

impl Change {
    /// What S3 calls the like of it, or what comes nearest.
    fn action(&self) -> &'static str {
        match self {
            Self::Public(_) | Self::ListsPublicly(_) => "s3:PutBucketAcl",
            Self::ObjectAcls(_) => "s3:PutBucketOwnershipControls",
            Self::Location(_) => "s3:PutReplicationConfiguration",
            Self::Protected(_) => "s3:DeleteBucket",
            Self::StorageClass(_) | Self::Lifecycle(_) => "s3:PutLifecycleConfiguration",
            Self::CacheControl(_) | Self::Domain(_) | Self::Headers(_) => "s3:PutBucketWebsite",
            Self::Cors(_) => "s3:PutBucketCORS",
            Self::Notifications(_) => "s3:PutBucketNotification",
        }
    }

    /// Refuses what would make a bucket public whose settings keep that from happening.
    fn check(&self, settings: &BucketSettings) -> CoreResult<()> {
        let extras = &settings.extras;
        let is_kept =
            extras.public_access.is_some_and(|block| block.block_acls) || extras.ownership == Some(ObjectOwnership::BucketOwnerEnforced);
        match self {
            Self::Public(true) | Self::ListsPublicly(true) if is_kept => Err(Error::new(
                ErrorKind::Denied,
                "the bucket's public access block or its ownership controls keep it from becoming public",
            )),
            _ => Ok(()),
        }
    }

    fn apply(&self, settings: &mut BucketSettings) -> CoreResult<()> {
        if let Self::Public(public) = self {
            return settings.set_public(*public);
        }
        let extras: &mut Extras = Arc::make_mut(&mut settings.extras);
        match self {
            Self::Public(_) => {}
            Self::Location(location) => settings.location.clone_from(location),
            Self::ListsPublicly(lists) => extras.lists_publicly = *lists,
            Self::ObjectAcls(allowed) => extras.allows_object_acls = *allowed,
            Self::Protected(protected) => extras.protected = *protected,
            Self::StorageClass(class) => extras.storage_class.clone_from(class),
            Self::CacheControl(value) => extras.cache_control.clone_from(value),
            Self::Domain(domain) => extras.domain.clone_from(domain),
            Self::Headers(headers) => extras.headers.clone_from(headers),
            Self::Cors(rules) => extras.cors.clone_from(rules),
            Self::Lifecycle(rules) => extras.lifecycle.rules = lifecycle::replaced(&extras.lifecycle.rules, rules),
            Self::Notifications(notifications) => extras.notifications.clone_from(notifications),
        }
        Ok(())
    }
}

fn unserved(what: &str) -> Failure {
    S3Error::with_message(S3ErrorCode::NotImplemented, format!("{what} not implemented here")).into()
}

/// The class to keep of a bucket whose objects are to be of class `name`.
pub(crate) fn storage_class(name: &str) -> CoreResult<Option<String>> {
    match name {
        "" | STANDARD => Ok(None),
        "STANDARD_IA" | "GLACIER" | "GLACIER_IR" => Ok(Some(name.to_owned())),
        _ => Err(refused(format!("{name:?} is no storage class of a bucket: STANDARD, STANDARD_IA, GLACIER or GLACIER_IR"))),
    }
}

fn parsed<T: serde::de::DeserializeOwned + Default>(value: Value) -> Result<T, Failure> {
    if value.is_null() { Ok(T::default()) } else { serde_json::from_value(value).map_err(|error| malformed(&error).into()) }
}

fn text(name: &str, value: &Value) -> CoreResult<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| refused(format!("{name} is set by a text")))
}

fn flag(name: &str, value: &Value) -> CoreResult<bool> {
    value.as_bool().ok_or_else(|| refused(format!("{name} is set by true or false")))
}

fn header_value(text: String) -> CoreResult<Option<String>> {
    if text.len() > CHARACTERS_MAX || HeaderValue::try_from(&text).is_err() {
        return Err(refused(format!("a header's value is one line of at most {CHARACTERS_MAX} characters")));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn domain(text: &str) -> CoreResult<Option<String>> {
    let is_domain = text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if is_domain { Ok(Some(text.to_owned()).filter(|text| !text.is_empty())) } else { Err(refused(format!("{text:?} is no domain"))) }
}

fn additional_headers(value: Value) -> Result<Vec<(String, String)>, Failure> {
    let headers: Map<String, Value> = parsed(value)?;
    if headers.len() > HEADERS_MAX {
        return Err(refused(format!("reads carry at most {HEADERS_MAX} additional headers")).into());
    }
    let checked = headers.into_iter().map(|(name, value)| {
        if name.len() > 64 || !HeaderName::from_bytes(name.as_bytes()).is_ok_and(|parsed| is_free(&parsed)) {
            return Err(refused(format!("{name:?} is no header that could be added")).into());
        }
        let value = header_value(text(&name, &value)?)?.unwrap_or_default();
        Ok((name, value))
    });
    checked.collect()
}

/// Whether nobody but the owner of a bucket says what the header holds.
fn is_free(name: &HeaderName) -> bool {
    const TAKEN: [&str; 11] =
        ["age", "accept-ranges", "connection", "date", "etag", "last-modified", "location", "server", "set-cookie", "trailer", "vary"];
    const TAKEN_PREFIXES: [&str; 6] = ["access-control-", "content-length", "content-range", "transfer-", "x-amz-", "x-tigris-"];
    let name = name.as_str();
    !TAKEN.contains(&name) && !TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !name.starts_with("x-umbra-")
}

fn refused(message: impl Into<String>) -> Error {
    Error::invalid(Fault::InvalidArgument, message)
}
