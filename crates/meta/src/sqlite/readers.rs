//! Reading: a pool of connections, and what is read with one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use rusqlite::{CachedStatement, Connection, Row, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::{SqliteSettings, failure::Failure, pace::Pace, row, schema};
use crate::{
    DelimPage, Entry, Error, KeyRange, Partition, Projection, Result, ScanDelim,
    delim::{DelimWalk, Step},
};

/// Keys that one read may ask for and still be short.
const SHORT_KEYS_MAX: usize = 8;

/// Connections that wait for a reader, and the bound on how many there are.
pub(super) struct Readers {
    path: PathBuf,
    cache_bytes: usize,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    pace: Pace,
}

impl Readers {
    /// A pool that opens its connections when they are first needed.
    pub(super) fn new(path: &Path, settings: &SqliteSettings) -> Self {
        Self {
            path: path.to_owned(),
            cache_bytes: settings.reader_cache_bytes,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(settings.readers.max(1))),
            pace: Pace::new(),
        }
    }

    /// The entries of `keys` at one moment.
    pub(super) async fn multi_get(self: &Arc<Self>, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        let began = Instant::now();
        if keys.len() <= SHORT_KEYS_MAX && self.pace.is_quick(began) {
            let result = self.run_here(|conn| multi_get(conn, partition, keys.iter().copied()));
            self.pace.observe(began, Instant::now());
            return result;
        }
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        self.run(move |conn| multi_get(conn, partition, keys.iter().map(Vec::as_slice))).await
    }

    /// Runs `read` with a connection, on a thread that may block.
    pub(super) async fn run<T, R>(self: &Arc<Self>, read: R) -> Result<T>
    where
        T: Send + 'static,
        R: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Arc::clone(self).run_there(permit, read).await,
            Err(TryAcquireError::Closed) => Err(shut_down()),
            Err(TryAcquireError::NoPermits) => {
                let this = Arc::clone(self);
                // On a task of its own: a caller that was given its turn and is not polled just then would keep it from everybody else, and
                // for ever if it is one of them that keeps the caller from being polled.
                let waiting = tokio::spawn(async move {
                    let permit = Arc::clone(&this.permits).acquire_owned().await.map_err(|_| shut_down())?;
                    this.run_there(permit, read).await
                });
                waiting.await.map_err(ended_early)?
            }
        }
    }

    async fn run_there<T, R>(self: Arc<Self>, permit: OwnedSemaphorePermit, read: R) -> Result<T>
    where
        T: Send + 'static,
        R: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let work = move || {
            let result = self.run_here(read);
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(ended_early)?
    }

    /// Runs `read` with a connection, on this thread.
    fn run_here<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T> {
        let conn = self.take()?;
        let result = read(&conn);
        self.give_back(conn);
        Ok(result?)
    }

    /// Takes no more reads, and closes what is idle.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }

    fn take(&self) -> Result<Connection> {
        if self.permits.is_closed() {
            return Err(shut_down());
        }
        let idle = self.idle.lock().pop();
        match idle {
            Some(conn) => Ok(conn),
            None => Ok(schema::open_connection(&self.path, self.cache_bytes, true).map_err(Failure::from)?),
        }
    }

    fn give_back(&self, conn: Connection) {
        let mut idle = self.idle.lock();
        if !self.permits.is_closed() {
            idle.push(conn);
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped with")]
fn ended_early(error: tokio::task::JoinError) -> Error {
    Error::Unavailable(format!("a metadata read ended early: {error}"))
}

fn shut_down() -> Error {
    Error::Unavailable("the metadata store is shut down".to_owned())
}

fn multi_get<'a>(
    conn: &Connection,
    partition: Partition,
    keys: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Result<Vec<Option<Entry>>, Failure> {
    // One statement is one moment by itself.
    let _moment = if keys.len() > 1 { Some(conn.unchecked_transaction()?) } else { None };
    keys.map(|key| row::find(conn, partition, key, Projection::Full)).collect()
}

/// The first entries of each range, at one moment.
pub(super) fn multi_scan(
    conn: &Connection,
    partition: Partition,
    ranges: &[(KeyRange, usize)],
    projection: Projection,
) -> Result<Vec<Vec<Entry>>, Failure> {
    // One statement is one moment by itself.
    let _moment = if ranges.len() > 1 { Some(conn.unchecked_transaction()?) } else { None };
    ranges.iter().map(|(range, limit)| scan(conn, partition, range, *limit, projection)).collect()
}

/// The first `limit` entries of `range`.
fn scan(conn: &Connection, partition: Partition, range: &KeyRange, limit: usize, projection: Projection) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    let mut statement = Scan::prepare(conn, partition, projection, range.end.as_deref())?;
    statement.visit(&range.start, limit, |row| {
        entries.push(row::decode(row, partition, projection)?);
        Ok(true)
    })?;
    Ok(entries)
}

/// One page of a listing with a delimiter, at one moment.
pub(super) fn scan_delim(conn: &Connection, partition: Partition, scan: ScanDelim) -> Result<DelimPage, Failure> {
    let mut walk = DelimWalk::new(scan);
    let Some(range) = walk.range() else { return Ok(walk.finish()) };
    let _moment = conn.unchecked_transaction()?;
    let mut statement = Scan::prepare(conn, partition, Projection::Head, range.end.as_deref())?;
    let mut from = Some(range.start);
    while let Some(start) = from.take() {
        statement.visit(&start, usize::MAX, |row| {
            match walk.offer(row::key(row)?) {
                Step::Take => walk.take(row::decode(row, partition, Projection::Head)?),
                Step::Next => {}
                Step::Seek(next) => {
                    from = Some(next);
                    return Ok(false);
                }
                Step::Stop => return Ok(false),
            }
            Ok(true)
        })?;
    }
    Ok(walk.finish())
}

/// A statement over the rows up to an end, that can be started anywhere.
struct Scan<'c> {
    statement: CachedStatement<'c>,
    partition: Partition,
    end: Option<&'c [u8]>,
}

impl<'c> Scan<'c> {
    fn prepare(conn: &'c Connection, partition: Partition, projection: Projection, end: Option<&'c [u8]>) -> Result<Self, Failure> {
        let statement = conn.prepare_cached(row::select_range(projection, end.is_some()))?;
        Ok(Self { statement, partition, end })
    }

    /// Shows rows from `start` on to `each`, at most `limit`, until it has had enough.
    fn visit(&mut self, start: &[u8], limit: usize, mut each: impl FnMut(&Row<'_>) -> Result<bool, Failure>) -> Result<(), Failure> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = self.statement.query(params![row::column(self.partition), start, self.end, limit])?;
        while let Some(row) = rows.next()? {
            if !each(row)? {
                break;
            }
        }
        Ok(())
    }
}
