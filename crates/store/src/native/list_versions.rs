//! Listings of versions.

use std::collections::VecDeque;

use umbra_core::{Error, ErrorKind, ObjectKey, Result, VersionId};
use umbra_meta::{Entry, KeyRange, Partition, Projection, key};

use super::{Native, Version};
use crate::{Bucket, ListVersions, ListedObject, ListedVersion, VersionsPage, record};

/// Rows read at once.
const ROWS: usize = 1000;

impl Native {
    /// One page of the versions here.
    ///
    /// Current objects and what stands behind histories are read in order, side by side; behind a new common prefix both skip to the end of it.
    pub(super) async fn page_of_versions(&self, bucket: &Bucket, options: ListVersions) -> Result<VersionsPage> {
        let mut page = VersionsPage::default();
        if options.limit == 0 {
            return Ok(page);
        }
        let mut walk = Walk::begin(self, bucket, &options).await?;
        while let Some(listed) = walk.next(&options).await? {
            let key = listed.object.key.as_str();
            let prefix = common_prefix(key, &options).map(str::to_owned);
            if let Some(prefix) = prefix.as_deref().filter(|prefix| options.key_marker.as_deref().is_some_and(|marker| *prefix <= marker)) {
                walk.skip(prefix);
                continue;
            }
            if page.versions.len() + page.common_prefixes.len() >= options.limit {
                page.next = end_of(&page);
                break;
            }
            match prefix {
                Some(prefix) => {
                    walk.skip(&prefix);
                    page.common_prefixes.push(prefix);
                }
                None => page.versions.push(listed),
            }
        }
        Ok(page)
    }
}

/// Where the next page begins: behind the last version or the last common prefix, whichever comes later.
fn end_of(page: &VersionsPage) -> Option<(String, Option<VersionId>)> {
    let last = page.versions.last().map(|listed| (listed.object.key.as_str().to_owned(), Some(listed.version)));
    let prefix = page.common_prefixes.last().map(|prefix| (prefix.clone(), None));
    match (last, prefix) {
        (Some(last), Some(prefix)) if last.0 < prefix.0 => Some(prefix),
        (None, prefix) => prefix,
        (last, _) => last,
    }
}

/// The common prefix that `key` is rolled up into, up to and including the delimiter.
fn common_prefix<'a>(key: &'a str, options: &ListVersions) -> Option<&'a str> {
    let rest = key.strip_prefix(options.prefix.as_str()).filter(|_| !options.delimiter.is_empty())?;
    let at = rest.find(options.delimiter.as_str())?;
    Some(&key[..options.prefix.len() + at + options.delimiter.len()])
}

/// A version and its sequence.
type Placed = (u64, ListedVersion);

/// The two families of rows, side by side.
struct Walk<'a> {
    native: &'a Native,
    current: Rows,
    older: Rows,
    /// The key of the last one that was handed out, and its sequence: what follows of it is not its newest.
    last: Option<(ObjectKey, u64)>,
    /// Where the page before ended, within a key: what of it is current by now may be one of those that came behind.
    cut: Option<Cut>,
}

/// Where the page before ended.
struct Cut {
    key: ObjectKey,
    version: VersionId,
    /// Unknown of what is gone, or was only at an origin.
    sequence: Option<u64>,
}

impl Cut {
    /// Whether it is not behind it.
    fn covers(&self, sequence: u64, listed: &ListedVersion) -> bool {
        self.key == listed.object.key && (self.version == listed.version || self.sequence.is_some_and(|upto| sequence >= upto))
    }
}

/// Rows of a family that are read ahead.
struct Rows {
    partition: Partition,
    ahead: VecDeque<Placed>,
    /// What is left to be read.
    rest: Option<KeyRange>,
    parse: fn(&Entry) -> Result<Option<Placed>>,
    /// The range of the keys that begin with a prefix.
    range: fn(&str) -> KeyRange,
}

impl<'a> Walk<'a> {
    async fn begin(native: &'a Native, bucket: &Bucket, options: &ListVersions) -> Result<Self> {
        let all = |range: fn(&str) -> KeyRange| Some(range(&options.prefix));
        let mut walk = Self {
            native,
            current: Rows {
                partition: bucket.partition,
                ahead: VecDeque::new(),
                rest: all(key::object_range),
                parse: current,
                range: key::object_range,
            },
            older: Rows {
                partition: bucket.partition,
                ahead: VecDeque::new(),
                rest: all(key::version_range),
                parse: older,
                range: key::version_range,
            },
            last: None,
            cut: None,
        };
        if let Some(marker) = options.key_marker.as_deref().filter(|marker| !marker.is_empty()) {
            walk.begin_behind(bucket, marker, options.version_marker).await?;
        }
        Ok(walk)
    }

    async fn begin_behind(&mut self, bucket: &Bucket, marker: &str, version: Option<VersionId>) -> Result<()> {
        let key = ObjectKey::parse(marker).ok();
        self.last = key.clone().map(|key| (key, u64::MAX));
        let (current, older) = (self.current.rest.take(), self.older.rest.take());
        let (Some(key), Some(version)) = (key, version) else {
            self.current.rest = current.and_then(|range| nonempty(range.after(&key::object_prefix(marker))));
            self.older.rest = older.and_then(|range| behind(&range, key::versions_of(marker)));
            return Ok(());
        };
        let sequence = self.native.sequence_of(bucket, &key, version).await?;
        let row = key::object(&key);
        self.current.rest = current.and_then(|range| nonempty(KeyRange { start: range.start.max(row), ..range }));
        self.older.rest = match sequence {
            Some(sequence) => older.and_then(|range| nonempty(range.after(&key::version(&key, sequence)))),
            // It is gone, and nobody knows where it was: all that is left of the key may be behind it.
            None => older.and_then(|range| nonempty(KeyRange { start: range.start.max(key::history(&key)), ..range })),
        };
        self.cut = Some(Cut { key, version, sequence });
        Ok(())
    }

    /// The next version in order of keys, each key's from the newest on.
    async fn next(&mut self, options: &ListVersions) -> Result<Option<ListedVersion>> {
        let wanted = options.limit.saturating_add(1).min(ROWS);
        loop {
            self.current.fill(self.native, wanted).await?;
            self.older.fill(self.native, wanted).await?;
            let older_first = match (self.current.ahead.front(), self.older.ahead.front()) {
                (Some((_, current)), Some((_, older))) => older.object.key < current.object.key,
                (None, _) => true,
                (Some(_), None) => false,
            };
            let next = if older_first { self.older.ahead.pop_front() } else { self.current.ahead.pop_front() };
            let Some((sequence, mut listed)) = next else { return Ok(None) };
            if self.cut.as_ref().is_some_and(|cut| cut.covers(sequence, &listed)) {
                continue;
            }
            let before = self.last.as_ref().filter(|(key, _)| *key == listed.object.key).map(|(_, sequence)| *sequence);
            if older_first && before.is_some_and(|before| sequence >= before) {
                // What was current when it was read has moved behind what came since.
                continue;
            }
            listed.is_latest = !older_first || before.is_none();
            self.last = Some((listed.object.key.clone(), sequence));
            return Ok(Some(listed));
        }
    }

    /// Goes on behind every key that begins with `prefix`.
    fn skip(&mut self, prefix: &str) {
        self.current.skip(prefix);
        self.older.skip(prefix);
    }
}

impl Rows {
    async fn fill(&mut self, native: &Native, wanted: usize) -> Result<()> {
        while self.ahead.is_empty()
            && let Some(range) = self.rest.take()
        {
            let rows = native.meta().scan(self.partition, range.clone(), wanted, Projection::Head).await?;
            if let Some(last) = rows.last().filter(|_| rows.len() == wanted) {
                self.rest = nonempty(range.after(&last.key));
            }
            for row in &rows {
                self.ahead.extend((self.parse)(row)?);
            }
        }
        Ok(())
    }

    fn skip(&mut self, prefix: &str) {
        self.ahead.retain(|(_, listed)| !listed.object.key.as_str().starts_with(prefix));
        if self.ahead.is_empty() {
            self.rest = self.rest.take().and_then(|rest| behind(&rest, (self.range)(prefix)));
        }
    }
}

impl Native {
    /// At which sequence the versions behind `version` of `key` begin.
    async fn sequence_of(&self, bucket: &Bucket, key: &ObjectKey, version: VersionId) -> Result<Option<u64>> {
        if let VersionId::Named { sequence, .. } = version {
            return Ok(Some(sequence));
        }
        let place = self.locate(super::commit::Fence::from(bucket), key, version).await?;
        Ok(place.map(|place| place.stored.object.version.sequence))
    }
}

fn current(row: &Entry) -> Result<Option<Placed>> {
    let text = key::parse_object(&row.key).ok_or_else(|| foreign(row))?;
    listed(ObjectKey::parse(text)?, row).map(Some)
}

/// `None` for a history.
fn older(row: &Entry) -> Result<Option<Placed>> {
    match key::parse_version(&row.key) {
        Some((key, _)) => listed(key, row).map(Some),
        None if key::parse_history(&row.key).is_some() => Ok(None),
        None => Err(foreign(row)),
    }
}

fn listed(key: ObjectKey, row: &Entry) -> Result<Placed> {
    let head = record::object::decode_head(&row.head)?;
    let version: Version = head.version;
    let object =
        ListedObject { key, size: head.size, etag: head.etag, last_modified: head.last_modified, storage_class: head.storage_class };
    Ok((version.sequence, ListedVersion { object, version: version.id(), is_latest: false, is_marker: version.is_marker }))
}

fn foreign(row: &Entry) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{} is no key of a version", row.key.escape_ascii()))
}

/// What of `range` lies behind `done`; `None` when nothing does.
fn behind(range: &KeyRange, done: KeyRange) -> Option<KeyRange> {
    let start = range.start.clone().max(done.end?);
    nonempty(KeyRange { start, end: range.end.clone() })
}

fn nonempty(range: KeyRange) -> Option<KeyRange> {
    range.end.as_ref().is_none_or(|end| range.start < *end).then_some(range)
}
