//! What optional features add to an object: retention, ACLs, encryption, regions.

use crate::{Narrowed, Timestamp};

/// What an object carries of optional features. The default is an object without any of them, and costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// What keeps a version from being deleted.
    pub lock: ObjectLock,
    /// Who else may do what with it; `None`: nobody, it is its owner's alone.
    pub acl: Option<Acl>,
    /// How its content is encrypted, as clients see it.
    pub encryption: Option<Encryption>,
    /// Where its content is to live, within what its bucket allows; `None`: where the bucket's location says.
    pub narrowed: Option<Narrowed>,
}

/// What keeps a version from being deleted.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// Until when.
    pub retention: Option<Retention>,
    /// A legal hold: on or off, with no end of its own; `None` where nobody ever set one.
    pub legal_hold: Option<bool>,
}

/// Until when a version is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Who may end it before.
    pub mode: RetentionMode,
    /// Until when.
    pub until: Timestamp,
}

/// Who may end a retention before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionMode {
    /// Whoever may bypass it, and says so.
    Governance,
    /// Nobody.
    Compliance,
}

/// An access control list.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    /// The organization that owns the object or bucket. Empty: the one that owns the bucket.
    pub owner: String,
    /// Who may do what.
    pub grants: Vec<Grant>,
}

/// One right of an ACL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// Who has a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// An organization: its name is its canonical id.
    Organization(String),
    /// Everyone, signed or not.
    Everyone,
    /// Everyone with an access key of this store.
    Authenticated,
    /// The delivery of access logs.
    LogDelivery,
}

/// A right that an ACL gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read the object, or list the bucket.
    Read,
    /// Write objects of the bucket.
    Write,
    /// Read the ACL.
    ReadAcp,
    /// Write the ACL.
    WriteAcp,
    /// All of them.
    FullControl,
}

/// How content is encrypted, as clients see it.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// With a key of this store (SSE-S3, `AES256`).
    Managed,
    /// With a named key (SSE-KMS, `aws:kms`).
    Kms {
        /// The key, as the client named it.
        key: String,
        /// Whether two layers of encryption were asked for (`aws:kms:dsse`).
        dual: bool,
        /// Whether keys of the bucket were to save requests to the key service. Kept and told; keys here cost no requests.
        bucket_key: bool,
        /// The encryption context, in base64. Kept and told.
        context: Option<String>,
    },
    /// With a key the client sends with every request (SSE-C) and we do not keep.
    Customer {
        /// The MD5 of the key, in base64, as the client sends it.
        key_md5: String,
    },
}
