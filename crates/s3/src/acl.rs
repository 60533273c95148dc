//! Access control lists: what requests say of them, what they become, and how they are shown.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>. An organization's name is its canonical id and its display
//! name. `None` is the ACL of what is its owner's alone, which is what a bucket or an object has that nobody gave another.

mod canned;
mod document;
mod headers;

use s3s::{
    S3Error, S3ErrorCode,
    dto::{AccessControlPolicy, TargetGrant},
};
use umbra_core::{Acl, Grant, Grantee, Permission};
use umbra_store::{AccessKey, Bucket, Catalog, ObjectOwnership};

pub(crate) use self::{
    document::{shown, shown_of_logs},
    headers::Asked,
};

use crate::{
    access::{Stated, is_enforced, public_access},
    error::Failure,
};

/// The most grants of one ACL, as S3 has it.
const GRANTS_MAX: usize = 100;

/// What a request says of the ACL that it replaces another by.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// In its headers.
    pub(crate) asked: Asked,
    /// In its document.
    pub(crate) document: Option<AccessControlPolicy>,
}

impl Wanted {
    async fn resolve(self, catalog: &Catalog, owner: &str, bucket_owner: Option<&str>) -> Result<Acl, Failure> {
        let Self { asked, document } = self;
        match document {
            Some(_) if !asked.is_empty() => Err(S3ErrorCode::UnexpectedContent.into()),
            Some(document) => document::taken(catalog, document, owner).await,
            None if asked.is_empty() => Err(S3ErrorCode::MissingSecurityHeader.into()),
            None => Ok(Acl { owner: owner.to_owned(), grants: asked.resolve(catalog, owner, bucket_owner).await? }),
        }
    }
}

/// Whether a write asks for more than that who writes and `owner`, the bucket's, have all rights or some.
pub(crate) fn opens(stated: &Stated<'_>, owner: &str) -> bool {
    let opens = |canned: &str| !matches!(canned, "private" | "bucket-owner-read" | "bucket-owner-full-control");
    let asked = Asked::of(stated);
    asked.canned.as_deref().is_some_and(opens)
        || asked
            .grants
            .iter()
            .any(|(_, text)| headers::grantees(text).is_none_or(|named| named.iter().any(|(kind, name)| kind != "id" || name != owner)))
}

/// The ACL that an object written by `key` into `bucket` is to have.
pub(crate) async fn on_write(catalog: &Catalog, key: Option<&AccessKey>, bucket: &Bucket, asked: &Asked) -> Result<Option<Acl>, Failure> {
    let canned = asked.canned.as_deref();
    if is_enforced(bucket) {
        let asks = !asked.grants.is_empty() || canned.is_some_and(|canned| canned != canned::BUCKET_OWNER_FULL_CONTROL);
        return if asks { Err(not_supported()) } else { Ok(None) };
    }
    let ownership = bucket.settings.extras.ownership;
    let is_given_up = ownership == Some(ObjectOwnership::BucketOwnerPreferred) && canned == Some(canned::BUCKET_OWNER_FULL_CONTROL);
    // What nobody or the operator writes belongs to the bucket's owner: there must be somebody who can read it.
    let writer = key.and_then(|key| key.organization.as_ref()).filter(|_| !is_given_up).unwrap_or(&bucket.organization);
    let acl = Acl { owner: writer.clone(), grants: asked.resolve(catalog, writer, Some(&bucket.organization)).await? };
    refuse_public(&acl.grants, bucket)?;
    Ok(if asked.is_empty() { kept(acl, &bucket.organization) } else { kept_of_object(acl, bucket) })
}

/// The ACL that replaces the one of an object of `owner`.
pub(crate) async fn of_object(catalog: &Catalog, bucket: &Bucket, owner: &str, wanted: Wanted) -> Result<Option<Acl>, Failure> {
    if is_enforced(bucket) {
        return Err(not_supported());
    }
    let acl = wanted.resolve(catalog, owner, Some(&bucket.organization)).await?;
    refuse_public(&acl.grants, bucket)?;
    Ok(kept_of_object(acl, bucket))
}

/// The ACL that replaces the one of `bucket`.
pub(crate) async fn of_bucket(catalog: &Catalog, bucket: &Bucket, wanted: Wanted) -> Result<Option<Acl>, Failure> {
    if is_enforced(bucket) {
        return Err(not_supported());
    }
    let acl = wanted.resolve(catalog, &bucket.organization, None).await?;
    refuse_public(&acl.grants, bucket)?;
    Ok(kept(acl, &bucket.organization))
}

/// The ACL of a new bucket of `owner`.
pub(crate) async fn of_new_bucket(catalog: &Catalog, owner: &str, asked: &Asked) -> Result<Option<Acl>, Failure> {
    let acl = Acl { owner: owner.to_owned(), grants: asked.resolve(catalog, owner, None).await? };
    Ok(kept(acl, owner))
}

/// What others may do with the logs that are written into `target`.
pub(crate) async fn of_logs(catalog: &Catalog, target: &Bucket, given: Vec<TargetGrant>) -> Result<Vec<Grant>, Failure> {
    let grants = document::taken_of_logs(catalog, given, &target.organization).await?;
    if is_enforced(target) && !grants.is_empty() {
        return Err(not_supported());
    }
    refuse_public(&grants, target)?;
    Ok(grants)
}

/// What `bucket` shows as its ACL.
pub(crate) fn shown_bucket(bucket: &Bucket) -> Acl {
    let owner = &bucket.organization;
    match &bucket.settings.extras.acl {
        Some(acl) if !is_enforced(bucket) => acl.clone(),
        _ if bucket.settings.public => Acl { owner: owner.clone(), grants: vec![everyone_reads(), controls(owner)] },
        _ => private(owner),
    }
}

/// The ACL of what is `owner`'s alone.
pub(crate) fn private(owner: &str) -> Acl {
    Acl { owner: owner.to_owned(), grants: vec![controls(owner)] }
}

/// Whether `grants` give anything to everyone, or to everyone with an access key.
pub(crate) fn is_public(grants: &[Grant]) -> bool {
    grants.iter().any(|grant| matches!(grant.grantee, Grantee::Everyone | Grantee::Authenticated))
}

fn controls(owner: &str) -> Grant {
    Grant { grantee: Grantee::Organization(owner.to_owned()), permission: Permission::FullControl }
}

fn everyone_reads() -> Grant {
    Grant { grantee: Grantee::Everyone, permission: Permission::Read }
}

/// What is to be recorded of `acl` for something of `owner`'s, or in a bucket of `owner`'s.
fn kept(acl: Acl, owner: &str) -> Option<Acl> {
    (acl != private(owner)).then_some(acl)
}

/// What is to be recorded of the ACL that an object of `bucket` was given: in a public one without any it would be as public as that.
fn kept_of_object(acl: Acl, bucket: &Bucket) -> Option<Acl> {
    if bucket.settings.public { Some(acl) } else { kept(acl, &bucket.organization) }
}

fn refuse_public(grants: &[Grant], bucket: &Bucket) -> Result<(), Failure> {
    if public_access(bucket).block_acls && is_public(grants) {
        let message = "The bucket's public access block refuses public ACLs";
        return Err(S3Error::with_message(S3ErrorCode::AccessDenied, message).into());
    }
    Ok(())
}

fn not_supported() -> Failure {
    S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs").into()
}
