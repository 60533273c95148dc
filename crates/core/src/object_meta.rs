//! What is known of an object besides its content.

use std::collections::BTreeMap;

use crate::{Attributes, Checksum, ETag, Error, Fault, Result, Timestamp, VersionId, limits};

/// User metadata: names in lower case without `x-amz-meta-`, values as UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserMetadata(BTreeMap<String, String>);

impl UserMetadata {
    /// Takes user metadata as it is, as an origin hands it over. See [`UserMetadata::check`] for what a client may send.
    pub fn new(entries: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(entries.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
    }

    /// Refuses more than S3 takes.
    pub fn check(&self) -> Result<()> {
        let bytes: usize = self.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > limits::USER_METADATA_BYTES_MAX {
            return Err(Error::invalid(Fault::MetadataTooLarge, "your metadata headers exceed the maximum allowed metadata size"));
        }
        Ok(())
    }

    /// The entries in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Tags of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Checks the tags that a client sends for an object.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
    pub fn parse(entries: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let tags = Self::checked(entries)?;
        if tags.len() > limits::TAGS_MAX {
            let message = format!("object tags cannot be greater than {}", limits::TAGS_MAX);
            return Err(Error::invalid(Fault::InvalidTag, message));
        }
        Ok(tags)
    }

    /// Checks the tags that a client sends for a bucket.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketTagging.html>
    pub fn parse_for_bucket(entries: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let tags = Self::checked(entries)?;
        if tags.len() > limits::BUCKET_TAGS_MAX {
            let message = format!("bucket tags cannot be greater than {}", limits::BUCKET_TAGS_MAX);
            return Err(Error::invalid(Fault::InvalidTag, message));
        }
        Ok(tags)
    }

    fn checked(entries: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut tags = BTreeMap::new();
        for (key, value) in entries {
            // `aws:` is for what Amazon's own services write.
            if key.starts_with("aws:") {
                return Err(Error::invalid(Fault::InvalidTag, "system tags cannot be added/updated by requester"));
            }
            if key.is_empty() || key.chars().count() > limits::TAG_KEY_CHARS_MAX || !key.chars().all(is_of_tags) {
                return Err(Error::invalid(Fault::InvalidTag, "the tag key you have provided is invalid"));
            }
            if value.chars().count() > limits::TAG_VALUE_CHARS_MAX || !value.chars().all(is_of_tags) {
                return Err(Error::invalid(Fault::InvalidTag, "the tag value you have provided is invalid"));
            }
            if tags.insert(key, value).is_some() {
                return Err(Error::invalid(Fault::InvalidTag, "cannot provide multiple tags with the same key"));
            }
        }
        Ok(Self(tags))
    }

    /// Takes tags as an origin or a record holds them.
    pub fn new(entries: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The tags in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether tags may hold `c`: letters, digits and spaces of any language, and some signs.
fn is_of_tags(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

/// The headers S3 stores with an object and gives back as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the headers' own")]
pub struct SystemHeaders {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub expires: Option<String>,
    pub website_redirect_location: Option<String>,
    pub storage_class: Option<String>,
}

/// One part of a multipart object, as `?partNumber=` and GetObjectAttributes show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number. Numbers may have gaps.
    pub number: u16,
    /// Its size in bytes.
    pub size: u64,
    /// Its own checksums.
    pub checksums: Vec<Checksum>,
}

/// Where a read was answered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadSource {
    /// From here.
    #[default]
    Local,
    /// From the origin: the key is cold.
    Origin,
}

/// Everything a client can learn of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Bytes of content.
    pub size: u64,
    /// The ETag: the origin's own where the object came from there.
    pub etag: ETag,
    /// When it was last written, by the origin's clock where it came from there.
    pub last_modified: Timestamp,
    /// Stored headers.
    pub headers: SystemHeaders,
    /// User metadata.
    pub metadata: UserMetadata,
    /// Checksums over the whole, composite or full.
    pub checksums: Vec<Checksum>,
    /// Part boundaries; empty for an object stored by one PUT or when the origin could not tell them.
    pub parts: Vec<PartInfo>,
    /// How many tags it carries.
    pub tag_count: usize,
    /// The tags, where they came with the rest: an origin is asked for them by themselves.
    pub tags: Option<Tags>,
    /// What S3's optional features add to it.
    pub attributes: Attributes,
    /// Which version it is.
    pub version: VersionId,
    /// Where this answer comes from.
    pub source: ReadSource,
}
