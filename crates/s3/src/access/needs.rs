//! What each operation needs: the role, the actions as policies name them, and the right that an ACL can give instead.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>

use http::HeaderMap;
use umbra_core::Permission::{self, Read, ReadAcp, Write, WriteAcp};
use umbra_store::Action;

use super::facts::Stated;
use crate::acl;

/// One thing that a request must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// As policies name it.
    pub(crate) action: &'static str,
    /// What an access key of the bucket's organization must be allowed.
    pub(crate) role: Action,
    /// What an ACL must grant to all others.
    pub(crate) acl: ByAcl,
}

/// What an ACL can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByAcl {
    /// Nothing of this.
    No,
    /// It, if the bucket's grants this.
    Bucket(Permission),
    /// It, if the object's grants this.
    Object(Permission),
}

/// What an operation needs, whatever comes with it.
#[derive(Clone, Copy, Debug)]
struct Row {
    operation: &'static str,
    need: Need,
    /// What it is called instead where a version is named.
    versioned: Option<&'static str>,
}

const fn row(operation: &'static str, action: &'static str, role: Action, acl: ByAcl) -> Row {
    Row { operation, need: Need { action, role, acl }, versioned: None }
}

const fn versioned(operation: &'static str, action: &'static str, version: &'static str, role: Action, acl: ByAcl) -> Row {
    Row { operation, need: Need { action, role, acl }, versioned: Some(version) }
}

/// What configures a bucket.
const fn manages(operation: &'static str, action: &'static str) -> Row {
    row(operation, action, Action::ManageBuckets, ByAcl::No)
}

/// What writes an object.
const fn writes(operation: &'static str) -> Row {
    row(operation, PUT_OBJECT, Action::Write, ByAcl::Bucket(Write))
}

const PUT_OBJECT: &str = "s3:PutObject";

/// To read an object.
pub(crate) const GET_OBJECT: Need = Need { action: "s3:GetObject", role: Action::Read, acl: ByAcl::Object(Read) };
/// To read a version of an object.
pub(crate) const GET_OBJECT_VERSION: Need = Need { action: "s3:GetObjectVersion", ..GET_OBJECT };
/// To read the tags of an object.
pub(crate) const GET_TAGGING: Need = Need { action: "s3:GetObjectTagging", role: Action::Read, acl: ByAcl::No };
/// To list a bucket.
pub(crate) const LIST: Need = Need { action: "s3:ListBucket", role: Action::List, acl: ByAcl::Bucket(Read) };
/// To delete an object.
pub(crate) const DELETE: Need = Need { action: "s3:DeleteObject", role: Action::Write, acl: ByAcl::Bucket(Write) };
/// To delete a version of an object.
pub(crate) const DELETE_VERSION: Need = Need { action: "s3:DeleteObjectVersion", ..DELETE };
/// To end a retention in governance mode before its time.
pub(crate) const BYPASS: Need = Need { action: "s3:BypassGovernanceRetention", role: Action::ManageBuckets, acl: ByAcl::No };

/// The operations on a bucket that exists and on what is in it, by name.
const TABLE: [Row; 76] = {
    use Action::{List, ManageBuckets, Read as Reads, Write as Writes};
    use ByAcl::{Bucket, No, Object};
    [
        row("AbortMultipartUpload", "s3:AbortMultipartUpload", Writes, Bucket(Write)),
        writes("CompleteMultipartUpload"),
        writes("CopyObject"),
        writes("CreateMultipartUpload"),
        manages("DeleteBucket", "s3:DeleteBucket"),
        manages("DeleteBucketCors", "s3:PutBucketCORS"),
        manages("DeleteBucketEncryption", "s3:PutEncryptionConfiguration"),
        manages("DeleteBucketLifecycle", "s3:PutLifecycleConfiguration"),
        manages("DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
        manages("DeleteBucketPolicy", "s3:DeleteBucketPolicy"),
        manages("DeleteBucketReplication", "s3:PutReplicationConfiguration"),
        manages("DeleteBucketTagging", "s3:PutBucketTagging"),
        manages("DeleteBucketWebsite", "s3:DeleteBucketWebsite"),
        versioned("DeleteObject", DELETE.action, DELETE_VERSION.action, Writes, DELETE.acl),
        versioned("DeleteObjectTagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging", Writes, No),
        versioned("DeleteObjects", DELETE.action, DELETE_VERSION.action, Writes, DELETE.acl),
        manages("DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
        manages("GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration"),
        row("GetBucketAcl", "s3:GetBucketAcl", ManageBuckets, Bucket(ReadAcp)),
        manages("GetBucketCors", "s3:GetBucketCORS"),
        manages("GetBucketEncryption", "s3:GetEncryptionConfiguration"),
        manages("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration"),
        row("GetBucketLocation", "s3:GetBucketLocation", List, No),
        manages("GetBucketLogging", "s3:GetBucketLogging"),
        manages("GetBucketNotificationConfiguration", "s3:GetBucketNotification"),
        manages("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls"),
        manages("GetBucketPolicy", "s3:GetBucketPolicy"),
        manages("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus"),
        manages("GetBucketReplication", "s3:GetReplicationConfiguration"),
        manages("GetBucketRequestPayment", "s3:GetBucketRequestPayment"),
        manages("GetBucketTagging", "s3:GetBucketTagging"),
        row("GetBucketVersioning", "s3:GetBucketVersioning", List, No),
        manages("GetBucketWebsite", "s3:GetBucketWebsite"),
        versioned("GetObject", GET_OBJECT.action, GET_OBJECT_VERSION.action, Reads, GET_OBJECT.acl),
        versioned("GetObjectAcl", "s3:GetObjectAcl", "s3:GetObjectVersionAcl", Reads, Object(ReadAcp)),
        versioned("GetObjectAttributes", GET_OBJECT.action, GET_OBJECT_VERSION.action, Reads, GET_OBJECT.acl),
        row("GetObjectLegalHold", "s3:GetObjectLegalHold", Reads, No),
        manages("GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration"),
        row("GetObjectRetention", "s3:GetObjectRetention", Reads, No),
        versioned("GetObjectTagging", GET_TAGGING.action, "s3:GetObjectVersionTagging", Reads, No),
        manages("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
        row("HeadBucket", LIST.action, List, LIST.acl),
        versioned("HeadObject", GET_OBJECT.action, GET_OBJECT_VERSION.action, Reads, GET_OBJECT.acl),
        manages("ListBucketAnalyticsConfigurations", "s3:GetAnalyticsConfiguration"),
        manages("ListBucketIntelligentTieringConfigurations", "s3:GetIntelligentTieringConfiguration"),
        manages("ListBucketInventoryConfigurations", "s3:GetInventoryConfiguration"),
        manages("ListBucketMetricsConfigurations", "s3:GetMetricsConfiguration"),
        row("ListMultipartUploads", "s3:ListBucketMultipartUploads", List, LIST.acl),
        row("ListObjectVersions", "s3:ListBucketVersions", List, LIST.acl),
        row("ListObjects", LIST.action, List, LIST.acl),
        row("ListObjectsV2", LIST.action, List, LIST.acl),
        row("ListParts", "s3:ListMultipartUploadParts", List, Bucket(Write)),
        manages("PutBucketAccelerateConfiguration", "s3:PutAccelerateConfiguration"),
        row("PutBucketAcl", "s3:PutBucketAcl", ManageBuckets, Bucket(WriteAcp)),
        manages("PutBucketCors", "s3:PutBucketCORS"),
        manages("PutBucketEncryption", "s3:PutEncryptionConfiguration"),
        manages("PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
        manages("PutBucketLogging", "s3:PutBucketLogging"),
        manages("PutBucketNotificationConfiguration", "s3:PutBucketNotification"),
        manages("PutBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
        manages("PutBucketPolicy", "s3:PutBucketPolicy"),
        manages("PutBucketReplication", "s3:PutReplicationConfiguration"),
        manages("PutBucketRequestPayment", "s3:PutBucketRequestPayment"),
        manages("PutBucketTagging", "s3:PutBucketTagging"),
        manages("PutBucketVersioning", "s3:PutBucketVersioning"),
        manages("PutBucketWebsite", "s3:PutBucketWebsite"),
        writes("PutObject"),
        versioned("PutObjectAcl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl", Writes, Object(WriteAcp)),
        row("PutObjectLegalHold", "s3:PutObjectLegalHold", Writes, No),
        manages("PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration"),
        row("PutObjectRetention", "s3:PutObjectRetention", Writes, No),
        versioned("PutObjectTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging", Writes, No),
        manages("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
        row("RestoreObject", "s3:RestoreObject", Writes, No),
        writes("UploadPart"),
        writes("UploadPartCopy"),
    ]
};

/// Whether the operation `name` works on a bucket that exists; `None` for one that we do not have.
pub(super) fn is_in_bucket(name: &str) -> Option<bool> {
    match name {
        "ListBuckets" | "CreateBucket" => Some(false),
        name => found(name).map(|_| true),
    }
}

/// What the operation `name` needs, with what `stated` says of it, in a bucket of `owner`.
pub(super) fn of(name: &str, stated: &Stated<'_>, owner: &str) -> Vec<Need> {
    let Some(row) = found(name) else { return Vec::new() };
    let has_version = stated.parameter("versionId").is_some_and(|version| !version.is_empty());
    let action = row.versioned.filter(|_| has_version).unwrap_or(row.need.action);
    let mut needs = vec![Need { action, ..row.need }];
    let mut also = |action, acl| needs.push(Need { action, role: Action::Write, acl });
    match name {
        "GetObjectAttributes" => {
            let action = if has_version { "s3:GetObjectVersionAttributes" } else { "s3:GetObjectAttributes" };
            needs.push(Need { action, ..GET_OBJECT });
        }
        "PutObject" | "CopyObject" | "CreateMultipartUpload" => {
            // Who may write an object may say what it is to be, but for what opens it to others or keeps it from its bucket's owner.
            if acl::opens(stated, owner) {
                also("s3:PutObjectAcl", ByAcl::Bucket(Write));
            }
            if stated.header("x-amz-tagging").is_some_and(|tags| !tags.is_empty()) {
                also("s3:PutObjectTagging", ByAcl::Bucket(Write));
            }
            if stated.header("x-amz-object-lock-mode").is_some() || stated.header("x-amz-object-lock-retain-until-date").is_some() {
                also("s3:PutObjectRetention", ByAcl::No);
            }
            if stated.header("x-amz-object-lock-legal-hold").is_some() {
                also("s3:PutObjectLegalHold", ByAcl::No);
            }
        }
        "DeleteObject" | "PutObjectRetention" if bypasses(stated.headers) => needs.push(BYPASS),
        _ => {}
    }
    needs
}

/// Whether a retention in governance mode is to be ended before its time.
pub(crate) fn bypasses(headers: &HeaderMap) -> bool {
    headers.get("x-amz-bypass-governance-retention").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

fn found(name: &str) -> Option<&'static Row> {
    TABLE.binary_search_by(|row| row.operation.cmp(name)).ok().map(|at| &TABLE[at])
}

#[cfg(test)]
mod tests {
    use super::{TABLE, is_in_bucket};

    #[test]
    fn the_table_is_in_order() {
        assert!(TABLE.is_sorted_by(|a, b| a.operation < b.operation));
    }

    #[test]
    fn operations_we_do_not_have_are_nobodys() {
        assert_eq!(is_in_bucket("CreateBucketMetadataTableConfiguration"), None);
        assert_eq!(is_in_bucket(""), None);
        assert_eq!(is_in_bucket("ListBuckets"), Some(false));
        assert_eq!(is_in_bucket("PutObject"), Some(true));
    }
}
