//! How far a database's log has come, to tell whether a standby has what its primary has shown.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio_postgres::{Client, Row};

/// One start of one server: when that was, in microseconds. A server that is started again is another, and so is each of several behind one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Instance(pub(super) i64);

impl Instance {
    /// The one that `client` is connected to.
    pub(super) async fn of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let started = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8";
        Ok(Self(client.query_one(started, &[]).await?.try_get(0)?))
    }
}

/// A place in the log, and who said so: places of different primaries cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) instance: Instance,
    pub(super) lsn: u64,
}

/// What a server says of its log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    pub(super) is_standby: bool,
    /// What a standby has replayed; what is durable at a primary.
    pub(super) position: Position,
}

impl Log {
    pub(super) const SQL: &'static str = "SELECT pg_is_in_recovery(), (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
              ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::int8";

    /// Reads the answer of `instance` to [`Self::SQL`].
    pub(super) fn read(row: &Row, instance: Instance) -> Result<Self, tokio_postgres::Error> {
        // A standby that has replayed nothing says nothing.
        let lsn = row.try_get::<_, Option<i64>>(1)?.unwrap_or(0).cast_unsigned();
        Ok(Self { is_standby: row.try_get(0)?, position: Position { instance, lsn } })
    }
}

/// Up to where this node has shown or acknowledged something: a standby that is behind it may not be read.
#[derive(Debug, Default)]
pub(super) struct Floor(AtomicU64);

impl Floor {
    pub(super) fn lsn(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn raise(&self, position: Option<Position>) {
        if let Some(position) = position {
            self.0.fetch_max(position.lsn, Ordering::SeqCst);
        }
    }

    /// Brings the floor down to where a new primary is, after one that was lost with what it had not passed on.
    pub(super) fn lower(&self, position: Position) {
        self.0.fetch_min(position.lsn, Ordering::SeqCst);
    }
}
