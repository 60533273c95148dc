//! Reading at a standby, within bounds.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    DelimPage, Entry, Error, KeyRange, MetaStore, Partition, Projection, Result, ScanDelim,
    postgres::{
        PostgresMetaStore,
        failure::Failure,
        pool::{Connection, Lent, Pool, Purpose},
        position::Instance,
        read,
        target::Target,
    },
};

/// How long a read at a standby may take before it is made at the primary.
pub(super) const READ_MAX: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Get(Partition, Vec<Vec<u8>>),
    Ranges(Partition, Vec<(KeyRange, usize)>, Projection),
    Page(Partition, ScanDelim),
}

/// What was found, each of the kind that was asked for.
#[derive(Debug)]
pub(super) enum Found {
    Entries(Vec<Option<Entry>>),
    Ranges(Vec<Vec<Entry>>),
    Page(DelimPage),
}

impl Ask {
    /// Asks the primary.
    pub(super) async fn at(self, primary: &PostgresMetaStore) -> Result<Found> {
        match self {
            Self::Get(partition, keys) => {
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                primary.multi_get(partition, &keys).await.map(Found::Entries)
            }
            Self::Ranges(partition, ranges, projection) => primary.multi_scan(partition, ranges, projection).await.map(Found::Ranges),
            Self::Page(partition, scan) => primary.scan_delim(partition, scan).await.map(Found::Page),
        }
    }

    async fn on(self, conn: &Connection) -> Result<Found, Failure> {
        match self {
            Self::Get(partition, keys) => read::multi_get(conn, partition, &keys).await.map(Found::Entries),
            Self::Ranges(partition, ranges, projection) => read::multi_scan(conn, partition, &ranges, projection).await.map(Found::Ranges),
            Self::Page(partition, scan) => read::scan_delim(conn, partition, scan).await.map(Found::Page),
        }
    }
}

/// A standby, to be read.
pub(super) struct Replica {
    pool: Arc<Pool>,
}

impl Replica {
    pub(super) fn new(target: Target, connections_max: usize) -> Self {
        Self { pool: Arc::new(Pool::new(target, Purpose::Nearby, connections_max, READ_MAX, READ_MAX)) }
    }

    /// A connection beside those that are read on.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        self.pool.connect().await
    }

    /// Reads at `standby`; nothing when it turns out to be behind `floor`, where that is given.
    ///
    /// On a task of its own, so that a connection is in order afterwards also when nobody waits for the answer any more.
    pub(super) async fn read(&self, ask: Ask, standby: Instance, floor: Option<u64>) -> Result<Option<Found>> {
        let pool = Arc::clone(&self.pool);
        let reading = tokio::spawn(async move {
            let late = |_| Error::Unavailable("the metadata replica does not answer".to_owned());
            timeout(READ_MAX, read_at(&pool, ask, standby, floor)).await.map_err(late)?.map_err(Error::from)
        });
        reading.await.map_err(|error| Error::Unavailable(format!("a read at the metadata replica ended early: {error}")))?
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

async fn read_at(pool: &Pool, ask: Ask, standby: Instance, floor: Option<u64>) -> Result<Option<Found>, Failure> {
    let conn: Lent = pool.take().await?;
    if conn.instance() != Some(standby) {
        return Err(Failure::Lost("the metadata replica is another server than the one that was looked at".to_owned()));
    }
    let told = async { if floor.is_some() { conn.position().await } else { Ok(None) } };
    // Polled in this order, hence asked in this order: what is read is not before what the log is told to be at.
    let (position, found) = tokio::join!(told, ask.on(&conn));
    if !matches!(found, Err(Failure::Lost(_))) {
        pool.give_back(conn);
    }
    let (position, found) = (position?, found?);
    let is_behind = floor.is_some_and(|floor| position.is_none_or(|position| position.lsn < floor));
    Ok((!is_behind).then_some(found))
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").finish_non_exhaustive()
    }
}
