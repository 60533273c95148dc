//! The objects seam: what an S3 front needs, in our types.

use std::fmt;

use async_trait::async_trait;
use umbra_core::{
    Acl, Attributes, Body, ByteRange, Checksum, ChecksumAlgorithm, ChecksumType, ETag, Encryption, ObjectInfo, ObjectKey, PartNumber,
    Preconditions, RangeSpec, RequestContext, Result, Retention, SystemHeaders, Tags, Timestamp, UploadId, UserMetadata, VersionId,
};

use crate::{Bucket, Cause, CustomerKey, Sealing};

/// Objects in buckets.
///
/// [`crate::Native`] keeps them here; the shadow wraps a `Native`, implements this same trait and adds an origin. A write that returned
/// is durable. Reads see every write that returned before they began.
#[async_trait]
pub trait Objects: fmt::Debug + Send + Sync + 'static {
    /// Reads an object, or a range or part of it.
    async fn get(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: GetOptions) -> Result<GetObject>;

    /// Tells what is known of an object. `range` in the options is ignored.
    async fn head(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: GetOptions) -> Result<ObjectInfo>;

    /// Stores an object whole. A body that fails, or contradicts `integrity` or its announced size, changes nothing.
    async fn put(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, body: Body, options: PutOptions) -> Result<PutObject>;

    /// Deletes an object, or a version of it; deleting what is absent is no error. Where versioning is on, deleting an object makes a delete
    /// marker.
    async fn delete(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: DeleteOptions) -> Result<Deleted>;

    /// One page of a listing in byte order of keys.
    async fn list(&self, cx: &RequestContext, bucket: &Bucket, options: ListOptions) -> Result<ListPage>;

    /// One page of the versions of objects, by key, each key's from the newest on.
    async fn list_versions(&self, cx: &RequestContext, bucket: &Bucket, options: ListVersions) -> Result<VersionsPage>;

    /// The tags of an object or a version of it, and which version that is.
    async fn tags(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<(Tags, VersionId)>;

    /// Replaces the tags of an object or a version of it, and tells which version that is; an empty set removes them.
    async fn put_tags(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Tags,
    ) -> Result<VersionId>;

    /// Changes what keeps an object, or a version of it, from being deleted.
    async fn put_lock(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        change: LockChange,
    ) -> Result<()>;

    /// The ACL of an object or a version of it; `None` for an object without one, and for one that is not here. ACLs exist only here: no origin is ever asked.
    async fn acl(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, version: Option<VersionId>) -> Result<Option<Acl>>;

    /// Replaces the ACL of an object or a version of it. A cold object is brought here first, to have one. Where another object is there than
    /// the one it was decided for, that is [`umbra_core::ErrorKind::Conflict`].
    async fn put_acl(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        change: AclChange,
    ) -> Result<()>;

    /// Begins a multipart upload.
    async fn create_upload(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, options: CreateUpload) -> Result<UploadId>;

    /// Tells how an upload was begun.
    async fn upload(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<CreateUpload>;

    /// Stores a part, replacing an earlier one of the same number.
    async fn put_part(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        part: PartAddress<'_>,
        body: Body,
        integrity: Integrity,
    ) -> Result<PutObject>;

    /// Turns the named parts into the object. Repeating a completion that succeeded succeeds while the object stands.
    async fn complete_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        options: CompleteUpload,
    ) -> Result<PutObject>;

    /// Drops an upload and its parts.
    async fn abort_upload(&self, cx: &RequestContext, bucket: &Bucket, key: &ObjectKey, upload: &UploadId) -> Result<()>;

    /// The parts of an upload behind `after`, at most `limit`.
    async fn list_parts(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartsPage>;

    /// Uploads in progress, by key, then by identifier.
    async fn list_uploads(&self, cx: &RequestContext, bucket: &Bucket, options: ListUploads) -> Result<UploadsPage>;
}

/// A new ACL of an object.
#[derive(Clone, Debug)]
pub struct AclChange {
    /// The ETag and the ACL of the object that it was decided for; of whatever is there when `None`.
    pub judged: Option<(ETag, Option<Acl>)>,
    /// The new ACL; `None` for none.
    pub acl: Option<Acl>,
}

impl AclChange {
    /// `acl` for whatever is there.
    pub const fn to(acl: Option<Acl>) -> Self {
        Self { judged: None, acl }
    }
}

/// How to read.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// The wanted version; the current object when `None`.
    pub version: Option<VersionId>,
    /// The wanted range.
    pub range: Option<RangeSpec>,
    /// The wanted part; excludes `range`.
    pub part_number: Option<PartNumber>,
    /// Whether a look at the headers is to tell the parts as well, where that costs something.
    pub wants_parts: bool,
    /// Conditions.
    pub preconditions: Preconditions,
    /// The client's key, for content that is encrypted with it.
    pub customer_key: Option<CustomerKey>,
    /// Whether a look is only for what is recorded, which needs no such key.
    pub is_of_record: bool,
}

/// An object being read.
#[derive(Debug)]
pub struct GetObject {
    /// What is known of the whole object.
    pub info: ObjectInfo,
    /// The range of it that `body` carries, when a range or part was asked for (206).
    pub range: Option<ByteRange>,
    /// The content. Its size is always announced.
    pub body: Body,
}

/// What a client announced of a body, for us to verify, and how it is to be kept.
#[derive(Debug, Default)]
pub struct Integrity {
    /// `Content-MD5`.
    pub content_md5: Option<[u8; 16]>,
    /// The checksum to compute, and the value it must have.
    pub checksum: Option<ExpectedChecksum>,
    /// How it is to be encrypted. Of a part only the client's own key counts: the rest was said when the upload began.
    pub sealing: Option<Sealing>,
}

/// A checksum to compute over a body.
#[derive(Debug)]
pub struct ExpectedChecksum {
    /// Its algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// The value the client announced.
    pub value: Expected,
}

/// An announced value.
pub enum Expected {
    /// None: compute and keep it.
    Unknown,
    /// Announced before the body: base64.
    Value(String),
    /// Announced behind the body, in a trailer: ask once the body has been read to its end. `None` when the trailer did not come.
    Trailer(Box<dyn FnOnce() -> Option<String> + Send>),
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("Unknown"),
            Self::Value(value) => f.debug_tuple("Value").field(value).finish(),
            Self::Trailer(_) => f.write_str("Trailer"),
        }
    }
}

/// How to store.
#[derive(Debug, Default)]
pub struct PutOptions {
    /// Stored headers.
    pub headers: SystemHeaders,
    /// User metadata.
    pub metadata: UserMetadata,
    /// Tags.
    pub tags: Tags,
    /// What S3's optional features add.
    pub attributes: Attributes,
    /// Conditions on what the key holds.
    pub preconditions: Preconditions,
    /// What the body must be.
    pub integrity: Integrity,
    /// How it comes to be put.
    pub cause: Cause,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutObject {
    /// The ETag.
    pub etag: ETag,
    /// Checksums over it.
    pub checksums: Vec<Checksum>,
    /// Bytes of content.
    pub size: u64,
    /// When.
    pub last_modified: Timestamp,
    /// As which version.
    pub version: VersionId,
    /// How it is encrypted.
    pub encryption: Option<Encryption>,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// The version to delete for good; the object when `None`.
    pub version: Option<VersionId>,
    /// Whether to delete what is kept by a retention that may be bypassed.
    pub bypass_governance: bool,
    /// Conditions on what is to be deleted.
    pub preconditions: Preconditions,
}

/// What a delete did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The version that was deleted, or the delete marker that was made; `None` where there are no versions.
    pub version: Option<VersionId>,
    /// Whether that is a delete marker.
    pub is_marker: bool,
}

/// A change to what keeps a version from being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockChange {
    /// Another retention.
    Retention {
        /// Until when and how strictly; `None` ends it.
        retention: Option<Retention>,
        /// Whether to loosen one that may be bypassed.
        bypass_governance: bool,
    },
    /// A legal hold, on or off.
    LegalHold(bool),
}

/// Which page of versions to list.
#[derive(Clone, Debug, Default)]
pub struct ListVersions {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Rolls keys up into common prefixes; empty means none.
    pub delimiter: String,
    /// Behind this key or common prefix …
    pub key_marker: Option<String>,
    /// … or at this key, behind this version.
    pub version_marker: Option<VersionId>,
    /// The most versions, delete markers and common prefixes together.
    pub limit: usize,
}

/// One version of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// The object; of a delete marker only its key and date mean anything.
    pub object: ListedObject,
    /// Which version it is.
    pub version: VersionId,
    /// Whether it is the newest of its key.
    pub is_latest: bool,
    /// Whether it is a delete marker.
    pub is_marker: bool,
}

/// One page of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionsPage {
    /// Versions and delete markers by key, each key's from the newest on.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes in byte order.
    pub common_prefixes: Vec<String>,
    /// Behind which key or common prefix, and which version of it, the next page begins; `None` on the last.
    pub next: Option<(String, Option<VersionId>)>,
}

/// Which side of a bucket with a shadow to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListSource {
    /// Both, as one bucket.
    #[default]
    Merged,
    /// Only what is here.
    Local,
    /// Only what the origin holds and is not gone here.
    Origin,
}

/// Which page to list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Rolls keys up into common prefixes; empty means none.
    pub delimiter: String,
    /// Where to begin.
    pub start: ListStart,
    /// The most keys and common prefixes together; 0 gives an empty page that is not truncated.
    pub limit: usize,
    /// Which side.
    pub source: ListSource,
}

/// Where a listing begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListStart {
    /// At the first key.
    #[default]
    First,
    /// Behind a key or common prefix: `start-after`, `marker`. A common prefix that is not greater than it is left out whole.
    After(String),
    /// Where an earlier page ended: its [`ListPage::next`].
    Continue(String),
}

/// One key of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The key.
    pub key: ObjectKey,
    /// Bytes of content.
    pub size: u64,
    /// The ETag.
    pub etag: ETag,
    /// When it was last written.
    pub last_modified: Timestamp,
    /// Its storage class, unless STANDARD.
    pub storage_class: Option<String>,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Keys in byte order.
    pub objects: Vec<ListedObject>,
    /// Common prefixes in byte order.
    pub common_prefixes: Vec<String>,
    /// An opaque token for the next page; `None` on the last. Set on an empty page only where an origin lists very many keys that are gone here.
    pub next: Option<String>,
    /// The last key or common prefix of this page, whichever is greater, or the last name that was looked at behind it: the next `marker` of
    /// ListObjects v1.
    pub last: Option<String>,
}

/// How an upload begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateUpload {
    /// Stored headers of the object to be.
    pub headers: SystemHeaders,
    /// User metadata of the object to be.
    pub metadata: UserMetadata,
    /// Tags of the object to be.
    pub tags: Tags,
    /// What S3's optional features add to the object to be.
    pub attributes: Attributes,
    /// The checksum every part is to carry, and what the object's is to cover.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    /// Which organization begins it; `None` for that of the bucket.
    pub initiator: Option<String>,
}

impl CreateUpload {
    /// Which organization the object will belong to; `None` for that of the bucket.
    pub fn owner(&self) -> Option<&str> {
        self.attributes.acl.as_ref().map(|acl| acl.owner.as_str()).filter(|owner| !owner.is_empty())
    }
}

/// Which part of which upload.
#[derive(Clone, Copy, Debug)]
pub struct PartAddress<'a> {
    /// The key the upload is for.
    pub key: &'a ObjectKey,
    /// The upload.
    pub upload: &'a UploadId,
    /// The part.
    pub number: PartNumber,
}

/// A part as the client names it on completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: PartNumber,
    /// Its ETag.
    pub etag: ETag,
    /// Its checksum, when given.
    pub checksum: Option<Checksum>,
}

/// How to complete an upload.
#[derive(Clone, Debug, Default)]
pub struct CompleteUpload {
    /// The parts, which must be in ascending order.
    pub parts: Vec<CompletedPart>,
    /// Conditions on what the key holds.
    pub preconditions: Preconditions,
    /// The checksum of the whole, when the client gave one (`x-amz-checksum-*`): the value must match.
    pub checksum: Option<Checksum>,
    /// The size of the whole, when the client gave one (`x-amz-mp-object-size`): it must match.
    pub size: Option<u64>,
    /// The client's key, when it gave it again: it must be the one the upload began with.
    pub customer_key: Option<CustomerKey>,
}

/// A part that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// Bytes of content.
    pub size: u64,
    /// The ETag.
    pub etag: ETag,
    /// When it was stored.
    pub last_modified: Timestamp,
    /// Checksums over it.
    pub checksums: Vec<Checksum>,
}

/// One page of parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartsPage {
    /// Parts in ascending order.
    pub parts: Vec<ListedPart>,
    /// Whether there are more.
    pub truncated: bool,
}

/// Which page of uploads to list.
#[derive(Clone, Debug, Default)]
pub struct ListUploads {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Rolls keys up into common prefixes; empty means none.
    pub delimiter: String,
    /// Behind this key …
    pub key_marker: Option<String>,
    /// … or at this key, behind this upload.
    pub upload_marker: Option<UploadId>,
    /// The most uploads and common prefixes together.
    pub limit: usize,
}

/// An upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    /// The key it is for.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// When it began.
    pub initiated: Timestamp,
    /// Which organization began it; `None` for that of the bucket.
    pub initiator: Option<String>,
    /// Which organization the object will belong to; `None` for that of the bucket.
    pub owner: Option<String>,
}

/// One page of uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadsPage {
    /// Uploads by key, then by identifier.
    pub uploads: Vec<ListedUpload>,
    /// Common prefixes.
    pub common_prefixes: Vec<String>,
    /// Whether there are more.
    pub truncated: bool,
}
