//! Where an object is to live, within what its bucket allows: `X-Tigris-Regions`.

use http::{HeaderName, HeaderValue};
use s3s::{S3Error, S3ErrorCode, S3Request};
use umbra_core::{Entity, ErrorKind, Narrowed, ObjectInfo, ObjectKey, UploadId};
use umbra_store::Topology;

use crate::{
    access::{Stated, Way},
    call::Call,
    error::Failure,
    extensions,
    operations::Operations,
    post::FormFile,
};

/// What `request`, which writes an object, asks for.
pub(crate) fn asked<T>(topology: &Topology, call: &Call, request: &S3Request<T>) -> Result<Option<Narrowed>, Failure> {
    match given(call, request)? {
        Some(places) => Ok(topology.narrow(&call.bucket()?.settings.location, &places)?),
        None => Ok(None),
    }
}

/// Refuses what `request`, which adds to an upload or completes it, asks for, unless the upload was begun with the same: some clients send it with
/// everything.
pub(crate) async fn agree<T>(
    operations: &Operations,
    call: &Call,
    request: &S3Request<T>,
    (key, upload): (&str, &str),
) -> Result<(), Failure> {
    let Some(places) = given(call, request)? else { return Ok(()) };
    let (bucket, key, upload) = (call.bucket()?, ObjectKey::parse(key)?, UploadId::parse(upload));
    let begun = match operations.objects.upload(&call.cx, bucket, &key, &upload).await {
        Ok(begun) => begun.attributes.narrowed,
        // A completion that is repeated finds none any more. Otherwise the operation says so.
        Err(error) if error.kind() == ErrorKind::NotFound(Entity::Upload) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if operations.catalog.topology().narrowed_of(&places)? == begun {
        return Ok(());
    }
    let told = begun.map_or_else(|| "without it".to_owned(), |begun| format!("with {}", begun.to_places()));
    let message = format!("X-Tigris-Regions belongs on CreateMultipartUpload; this upload was begun {told}");
    Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message).into())
}

/// The regions that `request` names, if it does.
///
/// Of a signed request the signature must cover it: left out quietly, the object would live where its writer does not want it. What forms say of
/// it is for their policy to allow.
fn given<T>(call: &Call, request: &S3Request<T>) -> Result<Option<String>, Failure> {
    let given = request.headers.get_all(extensions::REGIONS);
    if given.iter().next().is_none() {
        return Ok(None);
    }
    let stated = Stated::new(&request.uri, &request.headers, Way::of(&request.extensions));
    let is_of_form = request.extensions.get::<FormFile>().is_some();
    if call.key.is_some() && !is_of_form && !extensions::is_signed(&stated, extensions::REGIONS) {
        let message = "There were headers present in the request which were not signed: X-Tigris-Regions";
        return Err(S3Error::with_message(S3ErrorCode::AccessDenied, message).into());
    }
    let places: Result<Vec<_>, _> = given.iter().map(HeaderValue::to_str).collect();
    let places = places.map_err(|_| S3Error::with_message(S3ErrorCode::InvalidArgument, "X-Tigris-Regions names regions"))?.join(",");
    Ok((!places.trim().is_empty()).then_some(places))
}

/// Tells a reader where the object is to live, if its writer said.
pub(crate) fn shown(info: &ObjectInfo) -> Option<(HeaderName, HeaderValue)> {
    let places = HeaderValue::try_from(info.attributes.narrowed.as_ref()?.to_places()).ok()?;
    Some((HeaderName::from_static(extensions::REGIONS), places))
}
