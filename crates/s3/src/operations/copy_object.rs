//! CopyObject.

use std::sync::Arc;

use s3s::{
    S3Request, S3Response,
    dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective, TaggingDirective},
};
use umbra_core::{
    BucketName, ChecksumAlgorithm, ETag, Error, ErrorKind, Fault, Matches, ObjectInfo, ObjectKey, Preconditions, SystemHeaders, Tags,
    UserMetadata, VersionId,
};
use umbra_store::{Bucket, Copied, CopyOptions, CustomerKey, DeleteOptions, GetOptions, copy};

use super::Operations;
use crate::{
    access::{self, Stated},
    acl,
    call::Call,
    convert::{attributes, attributes::encryption, checksum, conditions, headers, tags, time, version},
    error::{Answer, Failure},
    expiration, extensions,
};

/// Copies an object, or moves it within its bucket.
pub(super) async fn copy_object(operations: &Operations, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
    let call = Call::of(&request)?;
    let moves = extensions::is_on(&request.headers, extensions::RENAME);
    let stated = stated!(request);
    let asked = acl::Asked::of(&stated);
    let mut input = request.input;
    let (mut attributes, sealing) = attributes::asked!(input, call.bucket()?);
    operations.check_lock(&attributes)?;
    attributes.acl = acl::on_write(&operations.catalog, call.key.as_deref(), call.bucket()?, &asked).await?;
    let source_key = encryption::source_key!(input)?;
    let changes_encryption = input.server_side_encryption.is_some() || input.sse_customer_algorithm.is_some();
    let target_key = ObjectKey::parse(&input.key)?;
    let replaces_tags = input.tagging_directive.as_ref().is_some_and(|directive| directive.as_str() == TaggingDirective::REPLACE);
    let named =
        SourceName { name: &input.copy_source, expected_owner: input.expected_source_bucket_owner.as_deref(), copies_tags: !replaces_tags };
    let (source_bucket, source_name, source_version) = source(operations, &call, stated, named).await?;
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
            let source = Source { bucket: &source_bucket, key: &source_name, version: source_version, customer_key: source_key.clone() };
            Some(inherited(operations, &call, source, headers, &mut source_conditions).await?)
        }
    };
    let moved = match moves {
        true => {
            let source = Source { bucket: &source_bucket, key: &source_name, version: source_version, customer_key: source_key.clone() };
            Some(Moved::begin(operations, &call, stated, source, &target_key, &mut source_conditions).await?)
        }
        false => None,
    };
    let options = CopyOptions {
        source_version,
        source_conditions,
        replace,
        replace_tags: replacement_tags(&input)?,
        attributes,
        source_key,
        sealing,
        changes_encryption,
        checksum: input.checksum_algorithm.as_ref().map(|algorithm| ChecksumAlgorithm::parse(algorithm.as_str())).transpose()?,
        conditions: conditions::on_write(input.if_match.as_ref(), input.if_none_match.as_ref()),
    };
    let target = (&**call.bucket()?, &target_key);
    let Copied { target: copied, source: copied_version } =
        copy(&*operations.objects, &call.cx, (&source_bucket, &source_name), target, options).await?;
    call.progress.trace.is_of_size(copied.size);
    if let Some(moved) = moved {
        moved.end(operations, &call, &source_name).await?;
    }
    let mut result = CopyObjectResult {
        e_tag: Some(conditions::etag(&copied.etag)),
        last_modified: Some(time::shown(copied.last_modified)),
        ..CopyObjectResult::default()
    };
    checksum::show_with_type!(result, checksum::shown(&copied.checksums));
    let expiration = expiration::of_written(operations, &call, &target_key).await;
    let mut output = CopyObjectOutput { copy_object_result: Some(result), expiration, ..CopyObjectOutput::default() };
    output.copy_source_version_id = version::shown(&source_bucket, copied_version);
    output.version_id = version::stored(call.bucket()?, copied.version);
    encryption::show!(output, copied.encryption.as_ref());
    output.ssekms_encryption_context = encryption::context_of(copied.encryption.as_ref());
    Ok(S3Response::new(output))
}

/// How a request names what a copy reads.
pub(super) struct SourceName<'a> {
    pub(super) name: &'a CopySource,
    /// Whose bucket it must be.
    pub(super) expected_owner: Option<&'a str>,
    /// Whether its tags are copied too.
    pub(super) copies_tags: bool,
}

/// The bucket, key and version that a copy reads, which the caller must be allowed to.
pub(super) async fn source(
    operations: &Operations,
    call: &Call,
    stated: Stated<'_>,
    source: SourceName<'_>,
) -> Result<(Arc<Bucket>, ObjectKey, Option<VersionId>), Failure> {
    let CopySource::Bucket { bucket, key, version_id } = source.name else {
        return Err(Error::new(ErrorKind::Unsupported, "copy sources are named as bucket/key").into());
    };
    let version = version::asked(version_id.as_deref())?;
    let bucket = operations.catalog.bucket(&BucketName::parse(bucket)?).await?;
    let request = access::Request {
        cx: &call.cx,
        access_key: call.key.as_deref(),
        bucket: &bucket,
        object: Some(key.as_ref()),
        version,
        stated,
        given_tags: None,
    };
    operations.judge.check_source(request, version_id.is_some(), source.copies_tags).await?;
    access::refuse_reflection(&call.cx, operations.catalog.store_id(), &bucket)?;
    if source.expected_owner.is_some_and(|owner| owner != bucket.organization) {
        return Err(Error::new(ErrorKind::Denied, "the source bucket belongs to another owner").into());
    }
    Ok((bucket, ObjectKey::parse(key)?, version))
}

/// What a copy reads.
struct Source<'a> {
    bucket: &'a Bucket,
    key: &'a ObjectKey,
    version: Option<VersionId>,
    customer_key: Option<CustomerKey>,
}

impl Source<'_> {
    async fn head(self, operations: &Operations, call: &Call) -> Result<ObjectInfo, Error> {
        let options = GetOptions { version: self.version, customer_key: self.customer_key, ..GetOptions::default() };
        operations.objects.head(&call.cx, self.bucket, self.key, options).await
    }
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
    source: Source<'_>,
    own: SystemHeaders,
    conditions: &mut Preconditions,
) -> Result<(SystemHeaders, UserMetadata), Failure> {
    let info = source.head(operations, call).await?;
    conditions.if_match.get_or_insert_with(|| Matches::ETags(vec![info.etag]));
    let headers =
        SystemHeaders { storage_class: own.storage_class, website_redirect_location: own.website_redirect_location, ..info.headers };
    Ok((headers, info.metadata))
}

/// A move: a copy, then a delete of what was copied and nothing newer.
struct Moved(ETag);

impl Moved {
    /// Notes what is to go, which the caller must be allowed to delete before anything is copied.
    async fn begin(
        operations: &Operations,
        call: &Call,
        stated: Stated<'_>,
        source: Source<'_>,
        target: &ObjectKey,
        conditions: &mut Preconditions,
    ) -> Result<Self, Failure> {
        let (access_key, object) = (call.key.as_deref(), Some(source.key.as_str()));
        let asked = access::Request { cx: &call.cx, access_key, bucket: source.bucket, object, version: None, stated, given_tags: None };
        operations.judge.require(asked, access::DELETE).await?;
        if source.bucket.partition != call.bucket()?.partition || source.key == target {
            return Err(Error::invalid(Fault::InvalidRequest, "objects are renamed within one bucket, to another key").into());
        }
        let request = access::Request {
            cx: &call.cx,
            access_key: call.key.as_deref(),
            bucket: source.bucket,
            object: Some(source.key.as_str()),
            version: None,
            stated,
            given_tags: None,
        };
        operations.judge.require(request, access::DELETE).await?;
        let etag = source.head(operations, call).await?.etag;
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
