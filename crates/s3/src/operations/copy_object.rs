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
use umbra_store::{Bucket, Copied, CopyOptions, DeleteOptions, read_source, write_copy};

use super::Operations;
use crate::{
    access::{self, Need, Stated, TakenIn},
    acl,
    call::Call,
    convert::{attributes, attributes::encryption, attributes::narrowed, checksum, conditions, headers, tags, time, version},
    error::{Answer, Failure},
    expiration, extensions,
};

/// Copies an object, or moves it within its bucket.
pub(super) async fn copy_object(operations: &Operations, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
    let call = Call::of(&request)?;
    let moves = extensions::is_on(&request.headers, extensions::RENAME);
    let narrowed = narrowed::asked(operations.catalog.topology(), &call, &request)?;
    let stated = stated!(request);
    let asked = acl::Asked::of(&stated);
    let mut input = request.input;
    let (mut attributes, sealing) = attributes::asked!(input, call.bucket()?);
    operations.check_lock(&attributes)?;
    attributes.narrowed = narrowed;
    attributes.acl = acl::on_write(&operations.catalog, call.key.as_deref(), call.bucket()?, &asked).await?;
    let source_key = encryption::source_key!(input)?;
    let changes_encryption = input.server_side_encryption.is_some() || input.sse_customer_algorithm.is_some();
    let target_key = ObjectKey::parse(&input.key)?;
    let replaces_tags = input.tagging_directive.as_ref().is_some_and(|directive| directive.as_str() == TaggingDirective::REPLACE);
    let named = SourceName { name: &input.copy_source, expected_owner: input.expected_source_bucket_owner.as_deref() };
    let source = source(operations, &call, stated, named).await?;
    let source_conditions = conditions::on_read(
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    );
    let (replace, placement) = match replacement(&mut input)? {
        Replacement::None => (None, None),
        Replacement::All(headers, metadata) => (Some((headers, metadata)), None),
        Replacement::Placement(headers) => (None, Some(headers)),
    };
    if moves {
        check_move(operations, &call, &source, &target_key).await?;
    }
    let mut options = CopyOptions {
        source_version: source.version,
        source_conditions,
        replace,
        replace_tags: replacement_tags(&input)?,
        changes: changes_encryption || placement.is_some() || attributes.narrowed.is_some(),
        attributes,
        source_key,
        sealing,
        checksum: input.checksum_algorithm.as_ref().map(|algorithm| ChecksumAlgorithm::parse(algorithm.as_str())).transpose()?,
        conditions: conditions::on_write(input.if_match.as_ref(), input.if_none_match.as_ref()),
    };
    let (from, target) = ((&*source.bucket, &source.key), (&**call.bucket()?, &target_key));
    let read = read_source(&*operations.objects, &call.cx, from, target, &options).await?;
    source.check(operations, &call, &read.info, !replaces_tags).await?;
    options.replace = options.replace.or(placement.map(|own| inherited(&read.info, own)));
    if moves && options.attributes.narrowed.is_none() {
        options.attributes.narrowed.clone_from(&read.info.attributes.narrowed);
    }
    let etag = read.info.etag.clone();
    let Copied { target: copied, source: copied_version } = write_copy(&*operations.objects, &call.cx, from, target, read, options).await?;
    call.progress.trace.is_of_size(copied.size);
    if moves {
        end_move(operations, &call, &source.key, etag).await?;
    }
    let mut result = CopyObjectResult {
        e_tag: Some(conditions::etag(&copied.etag)),
        last_modified: Some(time::shown(copied.last_modified)),
        ..CopyObjectResult::default()
    };
    checksum::show_with_type!(result, checksum::shown(&copied.checksums));
    let expiration = expiration::of_written(operations, &call, &target_key).await;
    let mut output = CopyObjectOutput { copy_object_result: Some(result), expiration, ..CopyObjectOutput::default() };
    output.copy_source_version_id = version::shown(&source.bucket, copied_version);
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
}

/// What a copy reads.
pub(super) struct Source<'a> {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: ObjectKey,
    pub(super) version: Option<VersionId>,
    stated: Stated<'a>,
    /// What the caller was allowed for the sake of the object that was there.
    by_object: Vec<Need>,
}

/// What a copy reads, which the caller must be allowed to.
pub(super) async fn source<'a>(
    operations: &Operations,
    call: &Call,
    stated: Stated<'a>,
    source: SourceName<'_>,
) -> Result<Source<'a>, Failure> {
    let CopySource::Bucket { bucket, key, version_id } = source.name else {
        return Err(Error::new(ErrorKind::Unsupported, "copy sources are named as bucket/key").into());
    };
    let version = version::asked(version_id.as_deref())?;
    let taken_in = TakenIn(call.bucket()?.taken_in.clone());
    let bucket = taken_in.bucket(operations.catalog.bucket(&BucketName::parse(bucket)?).await?);
    let request = access::Request { version, ..access::Request::new(call, &bucket, Some(key.as_ref()), stated) };
    let by_object = operations.judge.admit_source(request, version_id.is_some()).await?;
    access::refuse_reflection(&call.cx, operations.catalog.store_id(), &bucket)?;
    if source.expected_owner.is_some_and(|owner| owner != bucket.organization) {
        return Err(Error::new(ErrorKind::Denied, "the source bucket belongs to another owner").into());
    }
    Ok(Source { key: ObjectKey::parse(key)?, bucket, version, stated, by_object })
}

impl Source<'_> {
    fn request<'a>(&'a self, call: &'a Call) -> access::Request<'a> {
        access::Request { version: self.version, ..access::Request::new(call, &self.bucket, Some(self.key.as_str()), self.stated) }
    }

    /// Refuses what was read of it unless the caller may read that very object, and its tags where they are copied too.
    pub(super) async fn check(&self, operations: &Operations, call: &Call, read: &ObjectInfo, copies_tags: bool) -> Result<(), Failure> {
        let request = access::Request { held: Some(access::Held::of(read)), ..self.request(call) };
        operations.judge.check_source(request, &self.by_object, copies_tags).await
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
        Replacement::All(own_headers, headers::metadata(input.metadata.take())?)
    } else if own_headers.storage_class.is_some() || own_headers.website_redirect_location.is_some() {
        Replacement::Placement(own_headers)
    } else {
        Replacement::None
    })
}

/// The headers and metadata of the source that was read, with the storage class and redirect of `own`.
fn inherited(read: &ObjectInfo, own: SystemHeaders) -> (SystemHeaders, UserMetadata) {
    let SystemHeaders { storage_class, website_redirect_location, .. } = own;
    (SystemHeaders { storage_class, website_redirect_location, ..read.headers.clone() }, read.metadata.clone())
}

/// Refuses a move, which is a copy and then a delete of what was copied and nothing newer, unless the caller may delete the source: before
/// anything is copied.
async fn check_move(operations: &Operations, call: &Call, source: &Source<'_>, target: &ObjectKey) -> Result<(), Failure> {
    operations.judge.require(access::Request { version: None, ..source.request(call) }, access::DELETE).await?;
    if source.bucket.partition != call.bucket()?.partition || source.key == *target {
        return Err(Error::invalid(Fault::InvalidRequest, "objects are renamed within one bucket, to another key").into());
    }
    Ok(())
}

async fn end_move(operations: &Operations, call: &Call, source: &ObjectKey, copied: ETag) -> Result<(), Failure> {
    let preconditions = Preconditions { if_match: Some(Matches::ETags(vec![copied])), ..Preconditions::default() };
    operations.objects.delete(&call.cx, call.bucket()?, source, DeleteOptions { preconditions, ..DeleteOptions::default() }).await?;
    Ok(())
}

fn replacement_tags(input: &CopyObjectInput) -> Result<Option<Tags>, Failure> {
    match input.tagging_directive.as_ref().map(TaggingDirective::as_str) {
        None | Some(TaggingDirective::COPY) => Ok(None),
        Some(TaggingDirective::REPLACE) => Ok(Some(tags::from_header(input.tagging.as_deref())?)),
        Some(_) => Err(Error::invalid(Fault::InvalidArgument, "unknown tagging directive").into()),
    }
}
