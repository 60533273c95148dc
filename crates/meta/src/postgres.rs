//! Metadata in a database that speaks PostgreSQL's protocol: the engine of a store that outgrew one machine's disk.
//!
//! # Overview
//!
//! One table holds the entries of all partitions, ordered by partition and key. A read is one statement. A commit is two round trips (see
//! [`commit`]): the first locks, draws the revision and reads what has to be judged; the batch is judged here; the second writes
//! and commits. Everything runs at READ COMMITTED, and what makes batches atomic are row locks on *slots* (see [`slots`]) that stand for
//! keys, taken before anything is read.
//!
//! # Durability, and a commit that is cut off
//!
//! `COMMIT` answers when the database has made it durable; a session that was told `synchronous_commit = off` is set right. When
//! the connection is lost before the answer, the outcome is looked up where the transaction wrote it, once it has ended. Only when the
//! database stays away for [`PostgresSettings::outcome_wait`] is the answer [`Error::Unknown`]. What the database undid for the sake of
//! another transaction, or what was cut off before the second round trip, is done again, within [`PostgresSettings::patience`]. So a
//! restart of the database or a failover shows as latency while it is shorter than that. The URL may name several hosts: the one that
//! takes writes is connected to.
//!
//! # The tables
//!
//! ```text
//! umbra_kv(p, k, rev, hsum, bsum, head, body, PRIMARY KEY (p, k))
//!
//!   p     int8   the partition, a u64 in two's complement
//!   k     bytea  the key, see `key`
//!   rev   int8   the revision of the commit that wrote the entry
//!   hsum  int8   CRC-32C of  p:u64 rev:u64 len(k):u64 k head   (integers big-endian), as in SQLite
//!   bsum  int8   CRC-32C of  p:u64 rev:u64 len(k):u64 k body
//!   head  bytea  what a listing needs
//!   body  bytea  the rest
//!
//! umbra_slot(n)                             16,384 rows to lock, see `slots`
//! umbra_session(id, node, rev, opened)      a row per connection: the revision of its last commit, see `commit`
//! umbra_node(id, opened)                    the servers that may commit, see `node`
//! umbra_schema(id = 1, version)             the version of all this, see `schema`
//! umbra_revision                            the sequence that revisions are drawn from, while the slots are locked: so they grow
//! ```
//!
//! # What is avoided, for the sake of CockroachDB and YugabyteDB
//!
//! | avoided | because | instead |
//! |---|---|---|
//! | advisory locks | CockroachDB accepts and ignores them | rows to lock |
//! | `pg_xact_status`, `xmin` | PostgreSQL only | the revision in `umbra_session` |
//! | server functions, `DO` | differ most between versions | batches are judged here |
//! | SERIALIZABLE | measured: four times slower, thousands of retries | READ COMMITTED and locks; a server that makes it stricter is retried |
//! | `ASC` in a primary key | PostgreSQL refuses it, YugabyteDB needs it | written for YugabyteDB alone |
//! | collations | differ | `bytea` everywhere |
//! | making tables in a transaction | not undone everywhere | statements that may be repeated, under a lock held by another connection |
//! | `LISTEN`, triggers, partitions, `SKIP LOCKED`, `MERGE`, large objects | missing or young in one of them | not needed |
//! | planner and storage settings | PostgreSQL only | set where they are known, done without where not |
//!
//! YugabyteDB must run with `yb_enable_read_committed_isolation=true` and `ysql_sequence_cache_minval=1`; both are verified when the store
//! is opened. A pooler between has to pool sessions, not transactions.

mod commit;
mod dump;
mod failure;
mod nearby;
mod node;
mod pool;
mod position;
mod read;
mod row;
mod schema;
mod slots;
mod sql;
mod target;
mod tls;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::task::JoinError;
use tokio_postgres::Client;
use tokio_util::task::TaskTracker;

use crate::{Batch, Committed, DelimPage, Entry, Error, KeyRange, MetaStore, Partition, Projection, Result, ScanDelim, SharedMetaStore};

use commit::Landed;
use failure::{Attempts, Failure};
pub use nearby::{Nearby, ReplicaMetrics, ReplicaSettings};
use pool::{Pool, Purpose};
use position::Floor;
use slots::Gates;
use target::Target;

/// How an engine uses its database. The defaults suit a database on the same network.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// The name of this server among those that share the database. What tells its lives apart is added to it.
    pub node: String,
    /// Connections at most. Default 24: commits share the database's flushes, so more at once are cheaper each.
    pub connections_max: usize,
    /// How long an operation waits for its turn, for a connection, and for a database that restarts or fails over. Default 10 s.
    pub patience: Duration,
    /// How long the database may work on one read. Default 30 s.
    pub statement_timeout: Duration,
    /// How long the outcome of a commit that was cut off is looked for. Default 60 s.
    pub outcome_wait: Duration,
    /// Whether a standby is read as well, see [`Nearby`]: then whatever is read or committed tells how far the database's log has come.
    pub has_replica: bool,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            node: format!("{:016x}", rand::random::<u64>()),
            connections_max: 24,
            patience: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            outcome_wait: Duration::from_secs(60),
            has_replica: false,
        }
    }
}

/// A [`MetaStore`] in a database that speaks PostgreSQL's protocol. See the module's documentation.
pub struct PostgresMetaStore {
    store: Arc<Store>,
    tasks: TaskTracker,
}

/// What every operation works with.
struct Store {
    settings: PostgresSettings,
    target: Target,
    incarnation: String,
    gates: Gates,
    pool: Pool,
    /// Up to where something was shown or acknowledged, where a standby is read as well.
    floor: Option<Arc<Floor>>,
}

impl PostgresMetaStore {
    /// Opens the store in the database at `url`, making its tables when there are none.
    ///
    /// `url` is `postgres://USER[:PASSWORD]@HOST[:PORT][,HOST...]/DATABASE`; `password`, when given, is used instead of the one in it.
    /// The connection is by TLS with a verified name, unless it stays on this machine or the URL says `sslmode=disable`;
    /// `sslrootcert=FILE` names the authorities to believe. Refuses tables that a newer version made.
    pub async fn open(url: &str, password: Option<&str>, settings: PostgresSettings) -> Result<Self> {
        let target = Target::parse(url, password)?;
        let incarnation = format!("{}-{:08x}", settings.node, rand::random::<u32>());
        let mut attempts = Attempts::within(settings.patience);
        while let Err(failure) = prepare(&target, &incarnation).await {
            attempts.next(failure).await?;
        }
        Ok(Self { store: Arc::new(Store::new(settings, target, incarnation)), tasks: TaskTracker::new() })
    }

    /// The same store in the name of the same incarnation, with connections of its own: what must not wait for others goes there. It ends with
    /// what it was made from.
    pub fn beside(&self, connections_max: usize) -> Self {
        let Store { settings, target, incarnation, .. } = &*self.store;
        // What is told there is told to no client.
        let settings = PostgresSettings { connections_max, has_replica: false, ..settings.clone() };
        let store = Store::new(settings, target.clone(), incarnation.clone());
        Self { store: Arc::new(store), tasks: TaskTracker::new() }
    }

    /// Finishes what is under way and closes the connections. Afterwards every call is refused.
    pub async fn shutdown(&self) -> Result<()> {
        self.tasks.close();
        self.tasks.wait().await;
        if !self.store.pool.close() {
            return Ok(());
        }
        // Nobody will have to find out that it is gone.
        self.store.fence(&self.store.incarnation).await
    }

    /// Shows every row of the database at `url` to `each`, in the order of partitions and keys, as they stand at one moment. A server may be
    /// running on it.
    pub async fn export(url: &str, password: Option<&str>, each: impl FnMut(Partition, &Entry) -> Result<()>) -> Result<()> {
        Ok(dump::export(&Target::parse(url, password)?, each).await?)
    }

    /// Fills the database at `url`, which holds no entry, with the rows that `next` answers: all of them, or none.
    pub async fn import(url: &str, password: Option<&str>, next: impl FnMut() -> Result<Option<(Partition, Entry)>>) -> Result<()> {
        Ok(dump::import(&Target::parse(url, password)?, next).await?)
    }

    /// Commits, and tells where in the log that is.
    async fn commit_at(&self, batch: Batch) -> Result<Landed> {
        self.on_a_task(move |store| async move { commit::commit(&store, &batch).await }).await
    }

    /// Runs `work` on a task of its own, so that it goes on when the caller does not: a read that is not polled keeps no connection, and a
    /// commit ends one way or the other.
    async fn on_a_task<T, F>(&self, work: impl FnOnce(Arc<Store>) -> F + Send) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if self.tasks.is_closed() {
            return Err(pool::shut_down());
        }
        let task = self.tasks.spawn(work(Arc::clone(&self.store)));
        task.await.map_err(|error: JoinError| Error::Unavailable(format!("a metadata operation ended early: {error}")))?
    }
}

/// Makes the tables and enters the server.
async fn prepare(target: &Target, incarnation: &str) -> Result<(), Failure> {
    let (client, worker) = (pool::connect(target).await?, pool::connect(target).await?);
    schema::migrate(&client, &worker).await?;
    draws_in_order(&client, &worker).await?;
    node::enter(&client, incarnation).await
}

/// Revisions have to grow whoever draws them: some databases hand each connection a stock of its own, if they are let.
async fn draws_in_order(one: &Client, other: &Client) -> Result<(), Failure> {
    let mut last = 0_i64;
    for client in [one, other, one] {
        let drawn: i64 = client.query_one("SELECT nextval('umbra_revision')", &[]).await?.try_get(0)?;
        if drawn <= last {
            let refusal = "the metadata database does not hand out numbers in order; in YugabyteDB, set ysql_sequence_cache_minval=1";
            return Err(Error::Unavailable(refusal.to_owned()).into());
        }
        last = drawn;
    }
    Ok(())
}

/// Reads until it works: on another connection when one is lost, within the store's patience.
macro_rules! read {
    ($self:ident, |$conn:ident| $read:expr) => {
        $self
            .on_a_task(move |store| async move {
                let mut attempts = Attempts::within(store.settings.patience);
                loop {
                    let outcome = async {
                        let $conn = store.pool.take().await?;
                        let read = $read.await;
                        if !matches!(read, Err(Failure::Lost(_))) {
                            store.pool.give_back($conn);
                        }
                        read
                    };
                    match store.in_time(outcome).await {
                        Ok(found) => return Ok(found),
                        Err(failure) => attempts.next(failure).await?,
                    }
                }
            })
            .await
    };
}

#[async_trait]
impl MetaStore for PostgresMetaStore {
    async fn multi_get(&self, partition: Partition, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        read!(self, |conn| read::multi_get(&conn, partition, &keys))
    }

    async fn multi_scan(&self, partition: Partition, ranges: Vec<(KeyRange, usize)>, projection: Projection) -> Result<Vec<Vec<Entry>>> {
        read!(self, |conn| read::multi_scan(&conn, partition, &ranges, projection))
    }

    async fn scan_delim(&self, partition: Partition, scan: ScanDelim) -> Result<DelimPage> {
        read!(self, |conn| read::scan_delim(&conn, partition, scan.clone()))
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        Ok(self.commit_at(batch).await?.committed)
    }
}

#[async_trait]
impl SharedMetaStore for PostgresMetaStore {
    fn incarnation(&self) -> &str {
        &self.store.incarnation
    }

    async fn fence(&self, incarnation: &str) -> Result<()> {
        let incarnation = incarnation.to_owned();
        self.on_a_task(move |store| async move { store.fence(&incarnation).await }).await
    }
}

impl Store {
    fn new(settings: PostgresSettings, target: Target, incarnation: String) -> Self {
        let floor = settings.has_replica.then(Arc::default);
        let purpose = Purpose::Commits { incarnation: incarnation.clone(), floor: floor.clone() };
        let pool = Pool::new(target.clone(), purpose, settings.connections_max, settings.statement_timeout, settings.patience);
        Self { settings, target, incarnation, gates: Gates::new(), pool, floor }
    }

    /// Fences, on a connection of its own: those of the pool may be the ones that are waited for.
    async fn fence(&self, incarnation: &str) -> Result<()> {
        let mut attempts = Attempts::within(self.settings.patience);
        loop {
            let fenced = async { node::fence(&pool::connect(&self.target).await?, incarnation).await };
            match self.in_time(fenced).await {
                Ok(()) => return Ok(()),
                Err(failure) => attempts.next(failure).await?,
            }
        }
    }

    /// Bounds a read that the database was asked to end long ago.
    async fn in_time<T>(&self, read: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let limit = self.settings.statement_timeout + self.settings.patience;
        let late = |_| Failure::Lost("the metadata database does not answer".to_owned());
        tokio::time::timeout(limit, read).await.map_err(late)?
    }
}

impl Drop for PostgresMetaStore {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

impl fmt::Debug for PostgresMetaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresMetaStore").field("settings", &self.store.settings).finish_non_exhaustive()
    }
}
