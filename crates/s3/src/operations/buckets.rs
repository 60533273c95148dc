//! CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response,
    dto::{
        BucketCannedACL, BucketLocationConstraint, CreateBucketConfiguration, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
        DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput,
    },
};
use umbra_core::{BucketName, Entity, ErrorKind, Fault, Location};
use umbra_store::{
    AccessKey, Bucket, BucketSettings, Extras, ListOptions, ListSource, ListStart, ObjectLockSettings, ObjectOwnership, Topology,
    Versioning,
};

use super::{Operations, bucket_ownership};
use crate::{
    access, acl,
    call::Call,
    error::{Answer, Failure},
    extensions, tigris,
};

/// The region that S3 shows as no region at all.
const NAMELESS_REGION: &str = "us-east-1";
/// What Tigris's clients say of a public bucket.
const LISTS_PUBLICLY: &str = "x-amz-acl-public-list-objects-enabled";

/// Creates a bucket in the organization of the access key. Any location constraint will do: one that names no region of the store says nothing.
pub(super) async fn create_bucket(operations: &Operations, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
    let call = Call::of(&request)?;
    let asked = acl::Asked::of(&stated!(request));
    let input = request.input;
    let name = BucketName::parse(&input.bucket)?;
    let key = call.key.as_deref().ok_or(S3ErrorCode::AccessDenied)?;
    let organization = organization(operations, key).await?;
    let mut settings = new_settings(&request.headers, &input, operations.catalog.topology())?;
    if input.object_lock_enabled_for_bucket == Some(true) {
        settings.versioning = Versioning::Enabled;
        Arc::make_mut(&mut settings.extras).object_lock = Some(ObjectLockSettings::default());
    }
    let extras = Arc::make_mut(&mut settings.extras);
    extras.ownership = input.object_ownership.as_ref().map(bucket_ownership::parse).transpose()?;
    if !is_tigris(&request.headers) {
        extras.acl = acl::of_new_bucket(&operations.catalog, &organization, &asked).await?;
    }
    let is_shared = extras.acl.is_some() || settings.public;
    if is_shared && settings.extras.ownership == Some(ObjectOwnership::BucketOwnerEnforced) {
        return Err(S3ErrorCode::InvalidBucketAclWithObjectOwnership.into());
    }
    let is_placed = is_placed(&operations.settings.region, input.create_bucket_configuration.as_ref());
    match operations.catalog.create_bucket(&name, &organization, settings.clone()).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists(Entity::Bucket) => {
            // Who says no place will have any.
            let says_place = extensions::value(&request.headers, extensions::REGIONS).is_some_and(|places| !places.trim().is_empty());
            let is_elsewhere = |bucket: &Bucket| is_placed || (says_place && bucket.settings.location != settings.location);
            again(operations, &name, key, is_elsewhere, &settings).await?
        }
        Err(error) => return Err(error.into()),
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")), bucket_arn: None }))
}

/// The organization the new bucket belongs to. A root key has none of its own.
async fn organization(operations: &Operations, key: &AccessKey) -> Result<String, Failure> {
    if let Some(organization) = &key.organization {
        return Ok(organization.clone());
    }
    let organization = operations.settings.default_organization.clone();
    operations.catalog.ensure_organization(&organization).await?;
    Ok(organization)
}

/// What the request says of the new bucket, in S3's way and in Tigris's.
fn new_settings(headers: &HeaderMap, input: &CreateBucketInput, topology: &Topology) -> Result<BucketSettings, Failure> {
    let class = headers.get("x-amz-storage-class").map(|class| class.to_str().map_err(|_| S3ErrorCode::InvalidStorageClass)).transpose()?;
    let extras = Extras {
        lists_publicly: lists_publicly(headers)?.unwrap_or(false),
        storage_class: tigris::storage_class(class.unwrap_or_default())?,
        ..Extras::default()
    };
    // S3's own public-read opens the list of a bucket; what Tigris's clients mean by it are the objects.
    let public = is_tigris(headers) && is_public(input.acl.as_ref())?;
    let location = new_location(headers, input.create_bucket_configuration.as_ref(), topology)?;
    Ok(BucketSettings { public, location, extras: Arc::new(extras), ..BucketSettings::default() })
}

/// Where the objects of the new bucket are to live: as Tigris's clients say it, or in the region of the store that S3's constraint names.
fn new_location(headers: &HeaderMap, configuration: Option<&CreateBucketConfiguration>, topology: &Topology) -> Result<Location, Failure> {
    let places = extensions::value(headers, extensions::REGIONS).unwrap_or_default();
    let constraint = configuration.and_then(|configuration| configuration.location_constraint.as_ref());
    match constraint.and_then(|constraint| topology.regions().get(constraint.as_str())) {
        Some(region) if places.trim().is_empty() => Ok(Location::Single(region.clone())),
        _ => Ok(topology.location_of(places)?),
    }
}

/// Whether one of Tigris's clients creates a bucket: they always say this, and nobody else does.
fn is_tigris(headers: &HeaderMap) -> bool {
    headers.contains_key(LISTS_PUBLICLY)
}

/// Whether everyone may list the bucket when it is public, where `headers` say so.
pub(crate) fn lists_publicly(headers: &HeaderMap) -> Result<Option<bool>, S3Error> {
    match headers.get(LISTS_PUBLICLY).map(|value| value.as_bytes().to_ascii_lowercase()).as_deref() {
        None => Ok(None),
        Some(b"true") => Ok(Some(true)),
        Some(b"false") => Ok(Some(false)),
        Some(_) => Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "a public listing is switched by true or false")),
    }
}

/// Whether the objects of the bucket are to be readable by everyone.
pub(crate) fn is_public(acl: Option<&BucketCannedACL>) -> Result<bool, S3Error> {
    match acl.map(BucketCannedACL::as_str) {
        None | Some(BucketCannedACL::PRIVATE) => Ok(false),
        Some(BucketCannedACL::PUBLIC_READ) => Ok(true),
        Some(_) => Err(S3Error::with_message(S3ErrorCode::NotImplemented, "Only the canned ACLs private and public-read are supported")),
    }
}

/// Whether a bucket is to be in a region other than S3's first, which has no name in requests. Here that one may also be called `auto`.
fn is_placed(here: &str, configuration: Option<&CreateBucketConfiguration>) -> bool {
    let asked = configuration.and_then(|configuration| configuration.location_constraint.as_ref());
    !matches!(here, NAMELESS_REGION | "auto") || asked.is_some_and(|region| !matches!(region.as_str(), "" | NAMELESS_REGION))
}

/// Answers for the bucket that has the name already. In S3's first region its owner may create it again, so that may be done here too, but
/// only as it is and where it is: S3 would take it for a change of the ACL.
async fn again(
    operations: &Operations,
    name: &BucketName,
    key: &AccessKey,
    is_elsewhere: impl Fn(&Bucket) -> bool,
    asked: &BucketSettings,
) -> Result<(), Failure> {
    let bucket = match operations.catalog.bucket(name).await {
        Ok(bucket) => bucket,
        Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => return Err(S3ErrorCode::OperationAborted.into()),
        Err(error) => return Err(error.into()),
    };
    let is_own = key.organization.as_ref().is_none_or(|organization| *organization == bucket.organization);
    let is_same = || {
        let (kept, asked_extras) = (&bucket.settings.extras, &asked.extras);
        kept.acl == asked_extras.acl && kept.ownership == asked_extras.ownership && bucket.settings.public == asked.public
    };
    match is_own {
        true if is_elsewhere(&bucket) => Err(S3ErrorCode::BucketAlreadyOwnedByYou.into()),
        true if is_same() => Ok(()),
        _ => Err(S3ErrorCode::BucketAlreadyExists.into()),
    }
}

/// Tells that a bucket exists and can be reached.
pub(super) async fn head_bucket(operations: &Operations, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
    let call = Call::of(&request)?;
    let region = region_of(operations, call.bucket()?);
    let mut response = S3Response::new(HeadBucketOutput { bucket_region: Some(region.to_owned()), ..HeadBucketOutput::default() });
    // Tigris's helpers ask before they take snapshots.
    response.headers.insert(HeaderName::from_static("x-tigris-enable-snapshot"), HeaderValue::from_static("false"));
    Ok(response)
}

/// Deletes an empty bucket, or any bucket by force.
pub(super) async fn delete_bucket(operations: &Operations, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
    let call = Call::of(&request)?;
    let force = extensions::is_on(&request.headers, extensions::FORCE_DELETE);
    if force {
        operations.judge.check_force(access::Request::new(&call, call.bucket()?, None, stated!(request)))?;
    } else {
        refuse_if_it_lists_anything(operations, &call).await?;
    }
    operations.shadow.delete_bucket(&call.cx, call.bucket()?, force).await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// A bucket with an origin is not empty while the origin shows something through it, though nothing is here.
async fn refuse_if_it_lists_anything(operations: &Operations, call: &Call) -> Result<(), umbra_core::Error> {
    let bucket = call.bucket()?;
    if bucket.settings.shadow.is_none() {
        return Ok(());
    }
    let mut start = ListStart::First;
    loop {
        let one = ListOptions { prefix: String::new(), delimiter: String::new(), start, limit: 1, source: ListSource::Merged };
        let page = operations.objects.list(&call.cx, bucket, one).await?;
        match page.next {
            _ if !page.objects.is_empty() => break,
            Some(next) => start = ListStart::Continue(next),
            None => return Ok(()),
        }
    }
    Err(umbra_core::Error::invalid(Fault::BucketNotEmpty, "the bucket you tried to delete is not empty"))
}

/// The region that `bucket` is in, which clients may sign for: that of a location with one, or else this server's.
fn region_of<'a>(operations: &'a Operations, bucket: &'a Bucket) -> &'a str {
    match &bucket.settings.location {
        Location::Single(region) if !operations.settings.pin_region && operations.catalog.topology().regions().contains(region) => {
            region.as_str()
        }
        _ => &operations.settings.region,
    }
}

/// Shows the region.
pub(super) async fn get_bucket_location(
    operations: &Operations,
    request: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    let call = Call::of(&request)?;
    let region = region_of(operations, call.bucket()?);
    let location_constraint = (region != NAMELESS_REGION).then(|| BucketLocationConstraint::from(region.to_owned()));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}
