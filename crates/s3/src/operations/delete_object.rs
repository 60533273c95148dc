//! DeleteObject.

use s3s::{
    S3Request, S3Response,
    dto::{DeleteObjectInput, DeleteObjectOutput},
};
use umbra_core::{Error, ErrorKind, ObjectKey};
use umbra_store::DeleteOptions;

use super::{Operations, reads};
use crate::{call::Call, convert::conditions, error::Answer};

/// Deletes an object.
pub(super) async fn delete_object(operations: &Operations, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
    let call = Call::of(&request)?;
    let input = request.input;
    reads::refuse_version(input.version_id.as_deref())?;
    if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "deletes can be conditional on the ETag only").into());
    }
    let key = ObjectKey::parse(&input.key)?;
    let options = DeleteOptions { preconditions: conditions::on_write(input.if_match.as_ref(), None) };
    operations.objects.delete(&call.cx, call.bucket()?, &key, options).await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}
