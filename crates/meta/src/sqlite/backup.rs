//! A copy of the file while it is in use.

use std::{fs, path::Path};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
    ffi,
};

use super::{SqliteSettings, failure::translate, schema};
use crate::{Error, Result};

/// Copies the store at `path` to the new file `to`: whole and durable, or not there.
pub(super) fn copy(path: &Path, settings: &SqliteSettings, to: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::Unavailable(format!("back up to {}: {error}", to.display()));
    if fs::exists(to).map_err(failed)? {
        return Err(Error::Unavailable(format!("back up to {}: there is a file already", to.display())));
    }
    let partial = schema::beside(to, ".partial");
    remove(&partial).map_err(failed)?;
    copy_pages(path, settings, &partial).map_err(|error| translate(&error))?;
    fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&partial, to).map_err(failed)?;
    schema::sync_directory(to)
}

fn copy_pages(path: &Path, settings: &SqliteSettings, partial: &Path) -> rusqlite::Result<()> {
    let source = schema::open_connection(path, settings.reader_cache_bytes, true)?;
    let mut target = Connection::open(partial)?;
    // A copy that is cut short is thrown away, and one that is whole is synced below: no need for a journal.
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    // The open transaction holds one moment; without it every commit would start the copy over.
    let moment = source.unchecked_transaction()?;
    source.query_row("SELECT count(*) FROM store", [], |_| Ok(()))?;
    let backup = Backup::new(&source, &mut target)?;
    let step = backup.step(-1)?;
    drop(backup);
    drop(moment);
    target.close().map_err(|(_, error)| error)?;
    match step {
        StepResult::Done => Ok(()),
        _ => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)),
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
