//! GetObjectTagging, PutObjectTagging, DeleteObjectTagging.

use s3s::{
    S3Request, S3Response,
    dto::{
        DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput, PutObjectTaggingInput,
        PutObjectTaggingOutput,
    },
};
use umbra_core::{ObjectKey, Tags};

use super::{Operations, reads};
use crate::{access, call::Call, convert::tags, error::Answer};

/// Shows the tags of an object.
pub(super) async fn get_object_tagging(
    operations: &Operations,
    request: S3Request<GetObjectTaggingInput>,
) -> Answer<GetObjectTaggingOutput> {
    let call = Call::of(&request)?;
    reads::refuse_version(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let tags = operations.objects.tags(&call.cx, call.bucket()?, &key).await.map_err(|error| call.told(error))?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tags::to_set(&tags), version_id: None }))
}

/// Replaces the tags of an object.
pub(super) async fn put_object_tagging(
    operations: &Operations,
    request: S3Request<PutObjectTaggingInput>,
) -> Answer<PutObjectTaggingOutput> {
    let call = Call::of(&request)?;
    reads::refuse_version(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let stated = stated!(request);
    let tags = tags::from_set(request.input.tagging.tag_set)?;
    let bucket = call.bucket()?;
    if bucket.settings.extras.policy.is_some() {
        let object = Some(key.as_str());
        let asked = access::Request { cx: &call.cx, access_key: call.key.as_deref(), bucket, object, stated, given_tags: Some(&tags) };
        operations.judge.check(asked, "PutObjectTagging").await?;
    }
    operations.objects.put_tags(&call.cx, call.bucket()?, &key, tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput::default()))
}

/// Removes the tags of an object.
pub(super) async fn delete_object_tagging(
    operations: &Operations,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Answer<DeleteObjectTaggingOutput> {
    let call = Call::of(&request)?;
    reads::refuse_version(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    operations.objects.put_tags(&call.cx, call.bucket()?, &key, Tags::default()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
}
