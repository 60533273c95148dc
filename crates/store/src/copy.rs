//! Copies: a read and a write through any [`Objects`], so that they work in front of a shadow too.

use umbra_core::{
    Attributes, ChecksumAlgorithm, Error, ErrorKind, Fault, ObjectInfo, ObjectKey, Preconditions, RangeSpec, RequestContext, Result,
    SystemHeaders, Tags, UserMetadata, VersionId, limits,
};

use crate::{
    Bucket, Cause, CustomerKey, Expected, ExpectedChecksum, GetObject, GetOptions, Integrity, Objects, PartAddress, PutObject, PutOptions,
    Sealing, part_integrity,
};

/// How to copy.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// The version of the source; the current object when `None`.
    pub source_version: Option<VersionId>,
    /// Conditions on the source.
    pub source_conditions: Preconditions,
    /// Headers and metadata of the target; those of the source, but for its storage class and redirect, when `None`.
    pub replace: Option<(SystemHeaders, UserMetadata)>,
    /// Tags of the target; those of the source when `None`.
    pub replace_tags: Option<Tags>,
    /// The checksum of the target; of the algorithm of the source's when `None`.
    pub checksum: Option<ChecksumAlgorithm>,
    /// What S3's optional features add to the target: nothing of it comes from the source.
    pub attributes: Attributes,
    /// The client's key of the source.
    pub source_key: Option<CustomerKey>,
    /// How the target is to be encrypted.
    pub sealing: Option<Sealing>,
    /// Whether that was asked for, or anything else that makes the copy of an object to itself a change.
    pub changes: bool,
    /// Conditions on what the target's key holds.
    pub conditions: Preconditions,
}

/// What was copied.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The target.
    pub target: PutObject,
    /// Which version of the source it is a copy of.
    pub source: VersionId,
}

/// Copies an object. The target is an object stored by one PUT, whatever the source was.
pub async fn copy(
    objects: &dyn Objects,
    cx: &RequestContext,
    source: (&Bucket, &ObjectKey),
    target: (&Bucket, &ObjectKey),
    options: CopyOptions,
) -> Result<Copied> {
    let read = read_source(objects, cx, source, target, &options).await?;
    write_copy(objects, cx, source, target, read, options).await
}

/// The first half of a copy: its source, of which nothing is written yet.
pub async fn read_source(
    objects: &dyn Objects,
    cx: &RequestContext,
    source: (&Bucket, &ObjectKey),
    target: (&Bucket, &ObjectKey),
    options: &CopyOptions,
) -> Result<GetObject> {
    let is_itself = source.0.partition == target.0.partition && source.1 == target.1 && options.source_version.is_none();
    if options.replace.is_none() && !options.changes && is_itself {
        let message = "this copy request is illegal because it is trying to copy an object to itself without changing its metadata, \
                       storage class, website redirect location or encryption attributes";
        return Err(Error::invalid(Fault::InvalidRequest, message));
    }
    let read = GetOptions {
        version: options.source_version,
        preconditions: options.source_conditions.clone(),
        customer_key: options.source_key.clone(),
        ..GetOptions::default()
    };
    let read = objects.get(cx, source.0, source.1, read).await.map_err(unmodified_is_a_failure)?;
    check_size(read.info.size)?;
    Ok(read)
}

/// The second half of a copy: writes what was `read`.
pub async fn write_copy(
    objects: &dyn Objects,
    cx: &RequestContext,
    source: (&Bucket, &ObjectKey),
    target: (&Bucket, &ObjectKey),
    read: GetObject,
    options: CopyOptions,
) -> Result<Copied> {
    let GetObject { mut info, body, .. } = read;
    let source_version = info.version;
    // A named version is the same one however the key changes meanwhile.
    let tagged = if source_version == VersionId::Null { options.source_version } else { Some(source_version) };
    let tags = match options.replace_tags.or(info.tags.take()) {
        Some(tags) => tags,
        // Asked for even where none are announced: an origin need not tell how many there are.
        None => objects.tags(cx, source.0, source.1, tagged).await?.0,
    };
    let algorithm = options.checksum.or_else(|| info.checksums.first().map(|checksum| checksum.algorithm));
    let checksum = algorithm.map(|algorithm| ExpectedChecksum { algorithm, value: Expected::Unknown });
    let (headers, metadata) = options.replace.unwrap_or_else(|| inherited(info));
    let write = PutOptions {
        headers,
        metadata,
        tags,
        attributes: options.attributes,
        preconditions: options.conditions,
        integrity: Integrity { content_md5: None, checksum, sealing: options.sealing },
        cause: Cause::Copy,
    };
    Ok(Copied { target: objects.put(cx, target.0, target.1, body, write).await?, source: source_version })
}

/// How to copy into a part.
#[derive(Debug, Default)]
pub struct CopyPartOptions {
    /// The version of the source; the current object when `None`.
    pub source_version: Option<VersionId>,
    /// Conditions on the source.
    pub source_conditions: Preconditions,
    /// The first and last byte of the source; all of it when `None`.
    pub range: Option<(u64, u64)>,
    /// The client's key of the source.
    pub source_key: Option<CustomerKey>,
    /// The client's key of the upload.
    pub customer_key: Option<CustomerKey>,
}

/// The source of a part, of which nothing is written yet.
#[derive(Debug)]
pub struct PartSource {
    /// What is read.
    pub read: GetObject,
    integrity: Integrity,
}

/// Copies an object, or a range of it, into a part of an upload.
pub async fn copy_part(
    objects: &dyn Objects,
    cx: &RequestContext,
    source: (&Bucket, &ObjectKey),
    bucket: &Bucket,
    part: PartAddress<'_>,
    options: CopyPartOptions,
) -> Result<Copied> {
    let read = read_part_source(objects, cx, source, bucket, &part, options).await?;
    write_part_copy(objects, cx, bucket, part, read).await
}

/// The first half of a copy into a part.
pub async fn read_part_source(
    objects: &dyn Objects,
    cx: &RequestContext,
    source: (&Bucket, &ObjectKey),
    bucket: &Bucket,
    part: &PartAddress<'_>,
    options: CopyPartOptions,
) -> Result<PartSource> {
    let CopyPartOptions { source_version, source_conditions, range, source_key, customer_key } = options;
    let upload = objects.upload(cx, bucket, part.key, part.upload).await?;
    let integrity = part_integrity(&upload, Integrity { sealing: customer_key.map(Sealing::Customer), ..Integrity::default() })?;
    let wanted = range.map(|(first, last)| RangeSpec::From { first, last: Some(last) });
    let read = GetOptions {
        version: source_version,
        range: wanted,
        preconditions: source_conditions,
        customer_key: source_key,
        ..GetOptions::default()
    };
    let beyond = |error: Error| match error.kind() {
        // A read past the end is 416; a copy, 400.
        ErrorKind::Invalid(Fault::InvalidRange) => Error::invalid(Fault::InvalidArgument, "range specified is not valid for source object"),
        _ => unmodified_is_a_failure(error),
    };
    let read = objects.get(cx, source.0, source.1, read).await.map_err(beyond)?;
    let size = read.info.size;
    if range.is_some_and(|(_, last)| last >= size) {
        let message = format!("range specified is not valid for source object of size: {size}");
        return Err(Error::invalid(Fault::InvalidArgument, message));
    }
    check_size(read.range.map_or(size, umbra_core::ByteRange::len))?;
    Ok(PartSource { read, integrity })
}

/// The second half of a copy into a part.
pub async fn write_part_copy(
    objects: &dyn Objects,
    cx: &RequestContext,
    bucket: &Bucket,
    part: PartAddress<'_>,
    source: PartSource,
) -> Result<Copied> {
    let PartSource { read: GetObject { info, body, .. }, integrity } = source;
    Ok(Copied { target: objects.put_part(cx, bucket, part, body, integrity).await?, source: info.version })
}

fn inherited(info: ObjectInfo) -> (SystemHeaders, UserMetadata) {
    let headers = SystemHeaders { storage_class: None, website_redirect_location: None, ..info.headers };
    (headers, info.metadata)
}

/// A condition on a source is never answered by "not modified".
fn unmodified_is_a_failure(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotModified => Error::new(ErrorKind::Precondition, "at least one of the pre-conditions you specified did not hold"),
        _ => error,
    }
}

fn check_size(size: u64) -> Result<()> {
    if size <= limits::PUT_BYTES_MAX {
        return Ok(());
    }
    let message =
        format!("the specified copy source is larger than the maximum allowable size for a copy source: {}", limits::PUT_BYTES_MAX);
    Err(Error::invalid(Fault::InvalidRequest, message))
}
