//! Connections to the database, and the bound on how many there are.

use std::{sync::Arc, time::Duration};

use futures::{future::try_join_all, join};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_postgres::{Client, NoTls, Row, Statement, types::ToSql};

use super::{
    failure::Failure,
    position::{Floor, Instance, Log, Position},
    sql::Sql,
    target::Target,
};
use crate::Error;

/// How long connecting may take, with all that a new connection is asked first.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// How long a lock is waited for, in the database.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long the database ends a transaction whose client says nothing any more, and frees what it locked.
const IDLE_TRANSACTION_MAX: Duration = Duration::from_secs(10);

/// What is set where it is known. It speaks against plans that are good for a guess and bad for a large table: every statement here is
/// to walk the primary key, however few rows the statistics remember.
const PLANS: [&str; 3] = ["SET enable_seqscan = off", "SET enable_bitmapscan = off", "SET plan_cache_mode = force_generic_plan"];

/// What connections are opened for.
#[derive(Clone)]
pub(super) enum Purpose {
    /// To read, and to commit in the name of an incarnation. What is read raises the floor, where there is one.
    Commits { incarnation: String, floor: Option<Arc<Floor>> },
    /// To read at a standby.
    Nearby,
}

/// Connections that wait for work, and the permits to have one.
pub(super) struct Pool {
    target: Target,
    purpose: Purpose,
    statement_timeout: Duration,
    wait_max: Duration,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// A connection with everything prepared.
pub(super) struct Connection {
    client: Client,
    statements: Vec<Statement>,
    /// The row of `umbra_session` that is this connection's; 0 at a standby, which has none.
    pub(super) session: i64,
    /// How to ask for the log, and who writes or replays it: where that matters.
    log: Option<(Statement, Instance)>,
    floor: Option<Arc<Floor>>,
}

/// A connection that was taken. It is closed when dropped: whoever knows it to be in order gives it back.
pub(super) struct Lent {
    conn: Connection,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(target: Target, purpose: Purpose, size: usize, statement_timeout: Duration, wait_max: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(size.max(1)));
        Self { target, purpose, statement_timeout, wait_max, idle: Mutex::new(Vec::new()), permits }
    }

    /// A connection that is open as far as is known; waits for one to be given back when all are lent.
    pub(super) async fn take(&self) -> Result<Lent, Failure> {
        let permit = match timeout(self.wait_max, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(shut_down().into()),
            Err(_) => return Err(Error::Unavailable("all connections to the metadata database are busy".to_owned()).into()),
        };
        let idle = self.take_idle();
        let conn = match idle {
            Some(conn) => conn,
            None => self.connect().await?,
        };
        Ok(Lent { conn, _permit: permit })
    }

    /// A connection beside those that are lent.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let connecting = timeout(CONNECT_MAX, Connection::open(&self.target, &self.purpose, self.statement_timeout)).await;
        connecting.map_err(|_| Failure::Lost("the metadata database does not answer".to_owned()))?
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        // The newest first, so that after a restart of the database the dead ones are gone at once.
        while let Some(conn) = idle.pop() {
            if !conn.client.is_closed() {
                return Some(conn);
            }
        }
        None
    }

    pub(super) fn give_back(&self, lent: Lent) {
        let mut idle = self.idle.lock();
        if !self.permits.is_closed() {
            idle.push(lent.conn);
        }
    }

    /// Lends nothing any more, and closes what is idle. Tells whether it was open.
    pub(super) fn close(&self) -> bool {
        let was_open = !self.permits.is_closed();
        self.permits.close();
        self.idle.lock().clear();
        was_open
    }
}

impl std::ops::Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.conn
    }
}

impl Connection {
    /// Connects, sets the session up, and enters it into `umbra_session` if it may commit.
    async fn open(target: &Target, purpose: &Purpose, statement_timeout: Duration) -> Result<Self, Failure> {
        let client = connect(target).await?;
        let millis = |time: Duration| time.as_millis();
        let settings = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}",
            millis(statement_timeout),
            millis(LOCK_TIMEOUT),
            millis(IDLE_TRANSACTION_MAX)
        );
        client.batch_execute(&settings).await?;
        for plan in PLANS {
            // Not every database of this wire knows them, and it works without.
            if let Err(error) = client.batch_execute(plan).await
                && error.as_db_error().is_none()
            {
                return Err(error.into());
            }
        }
        let statements = try_join_all(Sql::ALL.map(|sql| client.prepare(sql.text()))).await?;
        let (session, floor) = match purpose {
            Purpose::Nearby => (0, None),
            Purpose::Commits { incarnation, floor } => {
                be_durable(&client).await?;
                (enter(&client, incarnation).await?, floor.clone())
            }
        };
        let tells_log = floor.is_some() || matches!(purpose, Purpose::Nearby);
        let log = if tells_log { Some((client.prepare(Log::SQL).await?, Instance::of(&client).await?)) } else { None };
        Ok(Self { client, statements, session, log, floor })
    }

    /// Which start of which server it leads to; nothing where that does not matter.
    pub(super) fn instance(&self) -> Option<Instance> {
        self.log.as_ref().map(|(_, instance)| *instance)
    }

    /// How far the log has come: at a standby what is replayed, else what is durable; nothing where that does not matter.
    pub(super) async fn log(&self) -> Result<Option<Log>, tokio_postgres::Error> {
        let Some((statement, instance)) = &self.log else { return Ok(None) };
        Log::read(&self.client.query_one(statement, &[]).await?, *instance).map(Some)
    }

    /// Where the log stands behind all that was asked on this connection before; nothing where that does not matter.
    pub(super) async fn position(&self) -> Result<Option<Position>, tokio_postgres::Error> {
        Ok(self.log().await?.map(|log| log.position))
    }

    /// Like [`Connection::rows`], for what somebody is going to be told: the floor rises to it.
    pub(super) async fn seen(&self, sql: Sql, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, tokio_postgres::Error> {
        let Some(floor) = &self.floor else { return self.rows(sql, values).await };
        // Polled in this order, hence asked in this order: the log is not behind what was read.
        let (rows, position) = join!(self.rows(sql, values), self.position());
        let rows = rows?;
        floor.raise(position?);
        Ok(rows)
    }

    /// Raises the floor to what was committed, if that is known.
    pub(super) fn committed(&self, position: Option<Position>) {
        if let Some(floor) = &self.floor {
            floor.raise(position);
        }
    }

    /// Whether the commit that put the row of `session` is seen here.
    pub(super) async fn shows(&self, session: i64) -> Result<bool, tokio_postgres::Error> {
        Ok(!self.client.query("SELECT 1 FROM umbra_session WHERE id = $1", &[&session]).await?.is_empty())
    }

    /// Runs a statement that answers with rows.
    pub(super) async fn rows(&self, sql: Sql, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.client.query(&self.statements[sql as usize], values).await
    }

    /// Runs a statement for what it does.
    pub(super) async fn run(&self, sql: Sql, values: &[&(dyn ToSql + Sync)]) -> Result<(), tokio_postgres::Error> {
        self.client.execute(&self.statements[sql as usize], values).await.map(drop)
    }

    /// Runs statements without values, as one.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }
}

/// Enters a new session of `incarnation`.
async fn enter(client: &Client, incarnation: &str) -> Result<i64, Failure> {
    let session = rand::random::<i64>();
    let entered = client
        .execute(
            "INSERT INTO umbra_session (id, node, rev, opened)
             SELECT $1::int8, $2::text, 0, now() FROM umbra_node WHERE id = $2::text FOR SHARE",
            &[&session, &incarnation],
        )
        .await?;
    if entered == 0 {
        return Err(Error::Fenced.into());
    }
    Ok(session)
}

/// A bare connection.
pub(super) async fn connect(target: &Target) -> Result<Client, tokio_postgres::Error> {
    // The connection works for the client until the client is dropped, or it breaks: then every call on the client says so.
    match &target.tls {
        None => {
            let (client, connection) = target.config.connect(NoTls).await?;
            tokio::spawn(async move { connection.await.ok() });
            Ok(client)
        }
        Some(tls) => {
            let (client, connection) = target.config.connect(tls.clone()).await?;
            tokio::spawn(async move { connection.await.ok() });
            Ok(client)
        }
    }
}

/// What is acknowledged is durable, whatever the database was told for others.
async fn be_durable(client: &Client) -> Result<(), tokio_postgres::Error> {
    let shown = client.query("SHOW synchronous_commit", &[]).await;
    let is_off = shown.is_ok_and(|rows| rows.first().and_then(|row| row.try_get::<_, String>(0).ok()).as_deref() == Some("off"));
    if is_off { client.batch_execute("SET synchronous_commit = on").await } else { Ok(()) }
}

pub(super) fn shut_down() -> Error {
    Error::Unavailable("the metadata store is shut down".to_owned())
}
