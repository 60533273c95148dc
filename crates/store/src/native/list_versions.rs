//! Listings of versions.

use std::collections::VecDeque;

use umbra_core::{Error, ErrorKind, ObjectKey, Result, VersionId};
use umbra_meta::{Entry, KeyRange, Partition, Projection, key};

use super::{Native, Version};
use crate::{Bucket, ListVersions, ListedObject, ListedVersion, VersionsPage, record};

/// The most that one page shows.
const LISTED_MAX: usize = 1000;

impl Native {
    /// One page of the versions here, what it shows of a key being true of one moment.
    ///
    /// Current objects and what stands behind histories are read in order, side by side; behind a new common prefix both skip to the end of it.
    pub(super) async fn page_of_versions(&self, bucket: &Bucket, options: ListVersions) -> Result<VersionsPage> {
        let mut page = VersionsPage::default();
        let limit = options.limit.min(LISTED_MAX);
        if limit == 0 {
            return Ok(page);
        }
        let mut walk = Walk::begin(self, bucket, &options, limit).await?;
        while let Some(KeyVersions { key, mut versions }) = walk.next().await? {
            let room = limit - page.versions.len() - page.common_prefixes.len();
            let Some(prefix) = common_prefix(key.as_str(), &options) else {
                let is_cut = versions.len() > room;
                versions.truncate(room);
                page.versions.append(&mut versions);
                if is_cut {
                    page.next = end_of(&page);
                    break;
                }
                continue;
            };
            walk.skip(prefix);
            if options.key_marker.as_deref().is_some_and(|marker| prefix <= marker) {
                continue;
            }
            if room == 0 {
                page.next = end_of(&page);
                break;
            }
            page.common_prefixes.push(prefix.to_owned());
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

/// A key with those of its versions that are to be shown, the newest first.
struct KeyVersions {
    key: ObjectKey,
    versions: Vec<ListedVersion>,
}

/// The two families of rows, side by side. What is read ahead of both is of one moment.
struct Walk<'a> {
    native: &'a Native,
    partition: Partition,
    /// Rows read at once of each: enough that those of one key alone fill a page, and show that there are more.
    rows: usize,
    current: Rows,
    older: Rows,
    cut: Option<Cut>,
    /// The version that the page before ended with, where it is gone, or was only at an origin and may be here by now.
    ended_with: Option<(ObjectKey, VersionId)>,
}

/// Where the page before ended, within a key: what of it is current by now may be one of those that came behind.
struct Cut {
    key: ObjectKey,
    upto: u64,
    /// The newest of the key at the moment that is read.
    newest: Option<u64>,
}

/// Rows of a family that are read ahead.
struct Rows {
    ahead: VecDeque<Placed>,
    /// What was not handed out yet, whether it is read ahead or not.
    rest: KeyRange,
    /// Whether there may be more behind what is read ahead.
    is_cut: bool,
    parse: fn(&Entry) -> Result<Option<Placed>>,
}

impl<'a> Walk<'a> {
    async fn begin(native: &'a Native, bucket: &Bucket, options: &ListVersions, limit: usize) -> Result<Self> {
        let mut walk = Self {
            native,
            partition: bucket.partition,
            // The history is one, one may be what the page before ended with, and one is too many for the page.
            rows: limit + 3,
            current: Rows { ahead: VecDeque::new(), rest: key::object_range(&options.prefix), is_cut: true, parse: current },
            older: Rows { ahead: VecDeque::new(), rest: key::version_range(&options.prefix), is_cut: true, parse: older },
            cut: None,
            ended_with: None,
        };
        if let Some(marker) = options.key_marker.as_deref().filter(|marker| !marker.is_empty()) {
            walk.begin_behind(bucket, marker, options.version_marker).await?;
        }
        Ok(walk)
    }

    async fn begin_behind(&mut self, bucket: &Bucket, marker: &str, version: Option<VersionId>) -> Result<()> {
        let (Ok(key), Some(version)) = (ObjectKey::parse(marker), version) else {
            self.current.go_on(behind(key::object_prefix(marker)));
            self.older.go_on(key::versions_of(marker).end);
            return Ok(());
        };
        self.current.go_on(Some(key::object(&key)));
        // A marker that is gone, and nobody knows where it was: all that is left of the key may be behind it.
        self.older.go_on(Some(key::history(&key)));
        if let Some(upto) = self.native.sequence_of(bucket, &key, version).await? {
            self.older.go_on(behind(key::version(&key, upto)));
            self.cut = Some(Cut { key, upto, newest: None });
        } else {
            self.ended_with = Some((key, version));
        }
        Ok(())
    }

    /// The next key in order.
    async fn next(&mut self) -> Result<Option<KeyVersions>> {
        let mut is_fresh = false;
        loop {
            let keys = [&self.current, &self.older].map(|rows| rows.ahead.front().map(|(_, listed)| &listed.object.key));
            let first = keys.into_iter().flatten().min().cloned();
            let is_whole = |rows: &Rows| !rows.is_cut || rows.ahead.back().is_some_and(|(_, last)| Some(&last.object.key) > first.as_ref());
            if is_fresh || is_whole(&self.current) && is_whole(&self.older) {
                let Some(key) = first else { return Ok(None) };
                let versions = self.take(&key);
                return Ok(Some(KeyVersions { key, versions }));
            }
            // Of what was read of it before, nothing is shown.
            self.read().await?;
            is_fresh = true;
        }
    }

    /// Reads what comes next of both families, at one moment.
    async fn read(&mut self) -> Result<()> {
        let mut ranges: Vec<_> = [&self.current, &self.older].map(|rows| (rows.rest.clone(), self.rows)).into();
        // The history, and the newest behind it.
        ranges.extend(self.cut.as_ref().map(|cut| (key::versions_of(cut.key.as_str()), 2)));
        let mut found = self.native.meta().multi_scan(self.partition, ranges, Projection::Head).await?.into_iter();
        self.current.fill(found.next().unwrap_or_default(), self.rows)?;
        self.older.fill(found.next().unwrap_or_default(), self.rows)?;
        if let Some(cut) = &mut self.cut {
            let object = self.current.ahead.front().filter(|(_, listed)| listed.object.key == cut.key).map(|(sequence, _)| *sequence);
            let behind = found.next().and_then(|rows| key::parse_version(&rows.get(1)?.key)).map(|(_, sequence)| sequence);
            cut.newest = object.or(behind);
        }
        Ok(())
    }

    /// What is read ahead of `key`.
    fn take(&mut self, key: &ObjectKey) -> Vec<ListedVersion> {
        let mut placed = self.current.take(key);
        placed.append(&mut self.older.take(key));
        self.current.go_on(behind(key::object(key)));
        self.older.go_on(key::versions_of(key.as_str()).end);
        let newest = match self.cut.take_if(|cut| cut.key == *key) {
            Some(cut) => {
                placed.retain(|(sequence, _)| *sequence < cut.upto);
                cut.newest
            }
            None => placed.first().map(|(sequence, _)| *sequence),
        };
        if let Some((_, version)) = self.ended_with.as_ref().filter(|(of, _)| of == key) {
            placed.retain(|(_, listed)| listed.version != *version);
        }
        let listed = |(sequence, listed)| ListedVersion { is_latest: Some(sequence) == newest, ..listed };
        placed.into_iter().map(listed).collect()
    }

    /// Goes on behind every key that begins with `prefix`.
    fn skip(&mut self, prefix: &str) {
        for (rows, range) in [(&mut self.current, key::object_range(prefix)), (&mut self.older, key::version_range(prefix))] {
            rows.ahead.retain(|(_, listed)| !listed.object.key.as_str().starts_with(prefix));
            rows.go_on(range.end);
        }
    }
}

impl Rows {
    fn fill(&mut self, rows: Vec<Entry>, wanted: usize) -> Result<()> {
        self.is_cut = rows.len() == wanted;
        self.ahead.clear();
        for row in &rows {
            self.ahead.extend((self.parse)(row)?);
        }
        Ok(())
    }

    fn take(&mut self, key: &ObjectKey) -> Vec<Placed> {
        let count = self.ahead.iter().take_while(|(_, listed)| listed.object.key == *key).count();
        self.ahead.drain(..count).collect()
    }

    /// Goes on at `start`, if that is not done yet; `None`: at the end.
    fn go_on(&mut self, start: Option<Vec<u8>>) {
        match start {
            Some(start) => self.rest.start = start.max(std::mem::take(&mut self.rest.start)),
            None => self.rest.end = Some(Vec::new()),
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

/// Where the rows behind `row` begin.
fn behind(mut row: Vec<u8>) -> Option<Vec<u8>> {
    row.push(0);
    Some(row)
}
