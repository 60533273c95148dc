//! CopyObject.

use std::sync::Arc;

use s3s::{
    S3Request, S3Response,
    dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective, ObjectCannedACL, TaggingDirective},
};
use umbra_core::{
    BucketName, ChecksumAlgorithm, ETag, Error, ErrorKind, Fault, Matches, ObjectKey, Preconditions, SystemHeaders, Tags, UserMetadata,
    VersionId,
};
use umbra_store::{Bucket, Copied, CopyOptions, DeleteOptions, GetOptions, copy};

use super::{Operations, reads};
use crate::{
    access, acl,
    call::Call,
    convert::{attributes, checksum, conditions, headers, tags, time, version},
    error::{Answer, Failure},
    expiration, extensions,
};

/// Copies an object, or moves it within its bucket.
pub(super) async fn copy_object(operations: &Operations, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
    let call = Call::of(&request)?;
    let moves = extensions::is_on(&request.headers, extensions::RENAME);
    let mut input = request.input;
    let attributes = attributes::asked!(input, call.bucket()?);
    operations.check_lock(&attributes)?;
    acl::check_on_write(input.acl.as_ref().map(ObjectCannedACL::as_str), &request.uri, call.bucket()?)?;
    reads::refuse_customer_key(input.copy_source_sse_customer_algorithm.is_some())?;
    let target_key = ObjectKey::parse(&input.key)?;
    let (source_bucket, source_key, source_version) =
        source(operations, &call, &input.copy_source, input.expected_source_bucket_owner.as_deref()).await?;
    let mut source_conditions = conditions::on_read(
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    );
    let replace = match replacement(&mut input)? {
        Replacement::All(headers, metadata) => Some((headers, metadata)),
        Replacement::None => None,
        Replacement::Placement(headers) => {
            let source = (&*source_bucket, &source_key, source_version);
            Some(inherited(operations, &call, source, headers, &mut source_conditions).await?)
        }
    };
    let moved = match moves {
        true => Some(Moved::begin(operations, &call, &source_bucket, &source_key, &target_key, &mut source_conditions).await?),
        false => None,
    };
    let options = CopyOptions {
        source_version,
        source_conditions,
        replace,
        replace_tags: replacement_tags(&input)?,
        attributes,
        checksum: input.checksum_algorithm.as_ref().map(|algorithm| ChecksumAlgorithm::parse(algorithm.as_str())).transpose()?,
        conditions: conditions::on_write(input.if_match.as_ref(), input.if_none_match.as_ref()),
    };
    let target = (&**call.bucket()?, &target_key);
    let Copied { target: copied, source: copied_version } =
        copy(&*operations.objects, &call.cx, (&source_bucket, &source_key), target, options).await?;
    if let Some(moved) = moved {
        moved.end(operations, &call, &source_key).await?;
    }
    let mut result = CopyObjectResult {
        e_tag: Some(conditions::etag(&copied.etag)),
        last_modified: Some(time::shown(copied.last_modified)),
        ..CopyObjectResult::default()
    };
    checksum::show_with_type!(result, checksum::shown(&copied.checksums));
    let expiration = expiration::of_written(operations, &call, &target_key).await;
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: version::shown(&source_bucket, copied_version),
        expiration,
        version_id: version::stored(call.bucket()?, copied.version),
        ..CopyObjectOutput::default()
    }))
}

/// The bucket, key and version that a copy reads, which the caller must be allowed to.
pub(super) async fn source(
    operations: &Operations,
    call: &Call,
    source: &CopySource,
    expected_owner: Option<&str>,
) -> Result<(Arc<Bucket>, ObjectKey, Option<VersionId>), Failure> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(Error::new(ErrorKind::Unsupported, "copy sources are named as bucket/key").into());
    };
    let version = version::asked(version_id.as_deref())?;
    let bucket = operations.catalog.bucket(&BucketName::parse(bucket)?).await?;
    access::may_read(call.key.as_deref(), &bucket)?;
    access::refuse_reflection(&call.cx, operations.catalog.store_id(), &bucket)?;
    if expected_owner.is_some_and(|owner| owner != bucket.organization) {
        return Err(Error::new(ErrorKind::Denied, "the source bucket belongs to another owner").into());
    }
    Ok((bucket, ObjectKey::parse(key)?, version))
}

/// What the target is to have of its own.
enum Replacement {
    /// Nothing.
    None,
    /// Headers and metadata.
    All(SystemHeaders, UserMetadata),
    /// A storage class or a redirect, which S3 never copies, beside the headers and metadata of the source.
    Placement(SystemHeaders),
}

fn replacement(input: &mut CopyObjectInput) -> Result<Replacement, Failure> {
    let directive = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
    let replaces = match directive {
        None | Some(MetadataDirective::COPY) => false,
        Some(MetadataDirective::REPLACE) => true,
        Some(_) => return Err(Error::invalid(Fault::InvalidArgument, "unknown metadata directive").into()),
    };
    let own_headers = headers::stored!(input);
    Ok(if replaces {
        Replacement::All(own_headers, headers::metadata(input.metadata.take(), vec![])?)
    } else if own_headers.storage_class.is_some() || own_headers.website_redirect_location.is_some() {
        Replacement::Placement(own_headers)
    } else {
        Replacement::None
    })
}

/// The headers and metadata of the source with the storage class and redirect of `own`. The copy must then be of that very source.
async fn inherited(
    operations: &Operations,
    call: &Call,
    (bucket, key, version): (&Bucket, &ObjectKey, Option<VersionId>),
    own: SystemHeaders,
    conditions: &mut Preconditions,
) -> Result<(SystemHeaders, UserMetadata), Failure> {
    let info = operations.objects.head(&call.cx, bucket, key, GetOptions { version, ..GetOptions::default() }).await?;
    conditions.if_match.get_or_insert_with(|| Matches::ETags(vec![info.etag]));
    let headers =
        SystemHeaders { storage_class: own.storage_class, website_redirect_location: own.website_redirect_location, ..info.headers };
    Ok((headers, info.metadata))
}

/// A move: a copy, then a delete of what was copied and nothing newer.
struct Moved(ETag);

impl Moved {
    async fn begin(
        operations: &Operations,
        call: &Call,
        bucket: &Bucket,
        source: &ObjectKey,
        target: &ObjectKey,
        conditions: &mut Preconditions,
    ) -> Result<Self, Failure> {
        if bucket.partition != call.bucket()?.partition || source == target {
            return Err(Error::invalid(Fault::InvalidRequest, "objects are renamed within one bucket, to another key").into());
        }
        let etag = operations.objects.head(&call.cx, bucket, source, GetOptions::default()).await?.etag;
        conditions.if_match.get_or_insert_with(|| Matches::ETags(vec![etag.clone()]));
        Ok(Self(etag))
    }

    async fn end(self, operations: &Operations, call: &Call, source: &ObjectKey) -> Result<(), Failure> {
        let preconditions = Preconditions { if_match: Some(Matches::ETags(vec![self.0])), ..Preconditions::default() };
        operations.objects.delete(&call.cx, call.bucket()?, source, DeleteOptions { preconditions, ..DeleteOptions::default() }).await?;
        Ok(())
    }
}

fn replacement_tags(input: &CopyObjectInput) -> Result<Option<Tags>, Failure> {
    match input.tagging_directive.as_ref().map(TaggingDirective::as_str) {
        None | Some(TaggingDirective::COPY) => Ok(None),
        Some(TaggingDirective::REPLACE) => Ok(Some(tags::from_header(input.tagging.as_deref())?)),
        Some(_) => Err(Error::invalid(Fault::InvalidArgument, "unknown tagging directive").into()),
    }
}
