//! The origin: a bucket elsewhere, a subset of S3.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use umbra_core::{Body, ByteRange, ETag, Error, ErrorKind, ObjectInfo, ObjectKey, PartInfo, PartNumber, SystemHeaders, Tags, UserMetadata};
use umbra_store::ListedObject;

pub(crate) mod folding;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod observed;
pub mod s3;
mod uncarried;

pub(crate) use observed::ObservedOrigin;
pub use uncarried::Uncarried;

/// A result of an origin.
pub type Result<T, E = OriginError> = std::result::Result<T, E>;

/// Why the origin did not do as asked.
#[derive(Clone, Debug)]
pub struct OriginError {
    /// What to tell the caller. Its kind is [`ErrorKind::NotFound`] only when the origin said so with authority.
    pub error: Error,
    /// Whether a write may have been applied all the same: the request went out and no answer came back.
    pub outcome_unknown: bool,
}

impl OriginError {
    /// A failure that certainly changed nothing.
    pub const fn certain(error: Error) -> Self {
        Self { error, outcome_unknown: false }
    }

    /// Whether the origin said with authority that the thing does not exist.
    pub const fn is_not_found(&self) -> bool {
        matches!(self.error.kind(), ErrorKind::NotFound(_))
    }
}

impl From<OriginError> for Error {
    fn from(error: OriginError) -> Self {
        error.error
    }
}

/// The shadows a request has passed, this one included: sent along so that a chain of shadows that leads back is noticed.
#[derive(Clone, Debug, Default)]
pub struct ShadowPath(pub Vec<String>);

/// An object being read at the origin.
#[derive(Debug)]
pub struct OriginObject {
    /// What the origin tells of the whole object; its size is 0 while `size` is unknown.
    pub info: ObjectInfo,
    /// Bytes of the whole object; `None` when the origin sends no length.
    pub size: Option<u64>,
    /// Whether the ETag has the form of an MD5 and, for all the origin says, is the MD5 of the content.
    pub etag_is_md5: bool,
    /// Whether the info names the tags' count for certain: when false, tags must be asked for.
    pub tags_known: bool,
    /// The range of it that `body` carries; `None` for the whole.
    pub range: Option<ByteRange>,
    /// What of it cannot be brought here.
    pub uncarried: Vec<Uncarried>,
    /// The content; fails if the origin breaks off or sends more or less than it announced.
    pub body: Body,
}

/// What the origin tells of an object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginHead {
    /// What it tells of the object.
    pub info: ObjectInfo,
    /// What of it cannot be brought here.
    pub uncarried: Vec<Uncarried>,
}

/// Where one part of a multipart object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartRange {
    /// Its bytes.
    pub range: ByteRange,
    /// Bytes of the whole object.
    pub size: u64,
    /// How many parts there are, where the origin says.
    pub count: Option<u16>,
}

/// What a write asks to be judged by the origin itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutConditions {
    /// Only if there is no such object: `If-None-Match: *`.
    pub if_absent: bool,
    /// Only if the object has this ETag: `If-Match`.
    pub if_match: Option<ETag>,
}

impl PutConditions {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        !self.if_absent && self.if_match.is_none()
    }
}

/// The order in which an origin lists its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// Not known yet: nothing listed so far tells the two apart.
    #[default]
    Unknown,
    /// UTF-8 bytes, as S3 has it.
    Bytes,
    /// As if `/` came before every other character, so that what lies below a name comes before its neighbours.
    Directories,
}

/// What a write carries besides its content.
#[derive(Clone, Debug, Default)]
pub struct OriginAttributes {
    /// Stored headers.
    pub headers: SystemHeaders,
    /// User metadata.
    pub metadata: UserMetadata,
    /// Tags.
    pub tags: Tags,
}

/// Which page of the origin to list.
#[derive(Clone, Debug, Default)]
pub struct OriginList {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Rolls keys up; empty means none.
    pub delimiter: String,
    /// Behind this key; `token` goes before it.
    pub after: Option<String>,
    /// Where the page before this one ended.
    pub token: Option<String>,
    /// The most keys and common prefixes together.
    pub limit: usize,
}

/// One page of the origin, in the origin's order.
#[derive(Clone, Debug, Default)]
pub struct OriginPage {
    /// Keys.
    pub objects: Vec<ListedObject>,
    /// Common prefixes.
    pub common_prefixes: Vec<String>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// A part of an upload at the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPart {
    /// Its number.
    pub number: PartNumber,
    /// The origin's ETag of it.
    pub etag: ETag,
    /// Bytes of content.
    pub size: u64,
}

/// A bucket elsewhere.
///
/// Every method may fail with [`ErrorKind::OriginUnavailable`] or [`ErrorKind::OriginRefused`]; absence is told only when the origin says so.
#[async_trait]
pub trait Origin: fmt::Debug + Send + Sync + 'static {
    /// Reads an object or a range of it, only if it still has `if_match`. An origin that ignores the range answers with the whole.
    async fn get(&self, path: &ShadowPath, key: &ObjectKey, range: Option<ByteRange>, if_match: Option<&ETag>) -> Result<OriginObject>;

    /// Tells what is known of an object; moves no body.
    async fn head(&self, path: &ShadowPath, key: &ObjectKey) -> Result<OriginHead>;

    /// What the headers of an object tell, for one who reads it at the same time: where they say too little nothing more is asked. A failure says
    /// nothing of the object, and a size of 0 may be one that was not told.
    async fn head_alone(&self, path: &ShadowPath, key: &ObjectKey) -> Result<ObjectInfo> {
        Ok(self.head(path, key).await?.info)
    }

    /// Whether an object still has `etag`. Asks conditionally and moves no body.
    async fn is_unchanged(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<bool>;

    /// The size of one part of a multipart object, while it still has `etag`; `None` where the origin cannot tell.
    async fn part_size(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<u64>>;

    /// Where one part of a multipart object lies, while it still has `etag`; `None` where the origin cannot tell.
    async fn part_range(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag, part: PartNumber) -> Result<Option<PartRange>>;

    /// Every part of a multipart object, with checksums where the origin keeps them, while it still has `etag`; `None` where it cannot tell.
    async fn object_parts(&self, path: &ShadowPath, key: &ObjectKey, etag: &ETag) -> Result<Option<Vec<PartInfo>>>;

    /// Stores an object of `size` bytes. A body that fails never becomes an object.
    ///
    /// `conditions` are judged by the origin where [`Origin::judges_conditions`]; elsewhere they are left to the caller.
    async fn put(
        &self,
        path: &ShadowPath,
        key: &ObjectKey,
        size: u64,
        body: Body,
        attributes: &OriginAttributes,
        conditions: &PutConditions,
    ) -> Result<ETag>;

    /// Whether the origin judges conditions of a PUT itself. Found out once, by trying on a key of ours: to be asked only where writes are allowed.
    async fn judges_conditions(&self, path: &ShadowPath) -> Result<bool>;

    /// Deletes an object; deleting what is absent is no error.
    async fn delete(&self, path: &ShadowPath, key: &ObjectKey) -> Result<()>;

    /// The same origin for one who reads only to compare, where such reads are counted apart.
    fn for_comparing(&self) -> Option<Arc<dyn Origin>> {
        None
    }

    /// Whether it was seen to answer a request for a range with the whole.
    fn ignores_ranges(&self) -> bool {
        false
    }

    /// The order of its listings, as far as it is known.
    fn order(&self) -> ListOrder {
        ListOrder::Unknown
    }

    /// Remembers the order that a listing has shown.
    fn learn_order(&self, _: ListOrder) {}

    /// Lists one page.
    async fn list(&self, path: &ShadowPath, list: &OriginList) -> Result<OriginPage>;

    /// The tags of an object.
    async fn tags(&self, path: &ShadowPath, key: &ObjectKey) -> Result<Tags>;

    /// Replaces the tags of an object.
    async fn put_tags(&self, path: &ShadowPath, key: &ObjectKey, tags: &Tags) -> Result<()>;

    /// Begins a multipart upload.
    async fn create_upload(&self, path: &ShadowPath, key: &ObjectKey, attributes: &OriginAttributes) -> Result<String>;

    /// Stores a part of `size` bytes.
    async fn put_part(&self, path: &ShadowPath, key: &ObjectKey, upload: &str, number: PartNumber, size: u64, body: Body) -> Result<ETag>;

    /// Every part of an upload, in ascending order.
    async fn parts(&self, path: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<Vec<OriginPart>>;

    /// Turns the named parts into the object.
    async fn complete_upload(&self, path: &ShadowPath, key: &ObjectKey, upload: &str, parts: &[(PartNumber, ETag)]) -> Result<ETag>;

    /// Drops an upload; dropping what is gone is no error.
    async fn abort_upload(&self, path: &ShadowPath, key: &ObjectKey, upload: &str) -> Result<()>;
}
