//! Listings of objects.

use umbra_core::{Error, ErrorKind, ObjectKey, Result};
use umbra_meta::{DelimPage, Entry, Projection, ScanDelim, key};

use super::{Native, Version, list_token};
use crate::{Bucket, ListOptions, ListPage, ListStart, ListedObject, record};

impl Native {
    /// One page of the objects here, whatever side was asked for.
    pub(super) async fn list_objects(&self, bucket: &Bucket, options: ListOptions) -> Result<ListPage> {
        let after = match options.start {
            ListStart::First => None,
            ListStart::After(after) => Some(after),
            ListStart::Continue(token) => Some(list_token::decode(&token)?),
        };
        if options.limit == 0 {
            return Ok(ListPage::default());
        }
        let after = after.as_deref().filter(|after| !after.is_empty());
        let page = match options.delimiter.as_str() {
            "" => self.scan(bucket, &options.prefix, after, options.limit).await?,
            delimiter => {
                let scan = ScanDelim {
                    prefix: key::object_prefix(&options.prefix),
                    delimiter: delimiter.as_bytes().to_vec(),
                    after: after.map(key::object_prefix),
                    limit: options.limit,
                };
                self.meta().scan_delim(bucket.partition, scan).await?
            }
        };
        page_of(page)
    }

    async fn scan(&self, bucket: &Bucket, prefix: &str, after: Option<&str>, limit: usize) -> Result<DelimPage> {
        let mut range = key::object_range(prefix);
        if let Some(after) = after {
            range = range.after(&key::object_prefix(after));
        }
        if range.end.as_ref().is_some_and(|end| range.start >= *end) {
            return Ok(DelimPage::default());
        }
        let mut entries = self.meta().scan(bucket.partition, range, limit.saturating_add(1), Projection::Head).await?;
        let truncated = entries.len() > limit;
        entries.truncate(limit);
        Ok(DelimPage { entries, common_prefixes: Vec::new(), truncated })
    }
}

fn page_of(page: DelimPage) -> Result<ListPage> {
    let objects = page.entries.iter().map(ListedObject::decode).collect::<Result<Vec<_>>>()?;
    let common_prefixes = page.common_prefixes.iter().map(|bytes| text(bytes).map(str::to_owned)).collect::<Result<Vec<_>>>()?;
    let last_object = objects.last().map(|object| object.key.as_str());
    let last = last_object.max(common_prefixes.last().map(String::as_str)).map(str::to_owned);
    let next = last.as_deref().filter(|_| page.truncated).map(list_token::encode);
    Ok(ListPage { objects, common_prefixes, next, last })
}

/// What the head of a version's record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// The object; of a delete marker only its key and date mean anything.
    pub object: ListedObject,
    /// Its place.
    pub version: Version,
}

impl VersionRow {
    /// What the head of `entry` tells, an entry of [`umbra_meta::key::version`].
    pub fn decode(entry: &Entry) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, format!("{} is no key of a version", entry.key.escape_ascii()));
        let (key, _) = key::parse_version(&entry.key).ok_or_else(corrupt)?;
        let head = record::object::decode_head(&entry.head)?;
        let object =
            ListedObject { key, size: head.size, etag: head.etag, last_modified: head.last_modified, storage_class: head.storage_class };
        Ok(Self { object, version: head.version })
    }
}

impl ListedObject {
    /// What the head of `entry` tells, an entry of [`umbra_meta::key::object`].
    pub fn decode(entry: &Entry) -> Result<Self> {
        let head = record::object::decode_head(&entry.head)?;
        Ok(Self {
            key: ObjectKey::parse(text(&entry.key)?)?,
            size: head.size,
            etag: head.etag,
            last_modified: head.last_modified,
            storage_class: head.storage_class,
        })
    }
}

fn text(key: &[u8]) -> Result<&str> {
    key::parse_object(key).ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("{} is no key of an object", key.escape_ascii())))
}
