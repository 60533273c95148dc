//! DeleteObjects.

use futures::{StreamExt, stream};
use s3s::{
    S3Request, S3Response, dto,
    dto::{DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ObjectIdentifier},
};
use umbra_core::{Error, ErrorKind, Fault, Matches, ObjectKey, Preconditions, limits};
use umbra_store::DeleteOptions;

use super::{Operations, reads};
use crate::{
    access::{self, Stated},
    call::Call,
    error::{Answer, Failure},
    xml_text::legible,
};

/// How many deletes run at a time.
const AT_ONCE: usize = 16;

/// Deletes many objects, each on its own: one that fails is told and stops no other.
pub(super) async fn delete_objects(operations: &Operations, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
    let call = Call::of(&request)?;
    let stated = stated!(request);
    let delete = request.input.delete;
    if delete.objects.is_empty() || delete.objects.len() > limits::KEYS_PER_PAGE_MAX {
        return Err(Error::invalid(Fault::MalformedXml, "the list of keys must hold between 1 and 1000 of them").into());
    }
    let quiet = delete.quiet.unwrap_or(false);
    // Boxed: the compiler cannot see through a stream of borrowing closures here.
    let deletes = delete
        .objects
        .into_iter()
        .map(|object| Box::pin(delete_one(operations, &call, stated, object)) as futures::future::BoxFuture<'_, _>);
    let outcomes: Vec<(String, Result<(), Failure>)> = stream::iter(deletes).buffered(AT_ONCE).collect().await;

    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (key, outcome) in outcomes {
        let key = Some(legible(&key));
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject { key, ..DeletedObject::default() }),
            Err(failure) => {
                let (code, message) = failure.into_code_and_message();
                errors.push(dto::Error { code: Some(code), key, message: Some(message), version_id: None });
            }
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None }))
}

async fn delete_one(operations: &Operations, call: &Call, stated: Stated<'_>, object: ObjectIdentifier) -> (String, Result<(), Failure>) {
    let outcome = async {
        let (bucket, key) = (call.bucket()?, Some(object.key.as_str()));
        let request = access::Request { cx: &call.cx, access_key: call.key.as_deref(), bucket, object: key, stated, given_tags: None };
        operations.judge.require(request, if object.version_id.is_some() { access::DELETE_VERSION } else { access::DELETE }).await?;
        if access::bypasses(stated.headers) {
            operations.judge.require(request, access::BYPASS).await?;
        }
        reads::refuse_version(object.version_id.as_deref())?;
        if object.size.is_some() || object.last_modified_time.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "deletes can be conditional on the ETag only").into());
        }
        let if_match = object.e_tag.as_ref().map(|etag| Matches::parse(etag.value()));
        let options = DeleteOptions { preconditions: Preconditions { if_match, ..Preconditions::default() } };
        let key = ObjectKey::parse(&object.key)?;
        operations.objects.delete(&call.cx, call.bucket()?, &key, options).await?;
        Ok(())
    };
    let outcome = outcome.await;
    (object.key, outcome)
}
