//! Opening the file: the lock, the settings of a connection, the schema and its version.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{SqliteSettings, failure::translate};
use crate::{Error, Result};

/// The version of the schema this code reads and writes, kept in `user_version`.
const VERSION: i64 = 1;
/// "UMBR", kept in `application_id`: tells a store from any other SQLite file.
const APPLICATION_ID: i64 = 0x554d_4252;
/// Bytes of a page. Measured: 8 KiB give 1.2 to 1.6 times the commits of 4 KiB for 1.6 times the bytes written.
pub(super) const PAGE_BYTES: usize = 8192;
/// How long a statement waits for a lock that only recovery or a person's own `sqlite3` can hold.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE kv (
        p INTEGER NOT NULL,
        k BLOB NOT NULL,
        rev INTEGER NOT NULL,
        head BLOB NOT NULL,
        hsum INTEGER NOT NULL,
        bsum INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (p, k)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), revision_bound INTEGER NOT NULL) STRICT;
    INSERT INTO store (id, revision_bound) VALUES (1, 1);
";

/// A store that was opened: the connection to write with, and what keeps others out while it is held.
pub(super) struct Opened {
    pub(super) conn: Connection,
    pub(super) lock: Lock,
    pub(super) revision_bound: u64,
}

/// Locks, opens and if need be makes the store at `path`.
pub(super) fn open_store(path: &Path, settings: &SqliteSettings) -> Result<Opened> {
    refuse_network_file_system(path)?;
    let lock = Lock::take(path)?;
    let conn = connect(path, OpenFlags::SQLITE_OPEN_CREATE).map_err(|error| translate(&error))?;
    let is_new = check_version(&conn)?;
    let revision_bound = prepare(&conn, settings, is_new).map_err(|error| translate(&error))?;
    if is_new {
        sync_directory(path)?;
    }
    Ok(Opened { conn, lock, revision_bound })
}

/// Opens one more connection to a store that is open already.
pub(super) fn open_connection(path: &Path, cache_bytes: usize, is_reader: bool) -> rusqlite::Result<Connection> {
    let conn = connect(path, OpenFlags::empty())?;
    configure(&conn, cache_bytes)?;
    if is_reader {
        conn.pragma_update(None, "query_only", true)?;
    }
    Ok(conn)
}

/// Makes the names in the directory of `path` durable.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    let parent = directory(path);
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::Unavailable(format!("sync {}: {error}", parent.display())))
}

/// `path` with `suffix` behind its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    Ok(conn)
}

/// What keeps a second opening out.
pub(super) struct Lock(File);

impl Lock {
    fn take(path: &Path) -> Result<Self> {
        let beside = beside(path, "-lock");
        let failed = |error: &dyn std::fmt::Display| Error::Unavailable(format!("lock {}: {error}", beside.display()));
        let file = File::options().create(true).truncate(false).write(true).open(&beside).map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(failed(&"another process has the metadata store open")),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is just being started holds the file open, and with it the lock.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the metadata store is not released");
        }
    }
}

/// Refuses what is not ours to write, before anything is changed. Answers whether the file is new.
pub(super) fn check_version(conn: &Connection) -> Result<bool> {
    let number = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| translate(&error));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    match (application, version) {
        (0, 0) if tables == 0 => Ok(true),
        (APPLICATION_ID, VERSION) => Ok(false),
        (APPLICATION_ID, newer) => Err(Error::Unavailable(format!(
            "the metadata store has format {newer}, this version of umbra knows {VERSION} only: use the version that wrote it, or a newer one"
        ))),
        _ => Err(Error::Unavailable("the file is a SQLite database of another program".to_owned())),
    }
}

/// Sets the writing connection up, makes the tables of a new file, and reads the revision bound.
fn prepare(conn: &Connection, settings: &SqliteSettings, is_new: bool) -> rusqlite::Result<u64> {
    if is_new {
        // The page size can be chosen before the first table only, and before there is a log.
        conn.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    }
    conn.execute_batch("PRAGMA journal_mode = WAL")?;
    configure(conn, settings.writer_cache_bytes)?;
    if is_new {
        let transaction = conn.unchecked_transaction()?;
        conn.execute_batch(TABLES)?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    let bound: i64 = conn.query_row("SELECT revision_bound FROM store WHERE id = 1", [], |row| row.get(0))?;
    Ok(bound.cast_unsigned())
}

/// What every connection is set to. The `fullfsync` pair is what reaches the disk on macOS, and does nothing elsewhere.
fn configure(conn: &Connection, cache_bytes: usize) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA mmap_size = 0;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -{};
         PRAGMA trusted_schema = OFF;",
        cache_bytes / 1024
    ))
}

/// SQLite's locks and shared memory cannot be trusted over a network.
#[cfg(target_os = "linux")]
fn refuse_network_file_system(path: &Path) -> Result<()> {
    /// `statfs` numbers of NFS, SMB, CIFS, SMB2, AFS, Ceph and 9P, from `linux/magic.h` and the file systems' own headers.
    const NETWORK: [u32; 7] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x5346_414f, 0x00c3_6400, 0x0102_1997];
    let kind = rustix::fs::statfs(directory(path))
        .map_err(|error| Error::Unavailable(format!("look at {}: {error}", directory(path).display())))?
        .f_type as u32;
    if NETWORK.contains(&kind) {
        let refusal = format!("{} is on a network file system, where SQLite is not safe", path.display());
        return Err(Error::Unavailable(refusal));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn refuse_network_file_system(_path: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Lock;

    #[test]
    fn a_lock_is_released_though_a_child_process_inherited_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        let lock = Lock::take(&path).unwrap();
        let _inherited = lock.0.try_clone().unwrap();
        assert!(Lock::take(&path).is_err());
        drop(lock);
        assert!(Lock::take(&path).is_ok());
    }
}
