//! One entry as a row: the columns, and the checksums that cover them.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::failure::Failure;
use crate::{Entry, Error, Partition, Projection, Revision, sums::Sums};

const SELECT_HEAD: &str = "SELECT k, rev, head, hsum FROM kv WHERE p = ?1 AND k = ?2";
const SELECT_FULL: &str = "SELECT k, rev, head, hsum, bsum, body FROM kv WHERE p = ?1 AND k = ?2";
const PUT: &str = "INSERT OR REPLACE INTO kv (p, k, rev, head, hsum, bsum, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const DELETE: &str = "DELETE FROM kv WHERE p = ?1 AND k = ?2";

/// The statement that reads `range`, in order: the columns are those that [`decode`] expects.
pub(super) const fn select_range(projection: Projection, has_end: bool) -> &'static str {
    match (projection, has_end) {
        (Projection::Head, true) => "SELECT k, rev, head, hsum FROM kv WHERE p = ?1 AND k >= ?2 AND k < ?3 ORDER BY k LIMIT ?4",
        (Projection::Head, false) => "SELECT k, rev, head, hsum FROM kv WHERE p = ?1 AND k >= ?2 ORDER BY k LIMIT ?4",
        (Projection::Full, true) => "SELECT k, rev, head, hsum, bsum, body FROM kv WHERE p = ?1 AND k >= ?2 AND k < ?3 ORDER BY k LIMIT ?4",
        (Projection::Full, false) => "SELECT k, rev, head, hsum, bsum, body FROM kv WHERE p = ?1 AND k >= ?2 ORDER BY k LIMIT ?4",
    }
}

/// The partition as SQLite stores it.
pub(super) const fn column(partition: Partition) -> i64 {
    partition.0.cast_signed()
}

/// The entry of `key`.
pub(super) fn find(conn: &Connection, partition: Partition, key: &[u8], projection: Projection) -> Result<Option<Entry>, Failure> {
    let sql = match projection {
        Projection::Head => SELECT_HEAD,
        Projection::Full => SELECT_FULL,
    };
    let mut statement = conn.prepare_cached(sql)?;
    let decoded = statement.query_row(params![column(partition), key], |row| Ok(decode(row, partition, projection)));
    decoded.optional()?.transpose()
}

/// The key of a row, wherever it leads.
pub(super) fn key<'a>(row: &'a Row<'_>) -> Result<&'a [u8], Failure> {
    blob(row, 0)
}

/// The entry in a row, once its checksums are found to be right.
pub(super) fn decode(row: &Row<'_>, partition: Partition, projection: Projection) -> Result<Entry, Failure> {
    let (key, head) = (key(row)?, blob(row, 2)?);
    let revision = Revision(row.get::<_, i64>(1)?.cast_unsigned());
    let sums = Sums::new(partition, key, revision);
    if sums.over(head) != row.get::<_, i64>(3)? {
        return Err(Error::corrupt(partition, key, "its head does not match its checksum").into());
    }
    let body = match projection {
        Projection::Head => Bytes::new(),
        Projection::Full => {
            let body = blob(row, 5)?;
            if sums.over(body) != row.get::<_, i64>(4)? {
                return Err(Error::corrupt(partition, key, "its body does not match its checksum").into());
            }
            Bytes::copy_from_slice(body)
        }
    };
    Ok(Entry { key: Bytes::copy_from_slice(key), revision, head: Bytes::copy_from_slice(head), body })
}

/// Writes an entry over whatever the key holds.
pub(super) fn put(
    conn: &Connection,
    partition: Partition,
    key: &[u8],
    revision: Revision,
    head: &[u8],
    body: &[u8],
) -> rusqlite::Result<()> {
    let sums = Sums::new(partition, key, revision);
    let values = params![column(partition), key, revision.0.cast_signed(), head, sums.over(head), sums.over(body), body];
    conn.prepare_cached(PUT)?.execute(values).map(drop)
}

/// Removes an entry, if there is one.
pub(super) fn delete(conn: &Connection, partition: Partition, key: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached(DELETE)?.execute(params![column(partition), key]).map(drop)
}

fn blob<'a>(row: &'a Row<'_>, index: usize) -> Result<&'a [u8], Failure> {
    let value = row.get_ref(index)?;
    let wrong_type = |_| rusqlite::Error::InvalidColumnType(index, "a blob".to_owned(), value.data_type());
    Ok(value.as_blob().map_err(wrong_type)?)
}
