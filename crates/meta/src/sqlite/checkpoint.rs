//! Copying the write-ahead log into the file, in the background.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, MAIN_DB, wal::CheckpointMode};

use super::{failure::translate, schema, writer::Writer};
use crate::{Error, Result};

/// How often the background looks for something to copy.
const EVERY: Duration = Duration::from_millis(100);
/// How long no commit must have come before the log file is emptied.
const IDLE: Duration = Duration::from_secs(2);
/// How large the log file must be to be worth it.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// The checkpointer only copies pages.
const CACHE_BYTES: usize = 1 << 20;

/// How far a checkpoint goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Copies what it can without waiting for anybody.
    Passive,
    /// Copies everything and empties the log file; gives up at once when somebody reads it.
    Truncate,
}

/// Runs one checkpoint; answers whether nothing is left to copy. A failure is no loss, the log keeps everything.
pub(super) fn run(conn: &Connection, mode: Mode) -> bool {
    let result = match mode {
        Mode::Passive => conn.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE),
        Mode::Truncate => without_waiting(conn, |conn| conn.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE)),
    };
    match result {
        Ok((in_log, copied)) => in_log == copied,
        // Another checkpoint is under way, or somebody reads.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => false,
        Err(error) => {
            tracing::warn!(%error, ?mode, "the metadata log could not be copied");
            false
        }
    }
}

fn without_waiting<T>(conn: &Connection, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    conn.busy_timeout(Duration::ZERO)?;
    let result = act(conn);
    conn.busy_timeout(schema::BUSY_TIMEOUT)?;
    result
}

/// The background thread.
pub(super) struct Checkpointer {
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Dropping it wakes the thread.
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(path: &Path, writer: &Arc<Writer>) -> Result<Self> {
        let conn = schema::open_connection(path, CACHE_BYTES, false).map_err(|error| translate(&error))?;
        let (stop, stopped) = mpsc::channel();
        let background = Background {
            conn,
            log: schema::beside(path, "-wal"),
            writer: Arc::clone(writer),
            seen: 0,
            is_copied: false,
            changed: Instant::now(),
        };
        let thread = thread::Builder::new()
            .name("meta-checkpoint".to_owned())
            .spawn(move || background.run(&stopped))
            .map_err(|error| Error::Unavailable(format!("start the checkpointer: {error}")))?;
        Ok(Self { running: Mutex::new(Some(Running { stop, thread })) })
    }

    /// Waits for the checkpoint under way, and ends the thread.
    pub(super) fn stop(&self) {
        if let Some(Running { stop, thread }) = self.running.lock().take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the checkpointer panicked");
            }
        }
    }
}

struct Background {
    conn: Connection,
    log: PathBuf,
    writer: Arc<Writer>,
    /// How many groups the writer had committed when the last checkpoint began.
    seen: u64,
    /// Whether that checkpoint left nothing to copy.
    is_copied: bool,
    /// When the writer was last seen to have committed.
    changed: Instant,
}

impl Background {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        while stopped.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.tick();
        }
    }

    fn tick(&mut self) {
        let commits = self.writer.commits();
        if commits != self.seen {
            self.changed = Instant::now();
        }
        if commits != self.seen || !self.is_copied {
            self.seen = commits;
            self.is_copied = run(&self.conn, Mode::Passive);
        } else if self.changed.elapsed() >= IDLE && self.log.metadata().is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            self.writer.truncate_log();
            self.changed = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mode, run};
    use crate::sqlite::{SqliteSettings, schema};

    #[test]
    fn the_log_is_emptied_unless_somebody_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        let writer = schema::open_store(&path, &SqliteSettings::default()).unwrap().conn;
        let reader = schema::open_connection(&path, 1 << 20, true).unwrap();
        let log_bytes = || schema::beside(&path, "-wal").metadata().unwrap().len();
        writer.execute_batch("INSERT INTO kv VALUES (1, x'00', 1, x'', 0, 0, x'')").unwrap();
        let reading = reader.unchecked_transaction().unwrap();
        reader.query_row("SELECT count(*) FROM kv", [], |_| Ok(())).unwrap();
        assert!(!run(&writer, Mode::Truncate), "the reader is in the way");
        assert!(log_bytes() > 0);
        assert!(run(&writer, Mode::Passive), "but does not keep it from being copied");
        drop(reading);
        assert!(run(&writer, Mode::Truncate));
        assert_eq!(log_bytes(), 0);
    }
}
