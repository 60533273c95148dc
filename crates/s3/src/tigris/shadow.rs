//! A bucket's shadow as Tigris's clients set it.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use umbra_core::{Error, ErrorKind, RequestContext};
use umbra_shadow::{AttachRequest, Shadow};
use umbra_store::{Bucket, Secret};

use super::document;
use crate::error::{Failure, custom};

/// What becomes of the shadow.
pub(super) enum Change {
    /// It is set, or changed in what is given.
    Attach(AttachRequest),
    /// It ends.
    Detach,
}

/// `shadow_bucket`. Not `Debug`: it holds a secret.
#[derive(Deserialize)]
struct Document {
    name: Option<String>,
    endpoint: Option<String>,
    region: Option<String>,
    access_key: Option<String>,
    secret_key: Option<String>,
    write_through: Option<bool>,
}

/// What `document` sets: `{}`, or one with an empty name, ends the shadow, and `null` leaves it alone.
pub(super) fn taken(document: Value) -> Result<Option<Change>, Failure> {
    match &document {
        Value::Null => return Ok(None),
        Value::Object(fields) if fields.is_empty() => return Ok(Some(Change::Detach)),
        _ => {}
    }
    let document: Document = serde_json::from_value(document).map_err(|error| document::malformed(&error))?;
    if document.name.as_ref().is_some_and(String::is_empty) {
        return Ok(Some(Change::Detach));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(Some(Change::Attach(AttachRequest {
        endpoint: given(document.endpoint),
        region: given(document.region),
        bucket: document.name,
        access_key: given(document.access_key),
        secret_key: given(document.secret_key).map(Secret::new),
        write_through: document.write_through,
        ..AttachRequest::default()
    })))
}

/// Carries the change out. The origin has a say in it.
pub(super) async fn carry_out(change: Change, shadow: &Shadow, cx: &RequestContext, bucket: &Bucket) -> Result<(), Failure> {
    match change {
        Change::Attach(request) => shadow.attach(cx, bucket, request).await.map(drop).map_err(told),
        Change::Detach => shadow.detach(cx, bucket, false).await.map(drop).map_err(|error| refused(error, bucket)),
    }
}

/// Tells the owner of a bucket about its origin what its readers are not told.
fn told(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::OriginUnavailable | ErrorKind::OriginRefused => {
            custom("OriginUnavailable", StatusCode::SERVICE_UNAVAILABLE, error.message()).into()
        }
        _ => error.into(),
    }
}

/// Tigris's clients have no word for force, so the refusal says who has.
fn refused(error: Error, bucket: &Bucket) -> Failure {
    match error.kind() {
        ErrorKind::Invalid(fault) => {
            let forced = format!("`umbra storage update {} --clear-shadow --force`", bucket.name);
            Error::invalid(fault, format!("{}; {forced} does that", error.message())).into()
        }
        _ => told(error),
    }
}
