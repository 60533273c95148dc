//! The metadata seam: an ordered key-value store with checked batches.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Batch, Result};

/// A range of keys that is stored and moved together: one bucket, or the root ([`Partition::ROOT`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u64);

impl Partition {
    /// Names, organizations and access keys.
    pub const ROOT: Self = Self(0);
}

/// The store's own counter: every commit gets a higher one, and every entry keeps that of the commit that wrote it.
///
/// Never 0, and never used twice for one key, even across a delete and a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A key with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The commit that wrote it.
    pub revision: Revision,
    /// What a listing needs.
    pub head: Bytes,
    /// The rest; empty when a scan asked for heads only.
    pub body: Bytes,
}

/// Keys from `start` (inclusive) to `end` (exclusive; `None` is no bound), in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key, inclusive.
    pub start: Vec<u8>,
    /// The bound, exclusive.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: successor(prefix) }
    }

    /// The keys of this range behind `key`.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        let mut next = key.to_vec();
        next.push(0);
        self.start = self.start.max(next);
        self
    }
}

/// The least byte string greater than every string that begins with `prefix`; `None` when there is none.
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// How much of each entry a scan returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Key, revision and head.
    Head,
    /// Everything.
    Full,
}

/// A listing with a delimiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanDelim {
    /// Only keys that begin with this. It is cut off before the delimiter is looked for.
    pub prefix: Vec<u8>,
    /// The delimiter, never empty.
    pub delimiter: Vec<u8>,
    /// Only keys greater than this; common prefixes that are not greater than this are left out whole.
    pub after: Option<Vec<u8>>,
    /// The most entries and common prefixes together.
    pub limit: usize,
}

/// One page of a listing with a delimiter: merged order is by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelimPage {
    /// Entries (heads only) whose key holds no delimiter behind the prefix.
    pub entries: Vec<Entry>,
    /// Common prefixes, each once, up to and including the delimiter.
    pub common_prefixes: Vec<Vec<u8>>,
    /// Whether there is more behind the last of both.
    pub truncated: bool,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision of every entry the batch put.
    pub revision: Revision,
}

/// An ordered key-value store for metadata.
///
/// Every engine answers alike; `suite::run` is the definition of alike. A commit that returned is durable: it survives
/// `kill -9` and power loss. Reads see every commit that returned before they began.
#[async_trait]
pub trait MetaStore: fmt::Debug + Send + Sync + 'static {
    /// The entry of `key`.
    async fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.multi_get(partition, &[key]).await?.pop().flatten())
    }

    /// The entries of `keys`, in their order, as they stood at one moment.
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>>;

    /// The first `limit` entries of `range`, in byte order.
    async fn scan(&self, partition: Partition, range: KeyRange, limit: usize, projection: Projection) -> Result<Vec<Entry>> {
        Ok(self.multi_scan(partition, vec![(range, limit)], projection).await?.pop().unwrap_or_default())
    }

    /// The first entries of several ranges, each with its limit, as they all stood at one moment.
    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>>;

    /// One page of a listing with a delimiter. Costs what the page holds, not what the common prefixes hide.
    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage>;

    /// Applies all of `batch` or none of it: every check must hold, then every write lands together, durably.
    ///
    /// Once called it runs to its end: dropping the future does not undo it and does not stop it half-way.
    async fn commit(&self, batch: Batch) -> Result<Committed>;
}

/// A [`MetaStore`] that several processes have open at once.
#[async_trait]
pub trait SharedMetaStore: MetaStore {
    /// What this process is called among them. Never used twice: a restart is another incarnation.
    fn incarnation(&self) -> &str;

    /// Keeps `incarnation` from committing. When this returns, every commit of its that is not acknowledged has failed or landed, and none lands
    /// later. Repeating it is no error.
    async fn fence(&self, incarnation: &str) -> Result<()>;
}
