//! Where an object is to live, within what its bucket allows: `X-Tigris-Regions`.

use http::{HeaderName, HeaderValue};
use s3s::{S3Error, S3ErrorCode, S3Request};
use umbra_core::{Narrowed, ObjectInfo};
use umbra_store::Topology;

use crate::{
    access::{Stated, Way},
    call::Call,
    error::Failure,
    extensions,
    post::FormFile,
};

/// What `request`, which writes an object, asks for.
///
/// Of a signed request the signature must cover it: left out quietly, the object would live where its writer does not want it. What forms say of
/// it is for their policy to allow.
pub(crate) fn asked<T>(topology: &Topology, call: &Call, request: &S3Request<T>) -> Result<Option<Narrowed>, Failure> {
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
    let places = places.map_err(|_| S3Error::with_message(S3ErrorCode::InvalidArgument, "X-Tigris-Regions names regions"))?;
    Ok(topology.narrow(&call.bucket()?.settings.location, &places.join(","))?)
}

/// Tells a reader where the object is to live, if its writer said.
pub(crate) fn shown(info: &ObjectInfo) -> Option<(HeaderName, HeaderValue)> {
    let places = HeaderValue::try_from(info.attributes.narrowed.as_ref()?.to_places()).ok()?;
    Some((HeaderName::from_static(extensions::REGIONS), places))
}
