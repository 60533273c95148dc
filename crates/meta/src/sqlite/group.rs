//! One group commit: several batches, each judged on its own, in one SQLite transaction.

use rusqlite::Connection;

use super::{counters::Counters, failure::Failure, row};
use crate::{Batch, Check, Committed, Entry, Error, Projection, Result, Revision, Write};

/// Revisions reserved at once. A restart skips what is left of them; that is no loss out of 2^63.
const REVISIONS_RESERVED: u64 = 1 << 12;

/// The store's revision counter: what comes next, and up to where the file knows.
pub(super) struct Revisions {
    next: u64,
    bound: u64,
}

impl Revisions {
    /// Goes on where the file's bound is.
    pub(super) const fn from_bound(bound: u64) -> Self {
        Self { next: bound, bound }
    }

    /// Sees to it that the file's bound, once the transaction is committed, is above the next `count` revisions.
    fn reserve(&self, conn: &Connection, count: u64) -> rusqlite::Result<u64> {
        if self.next + count <= self.bound {
            return Ok(self.bound);
        }
        let bound = self.next + count + REVISIONS_RESERVED;
        conn.prepare_cached("UPDATE store SET revision_bound = ?1 WHERE id = 1")?.execute([bound.cast_signed()])?;
        Ok(bound)
    }

    fn take(&mut self) -> Revision {
        let revision = Revision(self.next);
        self.next += 1;
        revision
    }
}

/// Why a group ended without a commit.
#[derive(Debug)]
pub(super) struct Abandoned {
    /// What SQLite said.
    pub(super) error: rusqlite::Error,
    /// Whether nothing of the group is there nor can come back.
    pub(super) is_undone: bool,
}

/// Applies `batches` in one transaction. Once this returns, the answers hold: `COMMIT` returned.
pub(super) fn commit<'a>(
    conn: &Connection,
    revisions: &mut Revisions,
    batches: impl ExactSizeIterator<Item = &'a Batch>,
) -> Result<Vec<Result<Committed>>, Abandoned> {
    conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])).map_err(|error| Abandoned { error, is_undone: true })?;
    let applied = apply_all(conn, revisions, batches).map_err(|error| abandon(conn, error, true))?;
    conn.prepare_cached("COMMIT")
        .and_then(|mut commit| commit.execute([]))
        // After a failed flush the log may or may not hold the group, whatever a rollback says.
        .map_err(|error| abandon_commit(conn, error))?;
    revisions.bound = applied.bound;
    Ok(applied.answers)
}

struct Applied {
    answers: Vec<Result<Committed>>,
    bound: u64,
}

fn apply_all<'a>(
    conn: &Connection,
    revisions: &mut Revisions,
    batches: impl ExactSizeIterator<Item = &'a Batch>,
) -> rusqlite::Result<Applied> {
    let bound = revisions.reserve(conn, batches.len() as u64)?;
    let mut group = Group { conn, counters: Counters::default() };
    let mut answers = Vec::with_capacity(batches.len());
    for batch in batches {
        answers.push(match group.judge(batch) {
            Ok(()) => Ok(group.apply(batch, revisions.take())?),
            Err(Failure::Answer(refusal)) => Err(refusal),
            Err(Failure::Sqlite(error)) => return Err(error),
        });
    }
    group.counters.flush(conn)?;
    Ok(Applied { answers, bound })
}

fn abandon(conn: &Connection, error: rusqlite::Error, was_clean: bool) -> Abandoned {
    // SQLite rolls back by itself after some errors; then there is nothing to roll back any more.
    let is_rolled_back = conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok();
    Abandoned { error, is_undone: was_clean && is_rolled_back }
}

fn abandon_commit(conn: &Connection, error: rusqlite::Error) -> Abandoned {
    // The frame that seals a commit is the last one written: when the disk was full, it is not there.
    let was_clean = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    abandon(conn, error, was_clean)
}

struct Group<'c> {
    conn: &'c Connection,
    counters: Counters,
}

impl Group<'_> {
    /// Whether `batch` may be applied. Changes nothing.
    fn judge(&mut self, batch: &Batch) -> Result<(), Failure> {
        for Check { key, expect } in &batch.checks {
            let current = self.find(batch, key, Projection::Head)?;
            if !expect.holds(current.map(|entry| entry.revision)) {
                let current = self.find(batch, key, Projection::Full)?.map(Box::new);
                return Err(Error::Conflict { key: key.clone(), current }.into());
            }
        }
        for write in &batch.writes {
            if let Write::Add { key, .. } = write {
                self.counters.load(self.conn, batch.partition, key)?;
            }
        }
        Ok(())
    }

    /// Writes what `batch` asks for.
    fn apply(&mut self, batch: &Batch, revision: Revision) -> rusqlite::Result<Committed> {
        let partition = batch.partition;
        for write in &batch.writes {
            match write {
                Write::Put { key, head, body } => {
                    self.counters.forget(partition, key);
                    row::put(self.conn, partition, key, revision, head, body)?;
                }
                Write::Delete { key } => {
                    self.counters.forget(partition, key);
                    row::delete(self.conn, partition, key)?;
                }
                Write::Add { key, delta } => self.counters.add(partition, key, *delta, revision),
            }
        }
        Ok(Committed { revision })
    }

    fn find(&self, batch: &Batch, key: &[u8], projection: Projection) -> Result<Option<Entry>, Failure> {
        match self.counters.entry(batch.partition, key) {
            Some(entry) => Ok(Some(entry)),
            None => row::find(self.conn, batch.partition, key, projection),
        }
    }
}

#[cfg(test)]
mod tests;
