//! Listings of uploads in progress.

use umbra_core::{Error, ErrorKind, Result};
use umbra_meta::{Entry, KeyRange, Projection, key};

use super::Native;
use crate::{
    Bucket, ListUploads, ListedUpload, UploadsPage,
    record::{self, upload::IndexRecord},
};

/// Index rows read by one scan while common prefixes are looked for.
const ROWS: usize = 1000;

impl Native {
    /// One page of uploads, by key, then by identifier.
    ///
    /// Rows are read in order; behind a new common prefix the walk skips to the end of it.
    pub(super) async fn page_of_uploads(&self, bucket: &Bucket, options: ListUploads) -> Result<UploadsPage> {
        let mut page = UploadsPage::default();
        let Some(mut range) = first_range(&options).filter(|_| options.limit > 0) else { return Ok(page) };
        loop {
            let rows =
                self.meta().scan(bucket.partition, range.clone(), ROWS.min(options.limit.saturating_add(1)), Projection::Head).await?;
            let Some(last) = rows.last().map(|row| row.key.clone()) else { return Ok(page) };
            let mut rest = Some(range.clone().after(&last));
            for row in &rows {
                match take(&options, &mut page, row)? {
                    Taken::Upload => {}
                    Taken::Full => return Ok(UploadsPage { truncated: true, ..page }),
                    Taken::Prefix(prefix) => {
                        rest = behind(&range, key::upload_index_range(&prefix));
                        break;
                    }
                }
            }
            let Some(rest) = rest else { return Ok(page) };
            range = rest;
        }
    }
}

enum Taken {
    Upload,
    /// The page is full; there is more.
    Full,
    /// A common prefix, new or not behind the marker; everything that begins with it is done with.
    Prefix(String),
}

/// The upload that `entry` is the place of in the index by key.
pub fn decode_upload_index(entry: &Entry) -> Result<ListedUpload> {
    let corrupt = || Error::new(ErrorKind::Corrupt, format!("{} is no key of an upload", entry.key.escape_ascii()));
    let (key, upload) = key::parse_upload_index(&entry.key).ok_or_else(corrupt)?;
    let IndexRecord { initiated, initiator, owner } = record::upload::decode_index(&entry.head)?;
    Ok(ListedUpload { key, upload, initiated, initiator, owner })
}

fn take(options: &ListUploads, page: &mut UploadsPage, row: &Entry) -> Result<Taken> {
    let listed = decode_upload_index(row)?;
    let prefix = common_prefix(listed.key.as_str(), options);
    let is_behind_marker = |prefix: &str| options.key_marker.as_deref().is_none_or(|marker| prefix > marker);
    if let Some(prefix) = prefix.filter(|prefix| !is_behind_marker(prefix)) {
        return Ok(Taken::Prefix(prefix.to_owned()));
    }
    if page.uploads.len() + page.common_prefixes.len() >= options.limit {
        return Ok(Taken::Full);
    }
    if let Some(prefix) = prefix {
        page.common_prefixes.push(prefix.to_owned());
        return Ok(Taken::Prefix(prefix.to_owned()));
    }
    page.uploads.push(listed);
    Ok(Taken::Upload)
}

/// The common prefix that `key` is rolled up into, up to and including the delimiter.
fn common_prefix<'a>(key: &'a str, options: &ListUploads) -> Option<&'a str> {
    let rest = key.strip_prefix(options.prefix.as_str()).filter(|_| !options.delimiter.is_empty())?;
    let at = rest.find(options.delimiter.as_str())?;
    Some(&key[..options.prefix.len() + at + options.delimiter.len()])
}

/// The rows behind the markers; `None` when there can be none.
fn first_range(options: &ListUploads) -> Option<KeyRange> {
    let range = key::upload_index_range(&options.prefix);
    let Some(key_marker) = options.key_marker.as_deref().filter(|marker| !marker.is_empty()) else { return Some(range) };
    match options.upload_marker.as_ref().filter(|upload| !upload.as_str().is_empty()) {
        Some(upload) => nonempty(range.after(&key::upload_index_after(key_marker, upload.as_str()))),
        None => behind(&range, key::upload_index_of(key_marker)),
    }
}

/// What of `range` lies behind `done`; `None` when nothing does.
fn behind(range: &KeyRange, done: KeyRange) -> Option<KeyRange> {
    let start = range.start.clone().max(done.end?);
    nonempty(KeyRange { start, end: range.end.clone() })
}

fn nonempty(range: KeyRange) -> Option<KeyRange> {
    range.end.as_ref().is_none_or(|end| range.start < *end).then_some(range)
}
