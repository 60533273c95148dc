//! GetObjectTagging, PutObjectTagging, DeleteObjectTagging.

use s3s::{
    S3Request, S3Response,
    dto::{
        DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput, PutObjectTaggingInput,
        PutObjectTaggingOutput,
    },
};
use umbra_core::{ObjectKey, Tags};

use super::Operations;
use crate::{
    access,
    call::Call,
    convert::{tags, version},
    error::Answer,
};

/// Shows the tags of an object.
pub(super) async fn get_object_tagging(
    operations: &Operations,
    request: S3Request<GetObjectTaggingInput>,
) -> Answer<GetObjectTaggingOutput> {
    let call = Call::of(&request)?;
    let version = version::asked(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let bucket = call.bucket()?;
    let (tags, found) = operations.objects.tags(&call.cx, bucket, &key, version).await.map_err(|error| call.told(error))?;
    let asked = access::Request::new(&call, bucket, Some(key.as_str()), stated!(request));
    operations.judge.confirm(access::Request { version, held: Some(access::Held::of_tags(&tags)), ..asked }, &call.by_object).await?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tags::to_set(&tags), version_id: version::shown(bucket, found) }))
}

/// Replaces the tags of an object.
pub(super) async fn put_object_tagging(
    operations: &Operations,
    request: S3Request<PutObjectTaggingInput>,
) -> Answer<PutObjectTaggingOutput> {
    let call = Call::of(&request)?;
    let version = version::asked(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let stated = stated!(request);
    let tags = tags::from_set(request.input.tagging.tag_set)?;
    let bucket = call.bucket()?;
    if bucket.settings.extras.policy.is_some() {
        let asked = access::Request::new(&call, bucket, Some(key.as_str()), stated);
        let asked = access::Request { version, given_tags: Some(&tags), ..asked };
        operations.judge.check(asked, "PutObjectTagging").await?;
    }
    let version = operations.objects.put_tags(&call.cx, call.bucket()?, &key, version, tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id: version::shown(call.bucket()?, version) }))
}

/// Removes the tags of an object.
pub(super) async fn delete_object_tagging(
    operations: &Operations,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Answer<DeleteObjectTaggingOutput> {
    let call = Call::of(&request)?;
    let version = version::asked(request.input.version_id.as_deref())?;
    let key = ObjectKey::parse(&request.input.key)?;
    let version = operations.objects.put_tags(&call.cx, call.bucket()?, &key, version, Tags::default()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id: version::shown(call.bucket()?, version) }))
}
