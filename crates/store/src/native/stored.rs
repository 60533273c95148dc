//! Objects as they are stored.

use umbra_core::{
    Attributes, Checksum, ETag, ObjectInfo, PartInfo, ReadSource, Result, SystemHeaders, Tags, Timestamp, UploadId, UserMetadata, VersionId,
};
use umbra_meta::{Entry, Revision};

use super::Pieces;
use crate::record;

/// An object, as its record holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Bytes of content.
    pub size: u64,
    /// The ETag.
    pub etag: ETag,
    /// When it was last written.
    pub last_modified: Timestamp,
    /// Stored headers.
    pub headers: SystemHeaders,
    /// User metadata.
    pub metadata: UserMetadata,
    /// Tags.
    pub tags: Tags,
    /// What S3's optional features add.
    pub attributes: Attributes,
    /// Checksums over the whole, composite or full.
    pub checksums: Vec<Checksum>,
    /// Part boundaries, where the object has parts.
    pub parts: Vec<PartInfo>,
    /// Where the content is.
    pub content: Pieces,
    /// When it was copied in from an origin, if it was and nothing of it was changed here alone since.
    pub hydrated: Option<Timestamp>,
    /// The upload it was completed from, if it was.
    pub completion: Option<Completion>,
    /// Which of the key's versions it is.
    pub version: Version,
}

/// The place of a version among those of its key. The default is that of an object from a time before versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Grows from each to the next newer one of the key.
    pub sequence: u64,
    /// The randomness in its name; `None`: it is the null version.
    pub nonce: Option<u64>,
    /// Whether it is a delete marker: a record without content that says that the key is deleted.
    pub is_marker: bool,
}

impl Version {
    /// How clients name it.
    pub fn id(self) -> VersionId {
        self.nonce.map_or(VersionId::Null, |nonce| VersionId::Named { sequence: self.sequence, nonce })
    }
}

/// What an object remembers of the upload it was completed from, so that the completion can be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The upload.
    pub upload: UploadId,
    /// A digest of the parts that were named.
    pub fingerprint: [u8; 16],
}

/// An object and the revision of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The object.
    pub object: ObjectRecord,
    /// The revision of the record.
    pub revision: Revision,
}

impl Stored {
    /// The object that `entry` holds, an entry of [`umbra_meta::key::object`] or [`umbra_meta::key::version`].
    pub fn decode(entry: &Entry) -> Result<Self> {
        Ok(Self { object: record::object::decode(entry)?, revision: entry.revision })
    }

    /// What a client can learn of it without reading it.
    pub fn info(&self) -> ObjectInfo {
        let object = &self.object;
        ObjectInfo {
            size: object.size,
            etag: object.etag.clone(),
            last_modified: object.last_modified,
            headers: object.headers.clone(),
            metadata: object.metadata.clone(),
            checksums: object.checksums.clone(),
            parts: object.parts.clone(),
            tag_count: object.tags.len(),
            tags: Some(object.tags.clone()),
            attributes: object.attributes.clone(),
            version: object.version.id(),
            source: ReadSource::Local,
        }
    }
}
