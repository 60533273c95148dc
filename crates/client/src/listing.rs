//! Listing a bucket.

use http::Method;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use umbra_core::{ETag, Timestamp};

use crate::{
    Error, ListVersion, Result, S3Client,
    answer::Answer,
    encode,
    xml::{XmlError, number, truth, unexpected},
};

/// What a page of a listing holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Only keys that begin so.
    pub prefix: Option<String>,
    /// Roll up what follows the prefix up to this.
    pub delimiter: Option<String>,
    /// Only keys after this one.
    pub start_after: Option<String>,
    /// Where the page before ended: its [`ListPage::next`].
    pub continuation: Option<String>,
    /// At most so many keys and common prefixes.
    pub max_keys: Option<u16>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects, in the origin's order.
    pub objects: Vec<ListedObject>,
    /// The common prefixes, in the origin's order.
    pub common_prefixes: Vec<String>,
    /// Whether there is more.
    pub is_truncated: bool,
    /// Whether the origin has encoded the names as it was asked to. They are decoded here.
    pub names_encoded: bool,
    /// Where the next page begins: a continuation token, or for version 1 a marker. Always there when there is more.
    pub next: Option<String>,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: ETag,
    /// When it was last written.
    pub last_modified: Timestamp,
    /// Its storage class, where the origin says.
    pub storage_class: Option<String>,
}

impl S3Client {
    /// Lists a page with whichever listing the service knows: version 2, and version 1 where that is refused or answered in the way of version 1.
    pub async fn list_objects(&self, options: &ListOptions) -> Result<ListPage> {
        match self.learned().list_version() {
            Some(ListVersion::V1) => return self.list_objects_v1(options).await,
            Some(ListVersion::V2) => return self.list_objects_v2(options).await,
            None => {}
        }
        let refused = match self.page_v2(options).await {
            Ok((page, ListVersion::V2)) => {
                self.learned().learn_list_version(ListVersion::V2);
                return Ok(page);
            }
            // It took no notice of the version, and so none of where to begin.
            Ok((_, ListVersion::V1)) => None,
            Err(error) if is_version_refused(&error) => Some(error),
            Err(error) => return Err(error),
        };
        match (self.list_objects_v1(options).await, refused) {
            (Ok(page), _) => {
                tracing::info!(endpoint = %self.endpoint(), bucket = self.bucket(), "the origin lists with version 1 only");
                self.learned().learn_list_version(ListVersion::V1);
                Ok(page)
            }
            (Err(_), Some(refused)) => Err(refused),
            (Err(error), None) => Err(error),
        }
    }

    /// Which listing [`S3Client::list_objects`] has found the service to know.
    pub fn list_version(&self) -> Option<ListVersion> {
        self.learned().list_version()
    }

    /// Lists a page with ListObjectsV2.
    pub async fn list_objects_v2(&self, options: &ListOptions) -> Result<ListPage> {
        let (page, _) = self.page_v2(options).await?;
        if page.is_truncated && (page.next.is_none() || page.next == options.continuation) {
            return Err(Error::bad_response("a truncated page that does not lead to another one"));
        }
        Ok(page)
    }

    /// The answer to ListObjectsV2, and in the way of which version it was given.
    async fn page_v2(&self, options: &ListOptions) -> Result<(ListPage, ListVersion)> {
        let call = self
            .whole_bucket(Method::GET)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query_opt("prefix", options.prefix.as_deref())
            .query_opt("delimiter", options.delimiter.as_deref())
            .query_opt("start-after", options.start_after.as_deref())
            .query_opt("continuation-token", options.continuation.as_deref())
            .query_opt("max-keys", options.max_keys.map(|max| max.to_string()));
        let page = PageReader::read(self.send(call).await?).await?;
        let version = if page.is_version_1 { ListVersion::V1 } else { ListVersion::V2 };
        let mut page = page.decoded(false)?;
        if !page.is_truncated {
            page.next = None;
        }
        Ok((page, version))
    }

    /// Lists a page with ListObjects, for engines that know no better. A continuation is a key to list after, like
    /// [`ListOptions::start_after`], and goes before it.
    pub async fn list_objects_v1(&self, options: &ListOptions) -> Result<ListPage> {
        let marker = options.continuation.as_ref().or(options.start_after.as_ref());
        let call = self
            .whole_bucket(Method::GET)
            .query("encoding-type", "url")
            .query_opt("prefix", options.prefix.as_deref())
            .query_opt("delimiter", options.delimiter.as_deref())
            .query_opt("marker", marker.cloned())
            .query_opt("max-keys", options.max_keys.map(|max| max.to_string()));
        let page = PageReader::read(self.send(call).await?).await?;
        let mut page = page.decoded(true)?;
        // Without a delimiter Amazon sends no marker: the last key is it.
        let last_key = page.objects.last().map(|object| object.key.clone());
        let last = if page.common_prefixes.is_empty() { last_key } else { page.common_prefixes.iter().max().cloned().max(last_key) };
        page.next = if page.is_truncated { page.next.or(last) } else { None };
        // Not every engine is in the order of bytes; but none stands still.
        if page.is_truncated && (page.next.is_none() || page.next.as_ref() == marker) {
            return Err(Error::bad_response("a truncated page that does not lead to another one"));
        }
        Ok(page)
    }
}

/// Whether an error says that the service does not know ListObjectsV2, or what comes with it.
fn is_version_refused(error: &Error) -> bool {
    let Error::S3(told) = error else { return false };
    told.status == 501
        || told.status == 405
        || (told.status == 400 && !matches!(told.code.as_str(), "AuthorizationHeaderMalformed" | "InvalidBucketName"))
}

/// A page as it is read, its names still encoded.
#[derive(Default)]
struct PageReader {
    page: ListPage,
    is_encoded: bool,
    /// Whether it shows what only version 1 has.
    is_version_1: bool,
    object: PartialObject,
}

#[derive(Default)]
struct PartialObject {
    key: Option<String>,
    size: Option<u64>,
    etag: Option<ETag>,
    last_modified: Option<Timestamp>,
    storage_class: Option<String>,
}

impl PageReader {
    async fn read(answer: Answer) -> Result<Self> {
        let mut reader = Self::default();
        answer.walk(&["ListBucketResult"], |path, text| reader.visit(path, text)).await?;
        Ok(reader)
    }

    fn visit(&mut self, path: &[&str], text: &str) -> Result<(), XmlError> {
        match path {
            ["Contents", "Key"] => self.object.key = Some(text.to_owned()),
            ["Contents", "Size"] => self.object.size = Some(number("Size", text)?),
            ["Contents", "ETag"] => self.object.etag = Some(ETag::parse(text)),
            ["Contents", "LastModified"] => self.object.last_modified = Some(timestamp(text)?),
            ["Contents", "StorageClass"] => self.object.storage_class = Some(text.to_owned()),
            ["Contents"] => self.page.objects.push(std::mem::take(&mut self.object).whole()?),
            ["CommonPrefixes", "Prefix"] => self.page.common_prefixes.push(text.to_owned()),
            ["IsTruncated"] => self.page.is_truncated = truth("IsTruncated", text)?,
            ["Marker"] => self.is_version_1 = true,
            ["NextContinuationToken" | "NextMarker"] if !text.is_empty() => {
                self.is_version_1 |= path == ["NextMarker"];
                self.page.next = Some(text.to_owned());
            }
            ["EncodingType"] => self.is_encoded = text.trim() == "url",
            _ => {}
        }
        Ok(())
    }

    /// Decodes the names, if the origin has encoded them; not all do what they are asked.
    fn decoded(self, next_is_name: bool) -> Result<ListPage> {
        let Self { mut page, is_encoded, .. } = self;
        page.names_encoded = is_encoded;
        if is_encoded {
            let next = page.next.as_mut().filter(|_| next_is_name);
            let names = page.objects.iter_mut().map(|object| &mut object.key).chain(&mut page.common_prefixes).chain(next);
            for name in names {
                *name = encode::decode_listed(name).ok_or_else(|| Error::bad_response("a name in a listing is not UTF-8"))?;
            }
        }
        Ok(page)
    }
}

impl PartialObject {
    fn whole(self) -> Result<ListedObject, XmlError> {
        let missing = |what: &str| unexpected(format!("an object in the listing has no {what}"));
        Ok(ListedObject {
            key: self.key.ok_or_else(|| missing("Key"))?,
            size: self.size.ok_or_else(|| missing("Size"))?,
            etag: self.etag.ok_or_else(|| missing("ETag"))?,
            last_modified: self.last_modified.ok_or_else(|| missing("LastModified"))?,
            storage_class: self.storage_class.filter(|class| !class.is_empty()),
        })
    }
}

/// Reads a time such as `2013-05-24T00:00:00.000Z`.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, XmlError> {
    let time = OffsetDateTime::parse(text.trim(), &Rfc3339).map_err(|_| unexpected(format!("not a time: {text:.60}")))?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).map(Timestamp::from_millis).map_err(|_| unexpected("not a time"))
}
