//! DeleteObject.

use s3s::{
    S3Request, S3Response,
    dto::{DeleteObjectInput, DeleteObjectOutput},
};
use umbra_core::{Error, ErrorKind, ObjectKey};
use umbra_store::DeleteOptions;

use super::Operations;
use crate::{
    call::Call,
    convert::{conditions, version},
    error::Answer,
};

/// Deletes an object.
pub(super) async fn delete_object(operations: &Operations, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    let version = version::asked(input.version_id.as_deref())?;
    if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "deletes can be conditional on the ETag only").into());
    }
    let key = ObjectKey::parse(&input.key)?;
    let bucket = call.bucket()?;
    let options = DeleteOptions {
        version,
        bypass_governance: input.bypass_governance_retention == Some(true),
        preconditions: conditions::on_write(input.if_match.as_ref(), None),
    };
    let deleted = operations.objects.delete(&call.cx, bucket, &key, options).await?;
    let output = DeleteObjectOutput {
        delete_marker: deleted.is_marker.then_some(true),
        version_id: deleted.version.and_then(|version| version::shown(bucket, version)),
        request_charged: None,
    };
    Ok(S3Response::new(output))
}
