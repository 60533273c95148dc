//! All rows of a file, and a file of all rows.

use std::{fs, path::Path};

use rusqlite::{Connection, params};

use super::{
    SqliteSettings,
    checkpoint::{self, Mode},
    failure::{Failure, translate},
    row, schema,
};
use crate::{Entry, Error, Partition, Projection, Result};

const SELECT_ALL: &str = "SELECT k, rev, head, hsum, bsum, body, p FROM kv ORDER BY p, k";

/// Shows every row of the store at `path` to `each`, as they stand at one moment. The store may be in use.
pub(super) fn export(path: &Path, each: impl FnMut(Partition, &Entry) -> Result<()>) -> Result<()> {
    if !fs::exists(path).map_err(|error| unavailable(path, &error))? {
        return Err(unavailable(path, &"there is no metadata"));
    }
    let conn = schema::open_connection(path, SqliteSettings::default().reader_cache_bytes, true).map_err(|error| translate(&error))?;
    if schema::check_version(&conn)? {
        return Err(unavailable(path, &"there is no metadata"));
    }
    Ok(show_all(&conn, each)?)
}

fn show_all(conn: &Connection, mut each: impl FnMut(Partition, &Entry) -> Result<()>) -> Result<(), Failure> {
    // One statement is one moment.
    let mut statement = conn.prepare(SELECT_ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let partition = Partition(row.get::<_, i64>(6)?.cast_unsigned());
        each(partition, &row::decode(row, partition, Projection::Full)?)?;
    }
    Ok(())
}

/// Makes the store at `path`, where there is none, of the rows that `next` answers: whole and durable, or not there.
pub(super) fn import(path: &Path, next: impl FnMut() -> Result<Option<(Partition, Entry)>>) -> Result<()> {
    if fs::exists(path).map_err(|error| unavailable(path, &error))? {
        return Err(unavailable(path, &"there is metadata already; only an empty store can be filled"));
    }
    let partial = schema::beside(path, ".partial");
    remove_all(&partial)?;
    make(&partial, next).inspect_err(|_| drop(remove_all(&partial)))?;
    fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(|error| unavailable(path, &error))?;
    fs::rename(&partial, path).map_err(|error| unavailable(path, &error))?;
    remove_all(&partial)?;
    schema::sync_directory(path)
}

/// Makes a store of the rows, which is not durable yet.
fn make(path: &Path, next: impl FnMut() -> Result<Option<(Partition, Entry)>>) -> Result<()> {
    let opened = schema::open_store(path, &SqliteSettings::default())?;
    fill(&opened.conn, next)?;
    checkpoint::run(&opened.conn, Mode::Truncate);
    opened.conn.close().map_err(|(_, error)| translate(&error))
}

fn fill(conn: &Connection, mut next: impl FnMut() -> Result<Option<(Partition, Entry)>>) -> Result<()> {
    let failed = |error| translate(&error);
    let transaction = conn.unchecked_transaction().map_err(failed)?;
    let mut last = 0;
    while let Some((partition, entry)) = next()? {
        row::put(conn, partition, &entry.key, entry.revision, &entry.head, &entry.body).map_err(failed)?;
        last = last.max(entry.revision.0);
    }
    let bound = last.saturating_add(1).cast_signed();
    conn.execute("UPDATE store SET revision_bound = ?1 WHERE id = 1", params![bound]).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Removes what an import that was cut off has left.
fn remove_all(partial: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-lock"] {
        match fs::remove_file(schema::beside(partial, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unavailable(partial, &error)),
            _ => {}
        }
    }
    Ok(())
}

fn unavailable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(format!("{}: {why}", path.display()))
}
