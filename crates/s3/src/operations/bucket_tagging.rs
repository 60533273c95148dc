//! PutBucketTagging, GetBucketTagging, DeleteBucketTagging.

use s3s::{
    S3ErrorCode, S3Request, S3Response,
    dto::{
        DeleteBucketTaggingInput, DeleteBucketTaggingOutput, GetBucketTaggingInput, GetBucketTaggingOutput, PutBucketTaggingInput,
        PutBucketTaggingOutput, Tag,
    },
};

use super::{Operations, settings::change_extras};
use crate::{call::Call, convert::tags, error::Answer};

/// Sets the tags.
pub(super) async fn put_bucket_tagging(
    operations: &Operations,
    request: S3Request<PutBucketTaggingInput>,
) -> Answer<PutBucketTaggingOutput> {
    let call = Call::of(&request)?;
    let tags = tags::of_bucket(request.input.tagging.tag_set)?;
    change_extras(operations, &call, |extras| extras.tags.clone_from(&tags)).await?;
    Ok(S3Response::with_status(PutBucketTaggingOutput::default(), http::StatusCode::NO_CONTENT))
}

/// Shows the tags.
pub(super) async fn get_bucket_tagging(
    _operations: &Operations,
    request: S3Request<GetBucketTaggingInput>,
) -> Answer<GetBucketTaggingOutput> {
    let call = Call::of(&request)?;
    let tags = &call.bucket()?.settings.extras.tags;
    if tags.is_empty() {
        return Err(S3ErrorCode::NoSuchTagSet.into());
    }
    let tag_set = tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect();
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set }))
}

/// Removes the tags.
pub(super) async fn delete_bucket_tagging(
    operations: &Operations,
    request: S3Request<DeleteBucketTaggingInput>,
) -> Answer<DeleteBucketTaggingOutput> {
    let call = Call::of(&request)?;
    change_extras(operations, &call, |extras| extras.tags.clear()).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}
