//! Metadata in one SQLite file: the engine of a store on one machine.
//!
//! # Overview
//!
//! One OS thread writes. It takes what queued up while the last commit was on its way to the disk, judges each batch on its
//! own within one SQLite transaction, and answers all of them after `COMMIT` returned: many commits, one flush. Readers are
//! a pool of connections used on tokio's blocking threads, or right where a few keys are asked for as long as that is quick
//! (see `pace`). A background thread copies the write-ahead log into the file.
//!
//! # Durability
//!
//! `journal_mode=WAL` with `synchronous=FULL`: `COMMIT` returns after the log reached the disk. When it fails for another
//! reason than a full disk, nobody can know what reached the disk, so the writer is *poisoned*: every later commit is
//! refused until the store is opened again, which is when SQLite decides by what the log really holds.
//!
//! # The file
//!
//! ```text
//! PRAGMA application_id = 0x554d4252 ("UMBR"), user_version = 1, page_size = 8192
//!
//! kv(p, k, rev, head, hsum, bsum, body, PRIMARY KEY (p, k)) WITHOUT ROWID, STRICT
//!
//!   p     INTEGER  the partition, a u64 in two's complement
//!   k     BLOB     the key, see `key`
//!   rev   INTEGER  the revision of the commit that wrote the entry
//!   head  BLOB     what a listing needs
//!   hsum  INTEGER  CRC-32C of  p:u64 rev:u64 len(k):u64 k head   (integers big-endian)
//!   bsum  INTEGER  CRC-32C of  p:u64 rev:u64 len(k):u64 k body
//!   body  BLOB     the rest; last, so that a listing never touches its overflow pages
//!
//! store(id = 1, revision_bound)  STRICT
//!
//!   revision_bound  INTEGER  every revision given so far is below it
//! ```
//!
//! Revisions are reserved in blocks, in the transaction of the first commit that needs the block, so most commits do not
//! touch the second table. A restart goes on at the bound: revisions have gaps, and are never given twice.
//! The head and the body carry a checksum each, verified at every read, because SQLite's pages have none.
//!
//! Beside `<file>` there are `<file>-wal` and `<file>-shm`, SQLite's own, and `<file>-lock`, which keeps a second process out.

mod backup;
mod checkpoint;
mod counters;
mod dump;
mod failure;
mod group;
mod pace;
mod readers;
mod row;
mod schema;
mod writer;

use std::{
    fmt,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use async_trait::async_trait;

use crate::{Batch, Committed, DelimPage, Entry, Error, KeyRange, MetaStore, Partition, Projection, Result, ScanDelim};

use checkpoint::Checkpointer;
use readers::Readers;
use writer::Writer;

/// How much an engine may use. The defaults suit a machine with 1 GiB of memory and more.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// Connections that read at once. Default: two per core, at least four.
    pub readers: usize,
    /// Page cache of the writer, in bytes. Default 64 MiB; more helps random writes into a file much larger than it.
    pub writer_cache_bytes: usize,
    /// Page cache of each reader, in bytes. Default 4 MiB: every commit empties it, and the system's own cache is behind it.
    pub reader_cache_bytes: usize,
    /// Batches that may wait for the writer before callers wait for a place. Default 1024.
    pub queue_batches_max: usize,
    /// Batches that share one flush. Default 256; more only adds latency.
    pub group_batches_max: usize,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self {
            readers: (2 * thread::available_parallelism().map_or(1, NonZero::get)).max(4),
            writer_cache_bytes: 64 << 20,
            reader_cache_bytes: 4 << 20,
            queue_batches_max: 1024,
            group_batches_max: 256,
        }
    }
}

/// A [`MetaStore`] in one SQLite file. See the module's documentation.
///
/// Dropping it waits for the commits under way and closes the file; [`SqliteMetaStore::shutdown`] does so without blocking.
pub struct SqliteMetaStore {
    path: PathBuf,
    settings: SqliteSettings,
    readers: Arc<Readers>,
    checkpointer: Arc<Checkpointer>,
    writer: Arc<Writer>,
}

impl SqliteMetaStore {
    /// Opens the store at `path`, making it when there is none; its directory must exist. Blocks for the recovery of a crash.
    ///
    /// Refuses a file that another process has open, that a newer version wrote, that is no store of ours, or that lies on a
    /// network file system.
    pub fn open(path: &Path, settings: SqliteSettings) -> Result<Self> {
        let opened = schema::open_store(path, &settings)?;
        let readers = Arc::new(Readers::new(path, &settings));
        let writer = Arc::new(Writer::start(opened, &settings)?);
        let checkpointer = Arc::new(Checkpointer::start(path, &writer)?);
        Ok(Self { path: path.to_owned(), settings, readers, checkpointer, writer })
    }

    /// Finishes the commits under way, copies the log into the file and closes it. Afterwards every call is refused.
    pub async fn shutdown(&self) -> Result<()> {
        self.readers.close();
        let (checkpointer, writer) = (Arc::clone(&self.checkpointer), Arc::clone(&self.writer));
        let stop = move || {
            checkpointer.stop();
            writer.stop();
        };
        tokio::task::spawn_blocking(stop).await.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Writes a copy of the store as it stands now to the new file `to`, while everything goes on.
    ///
    /// The copy is a store of its own once this returned; before that there is at most `<to>.partial`.
    /// The write-ahead log cannot shrink meanwhile.
    pub async fn backup(&self, to: &Path) -> Result<()> {
        let (path, settings, to) = (self.path.clone(), self.settings.clone(), to.to_owned());
        let copy = move || backup::copy(&path, &settings, &to);
        tokio::task::spawn_blocking(copy).await.map_err(|error| Error::Unavailable(error.to_string()))?
    }
}

impl SqliteMetaStore {
    /// Writes a copy of the store at `path`, as it stands now, to the new file `to`, as [`SqliteMetaStore::backup`] does. Blocks. The store may be
    /// open, in another process too.
    pub fn copy(path: &Path, to: &Path) -> Result<()> {
        if !path.exists() {
            return Err(Error::Unavailable(format!("there is no metadata at {}", path.display())));
        }
        backup::copy(path, &SqliteSettings::default(), to)
    }

    /// Shows every row of the store at `path` to `each`, in the order of partitions and keys, as they stand at one moment. Blocks. The store may
    /// be open, in another process too.
    pub fn export(path: &Path, each: impl FnMut(Partition, &Entry) -> Result<()>) -> Result<()> {
        dump::export(path, each)
    }

    /// Makes the store at `path`, where there is none, of the rows that `next` answers: all of them, or it is not there. Blocks.
    pub fn import(path: &Path, next: impl FnMut() -> Result<Option<(Partition, Entry)>>) -> Result<()> {
        dump::import(path, next)
    }
}

#[async_trait]
impl MetaStore for SqliteMetaStore {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        self.readers.multi_get(partition, keys).await
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        self.readers.run(move |conn| readers::multi_scan(conn, partition, &ranges, projection)).await
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        self.readers.run(move |conn| readers::scan_delim(conn, partition, scan)).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.writer.commit(batch).await
    }
}

impl Drop for SqliteMetaStore {
    fn drop(&mut self) {
        self.readers.close();
        self.checkpointer.stop();
        self.writer.stop();
    }
}

impl fmt::Debug for SqliteMetaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteMetaStore").field("path", &self.path).finish_non_exhaustive()
    }
}
