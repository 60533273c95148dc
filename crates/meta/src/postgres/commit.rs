//! One commit: two flights to the database, and the truth about what became of it.
//!
//! The first flight opens a transaction, locks the batch's slots, draws the revision and reads what has to be judged. The second
//! writes and commits. Each is one round trip, its statements sent without waiting for one another. In between the batch is judged here.
//!
//! The revision is drawn by writing it into the row that this connection has in `umbra_session`, within the transaction. So once the
//! first flight was answered, the transaction holds that row locked until it ends: whoever locks the row afterwards has waited for the
//! end, and finds the revision in it if, and only if, the commit took place.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::{future::join_all, join};
use tokio::time::timeout;
use tokio_postgres::error::Severity;

use super::{
    Store,
    failure::{Attempts, Failure, text},
    pool::{Connection, LOCK_TIMEOUT, Lent},
    position::Position,
    row,
    slots::{Run, Slots},
    sql::Sql,
};
use crate::{
    Batch, Committed, Entry, Error, Partition, Projection, Result, Revision, Write,
    counter::{counter_head, value_at},
    sums::Sums,
};

/// How long a flight may take. Each of its locks is waited for at most [`LOCK_TIMEOUT`], and a commit for as long as its standbys take.
const FLIGHT_MAX: Duration = Duration::from_secs(3 * LOCK_TIMEOUT.as_secs());

/// The statement timeout must not cut off a commit that waits for a standby: it would be acknowledged all the same.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0";

/// What the writes of a batch come to, key by key: what is kept, or that nothing is.
type Outcome<'a> = BTreeMap<&'a [u8], Option<(Bytes, Bytes)>>;

/// A commit that took place.
pub(super) struct Landed {
    pub(super) committed: Committed,
    /// Where in the log it is at the latest; nothing where that is not known.
    pub(super) position: Option<Position>,
}

/// How the second flight ended.
enum Landing {
    /// At this place in the log, if that is asked for.
    Committed(Option<Position>),
    /// Nothing was written, for certain.
    Undone(Failure),
    /// The connection ended before it said.
    Unclear(String),
}

/// Commits `batch`. Runs to its end unless dropped, so it is given a task of its own.
pub(super) async fn commit(store: &Store, batch: &Batch) -> Result<Landed> {
    let slots = Slots::of(batch);
    let waited = timeout(store.settings.patience, store.gates.hold(&slots)).await;
    let _held = waited.map_err(|_| Error::Unavailable("the keys of a commit are being written by others".to_owned()))?;
    let mut attempts = Attempts::within(store.settings.patience);
    loop {
        match attempt(store, batch, &slots).await {
            Ok(landed) => return Ok(landed),
            Err(failure) => attempts.next(failure).await?,
        }
    }
}

async fn attempt(store: &Store, batch: &Batch, slots: &Slots) -> Result<Landed, Failure> {
    let conn = store.pool.take().await?;
    let opened = match in_time(first_flight(&conn, batch, slots)).await {
        Ok(opened) => opened,
        Err(failure) => return Err(undo(store, conn, failure).await),
    };
    let (revision, found) = opened;
    let changes = match judge(batch, &found) {
        Ok(changes) => changes,
        Err(Refusal::Conflict(key)) => return Err(conflict(store, conn, batch.partition, key).await),
        Err(Refusal::Corrupt(error)) => return Err(undo(store, conn, error.into()).await),
    };
    match second_flight(&conn, batch.partition, revision, &changes).await {
        Landing::Committed(position) => {
            conn.committed(position);
            store.pool.give_back(conn);
            Ok(Landed { committed: Committed { revision }, position })
        }
        Landing::Undone(failure) => Err(undo(store, conn, failure).await),
        Landing::Unclear(why) => {
            let session = conn.session;
            // Closed first: that is what ends the transaction, should it not have ended.
            drop(conn);
            tracing::warn!(why, "the connection to the metadata database was lost during a commit; its outcome is being found out");
            let took_place = took_place(store, session, revision).await?;
            if took_place { Ok(Landed { committed: Committed { revision }, position: None }) } else { Err(Failure::Again(why)) }
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = |_| Failure::Lost(format!("the metadata database did not answer within {} s", FLIGHT_MAX.as_secs()));
    timeout(FLIGHT_MAX, work).await.map_err(late)?
}

/// Opens the transaction, locks, draws and reads.
async fn first_flight(conn: &Connection, batch: &Batch, slots: &Slots) -> Result<(Revision, BTreeMap<Bytes, Entry>), Failure> {
    let partition = row::column(batch.partition);
    let keys = judged_keys(batch);
    let read = async { if keys.is_empty() { Ok(Vec::new()) } else { conn.rows(Sql::Judge, &[&partition, &keys]).await } };
    // Polled in this order, hence sent in this order.
    let (begun, locked, drawn, read) = join!(
        conn.batch(BEGIN),
        join_all(slots.0.iter().map(|run| lock(conn, run))),
        async { conn.rows(Sql::Draw, &[&conn.session]).await },
        read,
    );
    begun?;
    locked.into_iter().collect::<Result<(), _>>()?;
    let drawn = drawn?;
    let Some(drawn) = drawn.first() else { return Err(Failure::Lost("the session of a connection was closed".to_owned())) };
    let revision = Revision(drawn.try_get::<_, i64>(0)?.cast_unsigned());
    let decoded = |row: &_| row::decode(row, batch.partition, Projection::Head).map(|entry| (entry.key.clone(), entry));
    Ok((revision, read?.iter().map(decoded).collect::<Result<_, _>>()?))
}

async fn lock(conn: &Connection, run: &Run) -> Result<(), tokio_postgres::Error> {
    conn.run(if run.is_alone { Sql::Lock } else { Sql::LockShared }, &[&run.slots]).await
}

/// The keys whose entries decide something.
fn judged_keys(batch: &Batch) -> Vec<&[u8]> {
    let added = batch.writes.iter().filter_map(|write| if let Write::Add { key, .. } = write { Some(key.as_slice()) } else { None });
    batch.checks.iter().map(|check| check.key.as_slice()).chain(added).collect()
}

enum Refusal<'a> {
    /// The check of this key does not hold.
    Conflict(&'a [u8]),
    Corrupt(Error),
}

/// What is to be written, if every check holds and every counter is one.
fn judge<'a>(batch: &'a Batch, found: &BTreeMap<Bytes, Entry>) -> Result<Outcome<'a>, Refusal<'a>> {
    for check in &batch.checks {
        if !check.expect.holds(found.get(check.key.as_slice()).map(|entry| entry.revision)) {
            return Err(Refusal::Conflict(&check.key));
        }
    }
    let mut changes = Outcome::new();
    for write in &batch.writes {
        match write {
            Write::Put { key, head, body } => changes.insert(key, Some((head.clone(), body.clone()))),
            Write::Delete { key } => changes.insert(key, None),
            Write::Add { key, delta } => {
                let head = match changes.get(key.as_slice()) {
                    Some(change) => change.as_ref().map(|(head, _)| head),
                    None => found.get(key.as_slice()).map(|entry| &entry.head),
                };
                let held = head.map_or(Ok(0), |head| value_at(batch.partition, key, head)).map_err(Refusal::Corrupt)?;
                changes.insert(key, Some((counter_head(held.wrapping_add(*delta)), Bytes::new())))
            }
        };
    }
    Ok(changes)
}

/// Writes and commits.
async fn second_flight(conn: &Connection, partition: Partition, revision: Revision, changes: &Outcome<'_>) -> Landing {
    let landed = timeout(FLIGHT_MAX, write(conn, partition, revision, changes)).await;
    landed.unwrap_or_else(|_| Landing::Unclear("no answer to a commit".to_owned()))
}

async fn write(conn: &Connection, partition: Partition, revision: Revision, changes: &Outcome<'_>) -> Landing {
    let (mut keys, mut heads, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut head_sums, mut body_sums) = (Vec::new(), Vec::new());
    for (key, kept) in changes {
        if let Some((head, body)) = kept {
            let sums = Sums::new(partition, key, revision);
            keys.push(*key);
            heads.push(&head[..]);
            bodies.push(&body[..]);
            head_sums.push(sums.over(head));
            body_sums.push(sums.over(body));
        }
    }
    let removed: Vec<&[u8]> = changes.iter().filter(|(_, kept)| kept.is_none()).map(|(key, _)| *key).collect();
    let (p, rev) = (row::column(partition), revision.0.cast_signed());
    let put = async {
        if keys.is_empty() { Ok(()) } else { conn.run(Sql::Put, &[&p, &rev, &keys, &heads, &head_sums, &body_sums, &bodies]).await }
    };
    let delete = async { if removed.is_empty() { Ok(()) } else { conn.run(Sql::Delete, &[&p, &removed]).await } };
    // Polled in this order, hence sent in this order.
    let (put, deleted, committed, position) = join!(put, delete, conn.batch("COMMIT"), conn.position());
    for result in [put, deleted] {
        if let Err(error) = result {
            // A statement that was refused has undone the transaction: what COMMIT then did was to roll it back.
            let is_refused = error.as_db_error().is_some_and(|answer| answer.parsed_severity() == Some(Severity::Error));
            return if is_refused { Landing::Undone(error.into()) } else { Landing::Unclear(text(&error)) };
        }
    }
    committed.map_or_else(|error| Landing::Unclear(text(&error)), |()| Landing::Committed(position.ok().flatten()))
}

/// The conflict at `key`, with what it holds now.
async fn conflict(store: &Store, conn: Lent, partition: Partition, key: &[u8]) -> Failure {
    let read = async { conn.seen(Sql::Find, &[&row::column(partition), &key]).await.map_err(Failure::from) };
    let current = match in_time(read).await {
        Ok(rows) => rows.first().map(|row| row::decode(row, partition, Projection::Full)).transpose(),
        Err(failure) => Err(failure),
    };
    let failure = match current {
        Ok(current) => Failure::Answer(Error::Conflict { key: key.to_vec(), current: current.map(Box::new) }),
        Err(failure) => failure,
    };
    undo(store, conn, failure).await
}

/// Ends the transaction, and keeps the connection if it is still good. Answers `failure`.
async fn undo(store: &Store, conn: Lent, failure: Failure) -> Failure {
    if !matches!(failure, Failure::Lost(_)) {
        let ended = in_time(async { conn.batch("ROLLBACK").await.map_err(Failure::from) }).await;
        if ended.is_ok() {
            store.pool.give_back(conn);
        }
    }
    failure
}

/// Finds out whether the transaction that drew `revision` on the connection `session` was committed, however long it takes to end.
async fn took_place(store: &Store, session: i64, revision: Revision) -> Result<bool> {
    let mut attempts = Attempts::within(store.settings.outcome_wait);
    loop {
        match look_up(store, session).await {
            Ok(Some(last)) => return Ok(last == revision),
            Ok(None) => return Err(Error::Unknown("the database has no record of the connection any more".to_owned())),
            Err(failure) => {
                // Nothing is an answer here but the record, whatever the database says meanwhile.
                let again = Failure::Again(Error::from(failure).to_string());
                attempts.next(again).await.map_err(|error| Error::Unknown(error.to_string()))?;
            }
        }
    }
}

/// The revision of the last commit on the connection `session`, once its last transaction has ended.
async fn look_up(store: &Store, session: i64) -> Result<Option<Revision>, Failure> {
    let conn = store.pool.take().await?;
    let rows = in_time(async { conn.rows(Sql::Outcome, &[&session]).await.map_err(Failure::from) }).await?;
    let last = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?;
    if last.is_some() {
        // Asked once, never again. Should it fail, the row goes with the store's next opening.
        conn.run(Sql::Forget, &[&session]).await.ok();
    }
    store.pool.give_back(conn);
    Ok(last.map(|last| Revision(last.cast_unsigned())))
}
