//! RestoreObject: nothing here is ever out of reach, so there is nothing to wait for.

use http::StatusCode;
use s3s::{
    S3ErrorCode, S3Request, S3Response,
    dto::{RestoreObjectInput, RestoreObjectOutput},
};
use umbra_core::{Error, ErrorKind, Fault, ObjectKey};
use umbra_store::GetOptions;

use super::Operations;
use crate::{call::Call, convert::version, error::Answer};

/// The classes whose objects S3 has to fetch.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Answers like S3 for an object that was restored already: a class is a label here, and the object can be read.
pub(super) async fn restore_object(operations: &Operations, request: S3Request<RestoreObjectInput>) -> Answer<RestoreObjectOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    let version = version::asked(input.version_id.as_deref())?;
    let restore = input.restore_request.ok_or(S3ErrorCode::MalformedXML)?;
    if restore.select_parameters.is_some() || restore.output_location.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "an object cannot be queried while it is restored").into());
    }
    if restore.days.is_some_and(|days| days < 1) {
        return Err(Error::invalid(Fault::InvalidArgument, "restoration days should be at least 1").into());
    }
    let key = ObjectKey::parse(&input.key)?;
    let options = GetOptions { version, is_of_record: true, ..GetOptions::default() };
    let info = operations.objects.head(&call.cx, call.bucket()?, &key, options).await?;
    if !info.headers.storage_class.as_deref().is_some_and(|class| ARCHIVES.contains(&class)) {
        let message = "Restore is not allowed for the object's current storage class";
        return Err(Error::invalid(Fault::InvalidObjectState, message).into());
    }
    Ok(S3Response::with_status(RestoreObjectOutput::default(), StatusCode::OK))
}
