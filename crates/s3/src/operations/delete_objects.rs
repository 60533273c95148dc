//! DeleteObjects.

use futures::{StreamExt, stream};
use http::StatusCode;
use s3s::{
    S3Error, S3Request, S3Response, dto,
    dto::{DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ObjectIdentifier},
};
use umbra_core::{Error, ErrorKind, Fault, Matches, ObjectKey, Preconditions, limits};
use umbra_store::{DeleteOptions, Deleted};

use super::Operations;
use crate::{
    access::{self, Stated},
    call::Call,
    convert::version,
    error::{Answer, Failure},
    layer::Deletion,
    xml_text::legible,
};

/// How many deletes run at a time.
const AT_ONCE: usize = 16;

/// Deletes many objects, each on its own: one that fails is told and stops no other.
pub(super) async fn delete_objects(operations: &Operations, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
    let call = Call::of(&request)?;
    let bypass_governance = request.input.bypass_governance_retention == Some(true);
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
        .map(|object| Box::pin(delete_one(operations, &call, stated, object, bypass_governance)) as futures::future::BoxFuture<'_, _>);
    let outcomes: Vec<(ObjectIdentifier, Result<Deleted, Failure>)> = stream::iter(deletes).buffered(AT_ONCE).collect().await;

    let bucket = call.bucket()?;
    let is_logged = bucket.settings.extras.logging.is_some();
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in outcomes {
        let outcome = outcome.map_err(S3Error::from);
        if is_logged {
            call.progress.trace.deleted(logged(&object, &outcome));
        }
        let key = Some(legible(&object.key));
        match outcome {
            Ok(_) if quiet => {}
            Ok(done) => {
                let version = done.version.and_then(|version| version::shown(bucket, version));
                deleted.push(DeletedObject {
                    delete_marker: done.is_marker.then_some(true),
                    delete_marker_version_id: version.clone().filter(|_| done.is_marker),
                    version_id: version.filter(|_| object.version_id.is_some()),
                    key,
                });
            }
            Err(failure) => {
                let (code, message) = Failure::from(failure).into_code_and_message();
                errors.push(dto::Error { code: Some(code), key, message: Some(message), version_id: object.version_id });
            }
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None }))
}

/// What the access log is told of one of them.
fn logged(object: &ObjectIdentifier, outcome: &Result<Deleted, S3Error>) -> Deletion {
    let failure = outcome.as_ref().err();
    let status = failure.map_or(StatusCode::NO_CONTENT, |failure| failure.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    Deletion {
        key: object.key.clone(),
        version: object.version_id.clone(),
        status: status.as_u16(),
        code: failure.map(|failure| failure.code().as_str().to_owned()),
    }
}

async fn delete_one(
    operations: &Operations,
    call: &Call,
    stated: Stated<'_>,
    object: ObjectIdentifier,
    bypass_governance: bool,
) -> (ObjectIdentifier, Result<Deleted, Failure>) {
    let outcome = async {
        // A thousand judgments in a row would keep a thread from everybody else.
        tokio::task::yield_now().await;
        let version = version::asked(object.version_id.as_deref())?;
        let request = access::Request { version, ..access::Request::new(call, call.bucket()?, Some(object.key.as_str()), stated) };
        operations.judge.require(request, if object.version_id.is_some() { access::DELETE_VERSION } else { access::DELETE }).await?;
        if access::bypasses(stated.headers) {
            operations.judge.require(request, access::BYPASS).await?;
        }
        if object.size.is_some() || object.last_modified_time.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "deletes can be conditional on the ETag only").into());
        }
        let if_match = object.e_tag.as_ref().map(|etag| Matches::parse(etag.value()));
        let preconditions = Preconditions { if_match, ..Preconditions::default() };
        let options = DeleteOptions { version, bypass_governance, preconditions };
        let key = ObjectKey::parse(&object.key)?;
        Ok(operations.objects.delete(&call.cx, call.bucket()?, &key, options).await?)
    };
    let outcome = outcome.await;
    (object, outcome)
}
